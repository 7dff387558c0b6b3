"""The stream: created where it is missing, never altered, and asked what it takes.

Subjects and answers are those of the JetStream API, version 1 (ADR-1, ADR-8 and nats-server 2.15).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import structlog

from syncdaemon.base.errors import LanePaused, SettingsError
from syncdaemon.link import Session
from syncdaemon.stream.verdict import NO_STREAM

_JETSTREAM_OFF = (10039, 10076)
_IMPOSSIBLE = "no.stream"  # no stream's name has a dot, so a message that expects this one is never stored

_SOUNDINGS = (4 << 10, 16 << 10, 64 << 10)  # bytes: over 32 kbit/s the first take a second, or the next some seconds

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class StreamSettings:
    """The stream to publish into, and how to make it if it is not there. `max_age` in seconds, 0: no limit.

    `wildcard` is what a created stream captures, for all sites; `own` is what it has to capture for ours.
    """

    name: str
    wildcard: str
    own: str
    create: bool
    per_digest: bool
    max_age: float
    max_bytes: int
    replicas: int

    def config(self, server_version: str) -> dict[str, Any]:
        """The configuration of a created stream, as far as this server knows it."""
        config: dict[str, Any] = {
            "name": self.name,
            "subjects": [self.wildcard],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "num_replicas": self.replicas,
            "max_age": int(self.max_age * 1e9),
            "max_bytes": self.max_bytes or -1,
            "max_consumers": -1,
            "max_msgs": -1,
            "deny_delete": True,
            "allow_direct": True,
        }
        if self.per_digest:
            config |= {"max_msgs_per_subject": 1, "discard_new_per_subject": True}
        if _version(server_version) >= (2, 12):
            config["allow_atomic"] = True
        return config


class Memory(Enum):
    """How it is found out whether a message that was sent and not acknowledged is in the stream."""

    SUBJECT = "the stream refuses a second message on its subject"
    HISTORY = "the stream's messages are read back"
    WINDOW = "the server knows its id for some time, and then nobody can tell"


@dataclass(frozen=True)
class StreamInfo:
    """What matters of a stream as it is. `window` and `max_age` in seconds; a `max_age` of 0: none.

    `forgets`: messages leave it by its own rules; `allow_atomic`: it takes atomic batches (nats-server 2.12);
    `leader` is empty outside a cluster. `max_msg_size` in bytes, headers counted; below 0: no limit of its own.
    """

    name: str
    subjects: tuple[str, ...]
    retention: str
    discard: str
    window: float
    max_age: float
    first_seq: int
    last_seq: int
    no_ack: bool
    sealed: bool
    forgets: bool
    allow_atomic: bool
    created: str
    leader: str
    max_msg_size: int = -1

    def memory(self, per_digest: bool) -> Memory:
        """What the stream can tell of a message that was sent to it and not acknowledged."""
        if self.retention != "limits":
            return Memory.WINDOW
        return Memory.SUBJECT if per_digest else Memory.HISTORY

    def horizon(self, per_digest: bool) -> float:
        """For how long an outage can last without a second copy, in seconds; infinite where nothing is forgotten."""
        if self.memory(per_digest) is Memory.WINDOW:
            return self.window
        return self.max_age or float("inf")


async def look(session: Session, name: str) -> StreamInfo | None:
    """The stream as it is now; None where it can't be seen. Raises LinkDown."""
    try:
        answer = await session.request_json(f"$JS.API.STREAM.INFO.{name}")
    except PermissionError:
        return None
    return read_info(answer) if answer and "config" in answer else None


async def prepare(
    session: Session, settings: StreamSettings, probe_subject: str, sound: bool = False
) -> StreamInfo | None:
    """Makes sure that the stream is there and takes our subject; what the server tells of it, None if nothing.

    `sound`: some kilobytes are sent on the way, and more where those were quick, so that it is known how slow the link
    is before a file goes over it.
    Raises SettingsError where only an operator can help, LanePaused where it passes, LinkDown.
    """
    info = await _ensure(session, settings)
    if info is not None:
        _accept(info, settings)
    await rehearse(session, settings, probe_subject, seen=info is not None)
    taken = info.max_msg_size if info is not None and info.max_msg_size >= 0 else session.max_payload
    for size in _SOUNDINGS if sound else ():
        if session.window.capacity is None and size <= min(taken, session.max_payload) // 2:
            await rehearse(session, settings, probe_subject, seen=info is not None, body=bytes(size))
    return info


def _accept(info: StreamInfo, settings: StreamSettings) -> None:
    if info.sealed:
        raise SettingsError(f"SYNC_STREAM: {info.name} is sealed and takes no message any more; name another")
    if info.no_ack:
        raise SettingsError(f"SYNC_STREAM: {info.name} acknowledges nothing (no_ack), so no delivery can be proved")
    if not captured(info.subjects, settings.own):
        raise SettingsError(
            f"SYNC_SUBJECT: the stream {info.name} captures {', '.join(info.subjects) or 'no subject'}, not "
            f"{settings.own}; add that to its subjects, or set SYNC_SUBJECT or SYNC_STREAM to match"
        )


