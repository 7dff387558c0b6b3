"""The stream: created where it is missing, never altered, and asked what it takes."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from syncdaemon.base.errors import LanePaused, NotAnswered, SettingsError
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.info import StreamInfo, captured, read_info
from syncdaemon.stream.sharers import others


class Uncaptured(SettingsError):
    """No stream at the server takes messages on our subject."""


_NUMBER = re.compile(r"[0-9]{1,9}")

_KEPT = "no JetStream tells of it, and yet a message would be taken: sites share this stream, or a right is missing"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class StreamSettings:
    """The stream to publish into, and how to make it if it is not there. `max_age` in seconds; 0: no limit.

    `wildcard` is what a created stream captures; `own` is what it has to capture for us. `free`: a reader may take the
    content out of the stream, so it allows roll-ups and belongs to this site alone, whose subjects begin with
    `site_form`.
    """

    name: str
    wildcard: str
    own: str
    create: bool
    per_digest: bool
    max_age: float
    max_bytes: int
    max_msgs: int
    replicas: int
    free: bool = False
    site_form: str = ""

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
            "max_msgs": self.max_msgs or -1,
            "deny_delete": True,
            "allow_direct": True,
        }
        if self.per_digest:
            config |= {"max_msgs_per_subject": 1, "discard_new_per_subject": True}
        if self.free:
            config["allow_rollup_hdrs"] = True
        if _version(server_version) >= (2, 12):
            config["allow_atomic"] = True
        return config


async def prepare(
    api: Api, settings: StreamSettings, probe_subject: str, said: OnceAMinute | None = None
) -> StreamInfo | None:
    """Makes sure that the stream is there and takes our subject; what the server tells of it, None if nothing.

    `said`: what was logged of the stream before.
    Raises SettingsError where only an operator can help, LanePaused where it passes, LinkDown.
    """
    said = said or OnceAMinute()
    info = await _ensure(api, settings, said)
    hidden = info if isinstance(info, ApiRefusal) else None
    if isinstance(info, StreamInfo):
        accept(info, settings)
    try:
        await rehearse(api, settings, probe_subject, seen=isinstance(info, StreamInfo), hidden=hidden)
    except Uncaptured:
        if isinstance(info, NotAnswered):  # a cluster whose servers have not found one another answers neither
            raise LanePaused(f"{info}, and no stream takes {settings.own} now") from None
        raise
    if hidden is not None:  # JetStream may have come up between the two
        info = await _ensure(api, settings, said)
    if not isinstance(info, StreamInfo):
        if hidden is not None and said.due(time.monotonic(), "stream_unseen"):
            log.info("stream_unseen", stream=settings.name, reason=_KEPT, effect="its settings are not checked")
        info = None
    return info


def accept(info: StreamInfo, settings: StreamSettings) -> None:
    """Raises SettingsError where the stream can't take our messages as it is."""
    if info.sealed:
        raise SettingsError(f"SYNC_STREAM: {info.name} is sealed and takes no message any more; name another")
    if info.no_ack:
        raise SettingsError(f"SYNC_STREAM: {info.name} acknowledges nothing (no_ack), so no delivery can be proved")
    if not captures(info, settings):
        raise SettingsError(
            f"SYNC_SUBJECT: the stream {info.name} captures {', '.join(info.subjects) or 'no subject'}, not "
            f"{settings.own}; add that to its subjects, or set SYNC_SUBJECT or SYNC_STREAM to match"
        )
    if settings.free and (more := others(info, settings.site_form)):
        raise SettingsError(
            f"SYNC_STREAM_FREE: {info.name} is not this site's alone (it takes {more}): whoever may publish in a "
            "stream that allows roll-ups can empty it; name a stream of this site's own, such as SYNC_STREAM=own_jobs"
        )


def captures(info: StreamInfo, settings: StreamSettings) -> bool:
    """Whether the stream takes all messages of ours."""
    return captured(info.subjects, settings.own)


