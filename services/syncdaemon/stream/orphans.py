"""The objects of a bucket that no message of the stream names any more.

An object is named by the digest of its content. Only whole objects of a daemon's are looked at, by their metas. What an
upload has not finished is the janitor's (`publish/objects/janitor.py`), and what other programs store is theirs.

An object can be without a message because its message has not come yet: the upload is finished first. So it counts as
forgotten only when nothing was stored of it for long, or when a tombstone says that its message came and was freed.
What can't be seen is never deleted.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from syncdaemon.base.errors import LanePaused
from syncdaemon.base.model import StoredHeaders
from syncdaemon.stream import own
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.history import one_by_one, since
from syncdaemon.stream.info import StreamAnswer
from syncdaemon.stream.object_format import BucketNames, Meta, ObjectPlace
from syncdaemon.stream.stored import StoredMessage
from syncdaemon.stream.tombstone import is_tombstone

FORGOTTEN_SECONDS = 28 * 86_400.0
"""For so long an object waits for its message. An upload that stands still for 28 days is not resumed either."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Why(Enum):
    """What is known of an object that no message was seen to name."""

    FREED = "its message was received and freed"
    ALONE = "no message names it"
    UNSEEN = "its messages can't be seen"


class Orphan(NamedTuple):
    """An object. `age`: seconds since its newest part was stored; `until`: the sequence of its last chunk, 0: none."""

    meta: Meta
    age: float
    until: int
    why: Why

    def may_go(self, older_than: float) -> bool:
        """Whether its message has come and gone, or will not come any more."""
        return self.why is Why.FREED or (self.why is Why.ALONE and self.age >= older_than)