async def _ensure(session: Session, settings: StreamSettings) -> StreamInfo | None:
    try:
        answer = await session.request_json(f"$JS.API.STREAM.INFO.{settings.name}")
    except PermissionError as error:
        log.warning("stream_unseen", stream=settings.name, reason=str(error), effect="its settings are not checked")
        return None
    if answer is None:
        raise LanePaused("the server has no JetStream, or it is not available now")
    if refusal := answer.get("error"):
        if refusal.get("err_code") in _JETSTREAM_OFF:
            raise LanePaused(f"JetStream: {refusal.get('description')}")
        if refusal.get("err_code") != NO_STREAM:
            raise LanePaused(f"stream {settings.name}: {_told(refusal)}")
        if not settings.create:
            raise SettingsError(
                f"SYNC_STREAM: there is no stream {settings.name} at the server, and SYNC_STREAM_CREATE=false"
            )
        answer = await _create(session, settings)
    return read_info(answer)


async def _create(session: Session, settings: StreamSettings) -> dict[str, Any]:
    config = settings.config(session.server["version"])
    try:
        answer = await session.request_json(f"$JS.API.STREAM.CREATE.{settings.name}", config)
    except PermissionError as error:
        raise SettingsError(f"SYNC_STREAM: {settings.name} is missing, and may not be created: {error}") from None
    if answer is None:
        raise LanePaused("the server has no JetStream, or it is not available now")
    if refusal := answer.get("error"):
        if refusal.get("code") in (429, 503):
            raise LanePaused(f"stream {settings.name} can't be created now: {_told(refusal)}")
        raise SettingsError(f"SYNC_STREAM: {settings.name} can't be created for {settings.wildcard}: {_told(refusal)}")
    log.info("stream_created", stream=settings.name, subjects=settings.wildcard)
    return answer


async def rehearse(
    session: Session, settings: StreamSettings, subject: str, seen: bool = False, body: bytes = b""
) -> None:
    """Publishes a message that no stream can store, since it expects one of an impossible name.

    The answer proves the whole way and leaves nothing behind: that we may publish there, that a stream captures
    the subject and that its acknowledgement reaches us. 10060 is "expected stream does not match". Where the stream
    was `seen` to capture the subject and nobody responds, it has no leader just now (in a cluster).

    Raises SettingsError where only an operator can help, LanePaused where it passes, LinkDown.
    """
    headers = f"NATS/1.0\r\nNats-Expected-Stream: {_IMPOSSIBLE}\r\n\r\n".encode()
    try:
        data, status = await session.request(subject, body, headers, counted=bool(body))
    except PermissionError as error:
        raise SettingsError(f"SYNC_SUBJECT: these credentials may not publish to {settings.own}: {error}") from None
    if status is not None and status.startswith(b"NATS/1.0 503"):
        if seen:
            raise LanePaused(f"stream {settings.name} takes no message now: it has no leader, or is not available")
        raise SettingsError(
            f"SYNC_SUBJECT: no stream at the server captures {settings.own}; "
            f"add it to the subjects of {settings.name}, or name another SYNC_STREAM"
        )
    if b"10060" not in data:
        raise LanePaused(f"stream {settings.name}: the server answered {data[:120]!r}")


def captured(subjects: Sequence[str], wildcard: str) -> bool:
    """Whether one of the stream's subjects covers all that `wildcard` stands for."""
    return any(_covers(subject.split("."), wildcard.split(".")) for subject in subjects)


def _covers(pattern: list[str], wanted: list[str]) -> bool:
    for at, token in enumerate(pattern):
        if token == ">":
            return len(wanted) > at
        if at >= len(wanted) or (token != "*" and token != wanted[at]):
            return False
    return len(pattern) == len(wanted)


def read_info(answer: Mapping[str, Any]) -> StreamInfo:
    """What matters of an answer to STREAM.INFO or STREAM.CREATE."""
    config, state = answer["config"], answer["state"]
    return StreamInfo(
        name=config["name"],
        subjects=tuple(config.get("subjects") or ()),
        retention=config.get("retention", "limits"),
        discard=config.get("discard", "old"),
        window=config.get("duplicate_window", 0) / 1e9,
        max_age=config.get("max_age", 0) / 1e9,
        first_seq=state.get("first_seq", 0),
        last_seq=state.get("last_seq", 0),
        no_ack=config.get("no_ack", False),
        sealed=config.get("sealed", False),
        forgets=_forgets(config),
        allow_atomic=config.get("allow_atomic", False),
        created=answer.get("created", ""),
        leader=answer.get("cluster", {}).get("leader", ""),
        max_msg_size=config.get("max_msg_size", -1),
    )


def _forgets(config: dict[str, Any]) -> bool:
    """Whether messages leave the stream by its own rules."""
    if config.get("retention", "limits") != "limits" or config.get("max_age"):
        return True
    full: bool = config.get("max_msgs", -1) > 0 or config.get("max_bytes", -1) > 0
    per_subject: bool = config.get("max_msgs_per_subject", -1) > 0
    if config.get("discard") == "new":
        return per_subject and not config.get("discard_new_per_subject")
    return full or per_subject


def _told(refusal: dict[str, Any]) -> str:
    return f"{refusal.get('description')} ({refusal.get('err_code')})"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("-")[0].split(".")[:2] if part.isdigit())