async def _ensure(
    api: Api, settings: StreamSettings, said: OnceAMinute
) -> StreamInfo | ApiRefusal | NotAnswered | None:
    """The stream as it is; a refusal where no JetStream answers us, or the silence; None where we may not ask."""
    try:
        answer = await api.stream(settings.name)
    except NotAnswered as error:
        if not settings.per_digest:  # what is in doubt could not be looked for
            raise LanePaused(str(error)) from None
        _say_unseen(settings, str(error), said)
        return error
    except PermissionError as error:
        _say_unseen(settings, str(error), said)
        return None
    if not isinstance(answer, ApiRefusal):
        return read_info(answer)
    if answer.no_jetstream:
        return answer
    if not answer.no_stream:
        raise answer.paused(f"stream {settings.name}")
    if not settings.create:
        raise SettingsError(
            f"SYNC_STREAM: there is no stream {settings.name} at the server, and SYNC_STREAM_CREATE=false"
        )
    await _create(api, settings)
    answer = await api.stream(settings.name)  # which tells the domain, as the answer to the creation does not
    if isinstance(answer, ApiRefusal):
        raise answer.paused(f"stream {settings.name}")
    return read_info(answer)


def _say_unseen(settings: StreamSettings, reason: str, said: OnceAMinute) -> None:
    if said.due(time.monotonic(), "stream_unseen"):
        log.warning("stream_unseen", stream=settings.name, reason=reason, effect="its settings are not checked")


async def _create(api: Api, settings: StreamSettings) -> None:
    try:
        answer = await api.create_stream(settings.config(api.session.server["version"]))
    except PermissionError as error:
        raise SettingsError(f"SYNC_STREAM: {settings.name} is missing, and may not be created: {error}") from None
    if isinstance(answer, ApiRefusal):
        if answer.code in (429, 503):
            raise answer.paused(f"stream {settings.name} can't be created now")
        what = f"{settings.name} can't be created for {settings.wildcard}"
        raise SettingsError(f"SYNC_STREAM: {what}: {answer.words}{_named(await rivals(api, settings))}")
    log.info("stream_created", stream=settings.name, subjects=settings.wildcard)


async def rivals(api: Api, settings: StreamSettings) -> list[str]:
    """The streams whose subjects overlap with those of the stream as it would be created: while they do, it can't be.

    None where the server does not let us ask. Raises LinkDown.
    """
    try:
        found = await api.capturing(settings.wildcard)
    except (PermissionError, LanePaused):
        return []
    return [] if isinstance(found, ApiRefusal) else [name for name in found if name != settings.name]


def _named(streams: Sequence[str]) -> str:
    return f"; these subjects overlap with those of {', '.join(streams)}: name it as SYNC_STREAM" if streams else ""


async def rehearse(
    api: Api,
    settings: StreamSettings,
    subject: str,
    *,
    seen: bool = False,
    hidden: ApiRefusal | None = None,
    body: bytes = b"",
) -> None:
    """Proves the whole way of a message, by one that no stream can store (`Api.rehearse`).

    Where the stream was `seen` to capture the subject and no server responds, it has no leader just now (in a cluster).
    `hidden`: what was answered where no JetStream told of the stream. Where the message is taken all the same, the
    stream is there and its settings are kept from us; else there may be no JetStream now.

    Raises SettingsError where only an operator can help (Uncaptured where that is the subject), LanePaused where it
    passes, LinkDown.
    """
    try:
        refusal = await api.rehearse(subject, body)
    except PermissionError as error:
        raise SettingsError(f"SYNC_SUBJECT: these credentials may not publish to {settings.own}: {error}") from None
    if refusal is None:
        return
    if not refusal.unanswered:
        raise refusal.paused(f"stream {settings.name}: the server answered")
    if hidden is not None:
        raise hidden.paused("JetStream")
    if seen:
        raise LanePaused(f"stream {settings.name} takes no message now: it has no leader, or is not available")
    raise Uncaptured(
        f"SYNC_SUBJECT: no stream at the server captures {settings.own}; "
        f"add it to the subjects of {settings.name}, or name another SYNC_STREAM"
    )


def _version(text: str) -> tuple[int, ...]:
    """The first two numbers of a version; what a server says in their place counts as 0."""
    parts = text.split("-")[0].split(".")[:2]
    return tuple(int(part) if _NUMBER.fullmatch(part) else 0 for part in parts)
