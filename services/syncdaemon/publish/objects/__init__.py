"""Files too large for a message, as objects of a bucket.

One file at a time, by turns, beside the batches: its chunks, in order, and then its meta, in the wire format of the
Object Store (ADR-20), so that any NATS client can read it. Whatever interrupts it, the next attempt resumes after the
last stored chunk. The publisher sends the message that names the object, when the object is whole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import structlog

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.base.model import Content, Refusal
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.base.sizes import SIZE_CLASSES
from syncdaemon.link import Session
from syncdaemon.publish.objects import resume
from syncdaemon.publish.objects.bucket import Bucket
from syncdaemon.publish.objects.file import UploadFile
from syncdaemon.publish.objects.halt import Halt
from syncdaemon.publish.objects.janitor import tidy
from syncdaemon.publish.objects.opening import open_bucket
from syncdaemon.publish.objects.source import Changed, Marks, Source
from syncdaemon.publish.objects.turns import TurnOver, Turns
from syncdaemon.publish.objects.upload import Upload, UploadStates
from syncdaemon.stream import object_format
from syncdaemon.stream.api import Api
from syncdaemon.stream.object_format import BucketNames, Meta

_WORTH_LOOKING = 1 << 16  # bytes of a file that may have been begun with another chunk size
_TIDY_SECONDS = 86_400.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ObjectsSettings:
    """`create`: a missing `bucket` may be made, with so many `replicas`."""

    site: str
    create: bool
    replicas: int
    bucket: BucketNames


class UploadWatcher(Protocol):
    """Counts what happens, for the metrics."""

    def answered(self, latencies: Sequence[float], size: int) -> None:
        """`size` bytes of payload are stored."""

    def failed(self, reason: str, count: int) -> None:
        """Something was not stored, for a reason that passes."""


class Progress(NamedTuple):
    """The file that is under way, and how many of its bytes the bucket has."""

    name: str
    stored: int
    size: int


class Objects:
    """Makes objects of files. `chunk`: the largest chunk to cut them into; a slow link makes them smaller.

    `open_file` opens a file of the replay directory in a thread, and returns its descriptor. It may raise OSError.
    """

    def __init__(self, settings: ObjectsSettings, watcher: UploadWatcher, open_file: Callable[[Content], int]) -> None:
        self._settings = settings
        self._watcher = watcher
        self._open_file = open_file
        self._thread = ThreadPoolExecutor(1, "objects")
        self._bucket: Bucket | None = None
        self._turns = Turns()
        self._kept = UploadStates(len(SIZE_CLASSES))
        self._under_way: tuple[Content, Upload] | None = None
        self._tidied_at: float | None = None
        self._resume_at = 0.0
        self._said, self._said_pause = OnceAMinute(), OnceAMinute()
        self._said_reason = ""
        self.chunk = resume.SIZES[0]
        self.paused = ""

    @property
    def progress(self) -> Progress | None:
        """The upload that is under way now."""
        if self._under_way is None:
            return None
        content, upload = self._under_way
        return Progress(content.name, min(upload.at, content.stamp.size), content.stamp.size)

    async def ready(self, session: Session) -> None:
        """Waits out a pause of the bucket; returns at once when this session is lost."""
        if (wait := self._resume_at - time.monotonic()) > 0:
            await asyncio.wait((session.lost,), timeout=wait)

    async def store(self, content: Content, session: Session) -> bool | Refusal:
        """Makes an object of a file. True: the object is whole. False: not yet, or the file changed; the file stays.

        Where several files are to be stored, each is stored for some seconds, and then goes on after the others.
        """
        while True:
            try:
                async with self._turns.turn():
                    return await self._turn(content, session)
            except TurnOver:
                continue

    async def _turn(self, content: Content, session: Session) -> bool | Refusal:
        try:
            stored = await self._store(content, session)
        except Halt as halt:
            self._pause(halt)
        except LinkDown:
            self._watcher.failed("link_down", 1)
        except Changed as change:
            if self._said.due(time.monotonic(), f"changed_under_way {content.name}"):
                log.info("changed_under_way", path=content.name, what=str(change), effect="it has to settle again")
        except OSError as error:
            if self._said.due(time.monotonic(), f"not_read {content.name}"):
                log.warning("not_read", path=content.name, error=error.strerror, effect="it is looked at again")
        else:
            self.paused = ""
            return stored
        return False

    async def lost(self, session: Session, names: Collection[str]) -> set[str]:
        """Which of these objects, named as in `Edge-Object`, the bucket has no longer, or has only a part of.

        None of them, where objects leave the bucket by its own rules. Raises LinkDown, PermissionError, LanePaused.
        """
        try:
            bucket = Bucket(Api(session), self._settings.bucket)
            keeps = await bucket.keeps_all()
            if keeps is None:
                return set(names)
            found = [await bucket.lost(name.partition("/")[2]) for name in names] if keeps else []
        except Halt as halt:
            raise (PermissionError if halt.reason == "bucket_denied" else LanePaused)(str(halt)) from None
        return {name for name, is_lost in zip(names, found, strict=False) if is_lost}

    async def _store(self, content: Content, session: Session) -> bool | Refusal:
        bucket = await self._open(session)
        size = resume.size_within(bucket.room, min(self.chunk, session.chunk))
        if size is None:
            return Refusal(
                content, "too_large", f"the server takes messages of {bucket.room} bytes, too few for a chunk"
            )
        size = await self._begun(bucket, content, size)
        meta = Meta.of(content.sha256, content.stamp.size, size, self._settings.site)
        kept = self._kept.take(meta.nuid, size, content.stamp)
        source = await self._in_thread(_source, self._open_file, content, kept.marks)
        try:
            file = UploadFile(source, size, self._in_thread)
            upload = Upload(bucket, file, meta, kept, turns=self._turns, stored=self._stored)
            self._under_way = content, upload
            await upload.run()
        finally:
            self._under_way = None
            self._thread.submit(source.close)  # after a call that is still under way
        return True

    async def _open(self, session: Session) -> Bucket:
        if self._bucket is None or self._bucket.session is not session:
            wanted = self._settings
            self._bucket = await open_bucket(Api(session), wanted.bucket, wanted.create, wanted.replicas, self._said)
        if self._tidied_at is None or time.monotonic() - self._tidied_at >= _TIDY_SECONDS:
            self._tidied_at = time.monotonic()
            await tidy(self._bucket)
        return self._bucket

    async def _begun(self, bucket: Bucket, content: Content, wanted: int) -> int:
        """The chunk size with which an earlier attempt stored most of the file; else the wanted size.

        The upload can only resume with the chunk size that it began with, however fast the link is by now. This
        process remembers the size; another process asks the server, which takes a few kilobytes.
        """
        site = self._settings.site
        for kept in self._kept:
            known = kept.nuid == object_format.nuid_of(content.sha256, kept.size, site)
            if known and kept.size + resume.HEADERS <= bucket.room:
                return kept.size
        if content.stamp.size < _WORTH_LOOKING:
            return wanted
        sizes = [wanted, *(size for size in resume.SIZES if size != wanted and size + resume.HEADERS <= bucket.room)]
        nuids = (object_format.nuid_of(content.sha256, size, site) for size in sizes)
        counts = await asyncio.gather(*map(bucket.count, nuids))
        return max(zip(sizes, counts, strict=True), key=lambda begun: begun[0] * begun[1])[0]

    def _in_thread(self, call: Any, *arguments: Any) -> asyncio.Future[Any]:
        """Begins at once, whether or not the result is awaited."""
        return asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    def _stored(self, size: int) -> None:
        self._watcher.answered((), size)

    def _pause(self, halt: Halt) -> None:
        now = time.monotonic()
        self._bucket = None  # the next attempt opens it again
        self._resume_at = now + halt.wait
        self.paused = f"{halt.reason}: {halt}"
        self._watcher.failed(halt.reason, 1)
        if halt.reason != self._said_reason:
            self._said_reason = halt.reason
            self._said_pause.over()
        if self._said_pause.due(now):
            log.warning("objects_paused", reason=halt.reason, detail=str(halt), effect="large files are kept")

    def close(self) -> None:
        """Waits for the thread."""
        self._thread.shutdown(wait=True)


def _source(open_file: Callable[[Content], int], content: Content, marks: Marks) -> Source:
    return Source(open_file(content), content.stamp, marks)
