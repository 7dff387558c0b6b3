"""Files too large for a message, as objects of a bucket.

One file at a time, by turns, beside the batches: its chunks, in order, and then its meta, in the wire format of the
Object Store (ADR-20), so that any NATS client can read it. Whatever interrupts it, the next attempt resumes after the
last stored chunk. The publisher sends the message that names the object, when the object is whole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import structlog

from syncdaemon.base.errors import LinkDown
from syncdaemon.base.model import Content, Refusal
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.link import Session
from syncdaemon.publish.objects import resume
from syncdaemon.publish.objects.file import UploadFile
from syncdaemon.publish.objects.halt import Halt
from syncdaemon.publish.objects.lost import Met
from syncdaemon.publish.objects.places import ObjectPlaces, ObjectsSettings
from syncdaemon.publish.objects.source import Changed, Marks, Source
from syncdaemon.publish.objects.turns import TurnOver, Turns
from syncdaemon.publish.objects.upload import Upload
from syncdaemon.stream.object_format import Meta

__all__ = ["Objects", "ObjectsSettings", "Progress", "UploadWatcher"]

log = structlog.get_logger(__name__)


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
    `met` is called with each bucket that is opened, and what the server says of it. `stopped`: whether no upload may go
    on now.

    `paused`: why large files wait now, in words; `lacking`: why one would, as it was tried before there was one.
    """

    def __init__(
        self,
        settings: ObjectsSettings,
        watcher: UploadWatcher,
        open_file: Callable[[Content], int],
        met: Met,
        *,
        stopped: Callable[[], bool] = bool,
    ) -> None:
        self._settings = settings
        self._watcher = watcher
        self._open_file = open_file
        self._thread = ThreadPoolExecutor(1, "objects")
        self._stopped = stopped
        self._turns = Turns(stopped)
        self._places = ObjectPlaces(settings, met)
        self._under_way: tuple[Content, Upload] | None = None
        self._resume_at = 0.0
        self._said, self._said_pause = OnceAMinute(), OnceAMinute()
        self._said_reason = ""
        self.chunk = resume.SIZES[0]
        self.paused = self.lacking = ""

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

    async def look(self, session: Session) -> None:
        """Says before the first large file where the site has no bucket of its own, and what a large file lacks."""
        with suppress(Halt, LinkDown):  # it is said with the first large file
            before, self.lacking = self.lacking, await self._places.lacking(session)
            if self.lacking and self.lacking != before:
                effect = "a large file would wait for it, all others go on"
                log.warning("objects_lacking", detail=self.lacking, effect=effect)

    async def placed(self, content: Content, session: Session) -> Content | None:
        """The file, with the object that is to have its bytes. None: that can't be told now, and the file stays."""
        try:
            return content._replace(object=content.object or await self._places.of(content, session))
        except Halt as halt:
            self._pause(halt)
        except LinkDown:
            self._watcher.failed("link_down", 1)
        return None

    async def store(self, content: Content, session: Session) -> bool | Refusal:
        """Makes an object of a file, in the bucket that `placed` said.

        True: the object is whole. False: not yet, or the file changed; the file stays.

        Where several files are to be stored, each is stored for some seconds, and then goes on after the others.
        """
        while True:
            try:
                async with self._turns.turn():
                    return await self._turn(content, session)
            except TurnOver:
                if self._stopped():
                    return False

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
            self.paused = self.lacking = ""
            return stored
        return False

    async def _store(self, content: Content, session: Session) -> bool | Refusal:
        bucket = await self._places.bucket(content, session)
        if bucket is None:
            detail = f"the message on its subject names {content.object}, and that bucket is not there"
            return Refusal(content, "subject_taken", detail)
        size = resume.size_within(bucket.room, min(self.chunk, session.chunk))
        if size is None:
            return Refusal(
                content, "too_large", f"the server takes messages of {bucket.room} bytes, too few for a chunk"
            )
        size = await self._places.size(bucket, content, size)
        meta = Meta.of(content.sha256, content.stamp.size, size, self._settings.site)
        kept = self._places.kept(bucket, meta, size, content)
        source = await self._in_thread(_source, self._open_file, content, kept.marks)
        try:
            file = UploadFile(source, size, self._in_thread)
            shared = self._places.shared(bucket)
            upload = Upload(bucket, file, meta, kept, turns=self._turns, stored=self._stored, shared=shared)
            self._under_way = content, upload
            await upload.run()
        finally:
            self._under_way = None
            self._thread.submit(source.close)  # after a call that is still under way
        return True

    def _in_thread(self, call: Any, *arguments: Any) -> asyncio.Future[Any]:
        """Begins at once, whether or not the result is awaited."""
        return asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    def _stored(self, size: int) -> None:
        self._watcher.answered((), size)

    def _pause(self, halt: Halt) -> None:
        now = time.monotonic()
        self._places.forget()  # the next attempt opens it again
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
