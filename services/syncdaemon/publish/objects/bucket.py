"""The bucket at the server, over one session: made where it is missing, never altered, asked and told.

Subjects and answers are those of the JetStream API, version 1 (ADR-1, ADR-8, ADR-20 and nats-server 2.15).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple, Self

import structlog

from syncdaemon.link import Session
from syncdaemon.publish.objects import resume
from syncdaemon.publish.objects.resume import Found
from syncdaemon.stream import object_format, verdict
from syncdaemon.stream.object_format import Chunk, Meta
from syncdaemon.stream.stored import StoredMessage

_IMPOSSIBLE = "no.stream"  # no stream's name has a dot
_SOON, _LATER = 1.0, 30.0
_MOST_SUBJECTS = 10_000  # whose names fit into an answer that a slow link brings

log = structlog.get_logger(__name__)


class Halt(Exception):
    """The bucket takes nothing for `wait` seconds: `reason` in a word, the text says more. Every file stays."""

    def __init__(self, reason: str, detail: str, wait: float) -> None:
        super().__init__(detail)
        self.reason = reason
        self.wait = wait


class Last(NamedTuple):
    """The newest chunk of an upload; `name`: of the object that it says it belongs to."""

    seq: int
    id: str
    name: str
    at: datetime

    def is_of(self, nuid: str) -> bool:
        """Whether a daemon sent it, as part of this upload."""
        chunk = Chunk.from_id(self.id)
        return chunk is not None and chunk.nuid == nuid


class Bucket:
    """The bucket, open over a session. Every call raises LinkDown, or Halt where the server does not do it."""

    def __init__(self, session: Session, most: int) -> None:
        self.session = session
        self._most = most

    @classmethod
    async def open(cls, session: Session, create: bool, replicas: int) -> Self:
        """Makes sure that it is there and takes what we send."""
        answer = await _ask(session, f"STREAM.INFO.{object_format.STREAM}")
        if _code(answer) == verdict.NO_STREAM:
            if not create:
                detail = f"there is no bucket {object_format.BUCKET} at the server, and SYNC_STREAM_CREATE=false"
                raise Halt("bucket_missing", detail, _LATER)
            answer = await _ask(session, f"STREAM.CREATE.{object_format.STREAM}", _config(replicas))
            log.info("bucket_created", bucket=object_format.BUCKET)
        config: dict[str, Any] = _sound(answer)["config"]
        if flaw := _flaw(config):
            raise Halt("bucket_misconfigured", f"the bucket {object_format.BUCKET} {flaw}", _LATER)
        if config.get("max_age"):
            log.warning(
                "objects_expire", bucket=object_format.BUCKET, seconds=config["max_age"] / 1e9, meaning="so do files"
            )
        await _rehearse(session, object_format.chunk_subject("0"))
        await _rehearse(session, object_format.meta_subject("0"))
        return cls(session, config.get("max_msg_size", -1))

    @property
    def room(self) -> int:
        """Bytes of the largest message that it takes now, headers counted."""
        return min(self.session.max_payload, self._most) if self._most >= 0 else self.session.max_payload

    async def lost(self, name: str) -> bool:
        """Whether an object is not there any more, or not whole. One that somebody deleted is not lost."""
        meta = await self.meta(name)
        return meta is None or (bool(meta.nuid) and await self.count(meta.nuid) != meta.chunks)

    async def count(self, nuid: str) -> int:
        """How many chunks it holds of an upload."""
        subject = object_format.chunk_subject(nuid)
        return (await self._subjects(subject))[0].get(subject, 0)

    async def found(self, nuid: str) -> Found:
        """What it holds of an upload."""
        subject = object_format.chunk_subject(nuid)
        counts, now = await self._subjects(subject)
        if not counts or (last := await self.last(nuid)) is None:
            return Found(0)
        return Found(counts[subject], last.seq, last.id, (now - last.at).total_seconds())

    async def age(self, last: Last) -> float:
        """How old a chunk is, in seconds, by the server's clock."""
        _, now = await self._subjects(object_format.meta_subject("0"))
        return (now - last.at).total_seconds()

    async def last(self, nuid: str) -> Last | None:
        """The newest chunk of an upload. Never by direct get, which a replica may answer that is behind."""
        message = await self._last(object_format.chunk_subject(nuid))
        if message is None:
            return None
        stored = StoredMessage.from_api(message)
        name = stored.headers.get("Edge-Object", "").removeprefix(f"{object_format.BUCKET}/")
        return Last(stored.seq, stored.headers.get("Nats-Msg-Id", ""), name, _time(message["time"]))

    async def meta(self, name: str) -> Meta | None:
        """The meta of an object, whatever it says."""
        message = await self._last(object_format.meta_subject(name))
        if message is None:
            return None
        stored = StoredMessage.from_api(message)
        return Meta.decode(stored.data, stored.seq)

    async def _last(self, subject: str) -> dict[str, Any] | None:
        answer = await self._ask("STREAM.MSG.GET", {"last_by_subj": subject})
        if _code(answer) == verdict.NO_MESSAGE:
            return None
        found: dict[str, Any] = _sound(answer)["message"]
        return found

    async def put_meta(self, meta: Meta, size: int, after: int) -> bool:
        """Makes an object of the chunks; False where the name's last meta is not the one at `after` (0: none).

        Nothing tells a second writer of the same name apart but that sequence, so no id: that of a meta
        which somebody deleted would be known for a while, and the new one not stored.
        """
        headers = (
            f"NATS/1.0\r\nNats-Rollup: sub\r\nNats-Expected-Stream: {object_format.STREAM}\r\n"
            f"Nats-Expected-Last-Subject-Sequence: {after}\r\n\r\n"
        ).encode()
        answer = await self.session.request(object_format.meta_subject(meta.name), meta.encode(size), headers)
        judged = verdict.judge(*answer)
        if not isinstance(judged, verdict.Stored | verdict.Known):
            raise halt(judged)
        return isinstance(judged, verdict.Stored)

    async def purge(self, nuid: str, upto: int | None = None) -> None:
        """Takes out the chunks of an upload, or those up to a sequence."""
        ask: dict[str, Any] = {"filter": object_format.chunk_subject(nuid)}
        if upto is not None:
            ask["seq"] = upto + 1
        _sound(await self._ask("STREAM.PURGE", ask))

    async def delete(self, seq: int) -> None:
        """Takes out one chunk, if it is there and the bucket lets it be deleted."""
        answer = await self._ask("STREAM.MSG.DELETE", {"seq": seq, "no_erase": True})
        if "error" in answer:
            log.info("chunk_not_deleted", seq=seq, error=_told(answer))

    async def uploads(self) -> set[str]:
        """The nuids of all chunks that no object accounts for, as far as names tell; none in a very large bucket."""
        state = _sound(await self._ask("STREAM.INFO"))["state"]
        if state.get("num_subjects", 0) > _MOST_SUBJECTS:
            log.info("bucket_not_tidied", subjects=state["num_subjects"], most=_MOST_SUBJECTS)
            return set()
        uploads, _ = await self._subjects(object_format.ALL_CHUNKS)
        metas, _ = await self._subjects(object_format.ALL_METAS)
        return resume.unaccounted((subject.rpartition(".")[2] for subject in uploads), object_format.names_of(metas))

    async def _subjects(self, wanted: str) -> tuple[dict[str, int], datetime]:
        """How many messages each of these subjects has, and the server's time."""
        answer = _sound(await self._ask("STREAM.INFO", {"subjects_filter": wanted}))
        state = answer["state"]
        return state.get("subjects") or {}, _time(answer.get("ts") or state["last_ts"])  # `ts`: nats-server 2.10

    async def _ask(self, call: str, ask: dict[str, Any] | None = None) -> dict[str, Any]:
        return await _ask(self.session, f"{call}.{object_format.STREAM}", ask)