class Orphans:
    """Looks into one bucket and one stream. Its calls raise LinkDown, PermissionError and LanePaused.

    `subject_for`: the subject of the message with this id, for where only the site's own subjects may be read.
    """

    def __init__(self, api: Api, stream: str, bucket: BucketNames, subject_for: Callable[[str], str] | None) -> None:
        self._api, self._stream, self._bucket, self._subject_for = api, stream, bucket, subject_for
        self._metas: dict[str, StoredMessage] = {}
        self._named, self._freed = set[str](), set[str]()
        self._next = 1  # the first sequence of the stream that was not read
        self._seen, self._rolls_up = True, False

    async def look(self) -> list[Orphan]:
        """Those that no message was seen to name, by their names. Without a bucket there is none."""
        answer = await self._api.stream(self._bucket.stream)
        if isinstance(answer, ApiRefusal):
            if answer.no_stream:
                return []
            raise answer.paused(f"bucket {self._bucket.bucket}")
        now = answer.at or answer.newest_at
        if now is None:
            raise LanePaused(f"bucket {self._bucket.bucket}: the server does not say the time")
        self._metas = {name: there async for name, there in self._objects()}
        if not self._metas:
            return []
        await self._read()
        alone = sorted(self._metas.keys() - self._named)
        return [one for name in alone if (one := await self._orphan(name, now)) is not None]

    async def delete(self, orphans: Sequence[Orphan]) -> list[Orphan]:
        """Takes these out: meta and chunks. Those that were taken out.

        One whose message came in the meantime stays, and so does one that was stored anew.
        """
        gone = []
        for orphan in orphans:
            await self._read()
            name = orphan.meta.name
            if name not in self._named and await self._is_as_seen(orphan) and await self._delete(orphan):
                gone.append(orphan)
        return gone

    async def _objects(self) -> AsyncGenerator[tuple[str, StoredMessage], None]:
        """The metas of whole objects that are named by their content, by name."""
        seq = 1
        while found := await self._api.next(self._bucket.stream, self._bucket.all_metas, seq):
            if isinstance(found, ApiRefusal):
                raise found.paused(f"bucket {self._bucket.bucket}: its objects can't be read")
            meta = Meta.decode(found.data, found.seq)
            if _is_ours(meta) and found.subject == self._bucket.meta_subject(meta.name):
                yield meta.name, found
            seq = found.seq + 1

    async def _orphan(self, name: str, now: datetime) -> Orphan | None:
        """None where it can't be told how old it is."""
        there = self._metas[name]
        meta = Meta.decode(there.data, there.seq)
        chunk = await self._api.last(self._bucket.stream, self._bucket.chunk_subject(meta.nuid))
        if isinstance(chunk, ApiRefusal):
            raise chunk.paused(f"bucket {self._bucket.bucket}: its chunks can't be read")
        parts = (there,) if chunk is None else (there, chunk)
        known = [one.at for one in parts if one.at is not None]
        if len(known) < len(parts):
            return None
        why = Why.FREED if name in self._freed else Why.ALONE if self._seen else Why.UNSEEN
        return Orphan(meta, (now - max(known)).total_seconds(), chunk.seq if chunk else 0, why)

    async def _read(self) -> None:
        """What the messages say that were not read yet."""
        try:
            answer: StreamAnswer | ApiRefusal | None = await self._api.stream(self._stream)
        except PermissionError:
            answer = None
        if isinstance(answer, ApiRefusal) and not answer.no_jetstream:
            raise answer.paused(f"stream {self._stream}")
        if not isinstance(answer, StreamAnswer):
            await self._read_own_subjects()
            return
        self._rolls_up = bool(answer.config.get("allow_rollup_hdrs"))
        first, count = self._next, 0
        async for seen in self._messages(answer.config, first):
            self._take(seen)
            count += 1
        if first == 1:
            await self._check(count, answer)
        self._next = answer.state["last_seq"] + 1  # what came meanwhile is read once more, which does no harm

    async def _check(self, count: int, before: StreamAnswer) -> None:
        """Raises LanePaused where the stream has more messages than were read: one of them may name an object."""
        after = await self._api.stream(self._stream)
        if isinstance(after, ApiRefusal):
            raise after.paused(f"stream {self._stream}")
        there = min(answer.state.get("messages", 0) for answer in (before, after))
        if count < there:
            raise LanePaused(f"stream {self._stream}: only {count} of {there} messages could be read")

    async def _messages(self, config: Mapping[str, object], first: int) -> AsyncGenerator[StoredHeaders, None]:
        """All messages of the stream from this sequence on. Only from a stream with limits may a consumer read."""
        subjects = config.get("subjects")
        if isinstance(subjects, list) and config.get("retention", "limits") == "limits" and not config.get("sources"):
            try:
                for subject in subjects:
                    async with aclosing(since(self._api, self._stream, str(subject), first)) as messages:
                        async for seen in messages:
                            yield seen
                return
            except PermissionError:  # we may make no consumer
                pass
        async with aclosing(one_by_one(self._api, self._stream, ">", first)) as singly:
            async for seen, _ in singly:
                yield seen

    def _take(self, seen: StoredHeaders) -> None:
        if is_tombstone(seen.headers, seen.size):
            if self._rolls_up:  # elsewhere no reader can have left it
                self._freed |= self._metas.keys() & set(seen.subject.split("."))
        else:
            place = ObjectPlace.of(seen.headers.get("Edge-Object", ""))
            if place is not None and place.bucket == self._bucket.bucket and place.name in self._metas:
                self._named.add(place.name)

    async def _read_own_subjects(self) -> None:
        """Where the stream is not seen: each object by the subject of its content. Other messages may name it too."""
        self._seen = False
        if self._subject_for is None:
            return
        for name in self._metas:
            there = (await own.newest(self._api, self._stream, self._subject_for(name))).message
            if there is not None:
                self._take(StoredHeaders(there.seq, there.subject, there.headers, len(there.data)))

    async def _is_as_seen(self, orphan: Orphan) -> bool:
        """Whether neither its meta nor its chunks were stored anew."""
        names = self._bucket
        meta = await self._api.last(names.stream, names.meta_subject(orphan.meta.name))
        chunk = await self._api.last(names.stream, names.chunk_subject(orphan.meta.nuid))
        if isinstance(meta, ApiRefusal) or isinstance(chunk, ApiRefusal) or meta is None:
            return False
        return meta.seq == orphan.meta.seq and (chunk.seq if chunk else 0) == orphan.until

    async def _delete(self, orphan: Orphan) -> bool:
        """The meta first: what is left of a deletion that was cut short is chunks, which the janitor takes out."""
        names, meta = self._bucket, orphan.meta
        if await self._api.purge(names.stream, names.meta_subject(meta.name), meta.seq + 1) is not None:
            return False
        if orphan.until:
            await self._api.purge(names.stream, names.chunk_subject(meta.nuid), orphan.until + 1)
        return True


def _is_ours(meta: Meta) -> bool:
    """Whether it is the meta of an object as a daemon stores it: named by its content, and not deleted."""
    return bool(meta.nuid and _DIGEST.fullmatch(meta.name)) and meta.digest == Meta.of(meta.name, 0, 1, "").digest
