"""The bucket at the server, over one session: what it is asked, and what it is sent (ADR-20)."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import structlog

from syncdaemon.link.frame import header_block
from syncdaemon.publish.objects import resume
from syncdaemon.publish.objects.halt import SOON, Halt, asked, done, halt
from syncdaemon.publish.objects.resume import Found
from syncdaemon.stream import fetch, object_format, verdict
from syncdaemon.stream.api import Api
from syncdaemon.stream.info import StreamAnswer
from syncdaemon.stream.object_format import BucketNames, Chunk, Meta, ObjectPlace
from syncdaemon.stream.stored import StoredMessage

_MOST_SUBJECTS = 10_000  # whose names fit into an answer that a slow link brings

log = structlog.get_logger(__name__)


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
    """The bucket, over a session. Every call raises LinkDown, or Halt where the server does not do it."""

    def __init__(self, api: Api, names: BucketNames, most: int = -1, domain: str | None = None) -> None:
        """`most`: bytes of the largest message that it takes; below 0: no limit of its own.

        `domain`: of its JetStream, empty for none; None where that is not known.
        """
        self.domain = domain
        self.session = api.session
        self.names = names
        self._api = api
        self._most = most

    @property
    def room(self) -> int:
        """Bytes of the largest message that it takes now, headers counted."""
        return min(self.session.max_payload, self._most) if self._most >= 0 else self.session.max_payload

    async def described(self) -> StreamAnswer | None:
        """What the server says of the bucket; None where there is no bucket."""
        found = await asked(self.names.bucket, self._api.stream(self.names.stream))
        if isinstance(found, StreamAnswer):
            return found
        if found.no_stream:
            return None
        raise Halt("bucket_unavailable", f"bucket {self.names.bucket}: {found.words}", SOON)

    async def lost(self, name: str) -> bool:
        """Whether an object is not there any more, or not whole. An object that was deleted on purpose is not lost."""
        meta = await self.meta(name)
        return meta is None or (bool(meta.nuid) and await self.count(meta.nuid) != meta.chunks)

    async def holds(self, name: str) -> bool:
        """Whether the chunks of an object have the digest that is its name: all of them are read."""
        found = await asked(self.names.bucket, fetch.object_digest(self._api, ObjectPlace(self.names.bucket, name)))
        return found == name

    async def count(self, nuid: str) -> int:
        """How many chunks it holds of an upload."""
        subject = self.names.chunk_subject(nuid)
        return (await self._subjects(subject))[0].get(subject, 0)

    async def found(self, nuid: str) -> Found:
        """What it holds of an upload."""
        subject = self.names.chunk_subject(nuid)
        counts, now = await self._subjects(subject)
        if not counts.get(subject) or (last := await self.last(nuid)) is None:
            return Found(0)
        return Found(counts[subject], last.seq, last.id, (now - last.at).total_seconds())

    async def age(self, last: Last) -> float:
        """How old a chunk is, in seconds, by the server's clock."""
        _, now = await self._subjects(self.names.meta_subject("0"))
        return (now - last.at).total_seconds()

    async def last(self, nuid: str) -> Last | None:
        """The newest chunk of an upload."""
        stored = await self._last(self.names.chunk_subject(nuid))
        if stored is None:
            return None
        name = stored.object.removeprefix(self.names.object_of(""))
        return Last(stored.seq, stored.msg_id, name, self._known(stored.at))

    async def meta(self, name: str) -> Meta | None:
        """The meta of an object, whatever it says."""
        stored = await self._last(self.names.meta_subject(name))
        return None if stored is None else Meta.decode(stored.data, stored.seq)

    async def _last(self, subject: str) -> StoredMessage | None:
        return await done(self.names.bucket, self._api.last(self.names.stream, subject))

    async def put_meta(self, meta: Meta, size: int, after: int) -> bool:
        """Makes an object of the chunks; False where the name's last meta is not the one at `after` (0: none).

        Nothing tells a second writer of the same name apart but that sequence, so no id: that of a meta
        which was deleted would be known for a while, and the new one not stored.
        """
        headers = header_block(
            ("Nats-Rollup", "sub"),
            ("Nats-Expected-Stream", self.names.stream),
            ("Nats-Expected-Last-Subject-Sequence", str(after)),
        )
        subject = self.names.meta_subject(meta.name)
        answer = await self.session.request(subject, meta.encode(self.names, size), headers)
        judged = verdict.judge(*answer, verdict.Home(self.names.stream, self.domain))
        if not isinstance(judged, verdict.Stored | verdict.Known):
            raise halt(self.names.bucket, judged)
        return isinstance(judged, verdict.Stored)

    async def purge(self, nuid: str, upto: int | None = None) -> None:
        """Takes out the chunks of an upload, or those up to a sequence."""
        before = None if upto is None else upto + 1
        subject = self.names.chunk_subject(nuid)
        await done(self.names.bucket, self._api.purge(self.names.stream, subject, before))

    async def delete(self, seq: int) -> None:
        """Takes out one chunk, if it is there and the bucket lets it be deleted."""
        refusal = await asked(self.names.bucket, self._api.delete(self.names.stream, seq))
        if refusal is not None:
            log.info("chunk_not_deleted", seq=seq, error=refusal.words)

    async def uploads(self) -> set[str]:
        """The nuids of all chunks that no object accounts for, as far as names tell; none in a very large bucket."""
        state = (await done(self.names.bucket, self._api.stream(self.names.stream))).state
        if state.get("num_subjects", 0) > _MOST_SUBJECTS:
            log.info("bucket_not_tidied", subjects=state["num_subjects"], most=_MOST_SUBJECTS)
            return set()
        uploads, _ = await self._subjects(self.names.all_chunks)
        metas, _ = await self._subjects(self.names.all_metas)
        return resume.unaccounted(object_format.nuids_of(uploads), object_format.names_of(metas))

    async def _subjects(self, wanted: str) -> tuple[dict[str, int], datetime]:
        """How many messages each of these subjects has, and the server's time."""
        answer = await done(self.names.bucket, self._api.stream(self.names.stream, wanted))
        return answer.state.get("subjects", {}), self._known(answer.at or answer.newest_at)

    def _known(self, at: datetime | None) -> datetime:
        if at is None:
            raise Halt("bucket_unavailable", f"bucket {self.names.bucket}: the server does not say the time", SOON)
        return at