def halt(judged: verdict.Again | verdict.Stop | verdict.Refuse) -> Halt:
    """What an answer to a message for the bucket means for all of them."""
    wait = judged.wait if isinstance(judged, verdict.Again) else _LATER
    reason = "bucket_full" if judged.reason == "stream_full" else judged.reason
    return Halt(reason, f"bucket {object_format.BUCKET}: {judged.detail}", wait)


def _config(replicas: int) -> dict[str, Any]:
    """A created bucket's. It keeps all: a chunk that expired would take its file with it."""
    return {
        "name": object_format.STREAM,
        "description": "files too large for a message",
        "subjects": [object_format.ALL_CHUNKS, object_format.ALL_METAS],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "max_age": 0,
        "max_bytes": -1,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_consumers": -1,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
    }


def _flaw(config: dict[str, Any]) -> str:
    """Why a bucket as it is can't be used; empty where it can."""
    limited = any(config.get(limit, -1) > 0 for limit in ("max_bytes", "max_msgs"))
    flaws = {
        "is sealed and takes nothing any more": config.get("sealed"),
        "acknowledges nothing (no_ack)": config.get("no_ack"),
        "allows no roll-up (allow_rollup_hdrs), which the Object Store needs": not config.get("allow_rollup_hdrs"),
        "throws out old chunks for new ones (discard=old)": limited and config.get("discard", "old") != "new",
        "keeps only some chunks of a file (max_msgs_per_subject)": config.get("max_msgs_per_subject", -1) > 0,
    }
    return next((flaw for flaw, there in flaws.items() if there), "")


async def keeps_all(session: Session) -> bool | None:
    """Whether nothing leaves the bucket by its own rules; None where there is no bucket."""
    answer = await _ask(session, f"STREAM.INFO.{object_format.STREAM}")
    return None if _code(answer) == verdict.NO_STREAM else not _sound(answer)["config"].get("max_age")


async def _rehearse(session: Session, subject: str) -> None:
    """Sends what no stream can store, since it expects one of an impossible name: the refusal proves the way.

    Without it, a permission that is missing would show as an error of the whole connection.
    """
    headers = f"NATS/1.0\r\nNats-Expected-Stream: {_IMPOSSIBLE}\r\n\r\n".encode()
    try:
        data, status = await session.request(subject, b"", headers)
    except PermissionError as error:
        raise Halt(
            "bucket_denied", f"these credentials may not publish to $O.{object_format.BUCKET}.>: {error}", _LATER
        ) from None
    if b"10060" not in data:
        told = status if status is not None else data
        raise Halt("bucket_unavailable", f"the server answered {told[:120]!r} for {subject}", _SOON)


async def _ask(session: Session, call: str, ask: dict[str, Any] | None = None) -> dict[str, Any]:
    try:
        answer = await session.request_json(f"$JS.API.{call}", ask)
    except PermissionError as error:
        raise Halt("bucket_denied", str(error), _LATER) from None
    if answer is None:
        raise Halt("bucket_unavailable", "the server has no JetStream, or it is not available now", _SOON)
    return answer


def _sound(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise Halt("bucket_unavailable", f"bucket {object_format.BUCKET}: {_told(answer)}", _SOON)
    return answer


def _code(answer: dict[str, Any]) -> int:
    return int(answer.get("error", {}).get("err_code", 0))


def _told(answer: dict[str, Any]) -> str:
    return f"{answer['error'].get('description')} ({_code(answer)})"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
