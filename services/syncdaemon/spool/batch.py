"""The next batch of files, and the next large file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial

from syncdaemon.base.model import Content, Fit, Refusal
from syncdaemon.base.packing import Packer
from syncdaemon.spool.home import Away, ReplayDirectory
from syncdaemon.spool.large import Hasher, HashProgress
from syncdaemon.spool.lookout import SCAN_RETRY, Lookout
from syncdaemon.spool.queue import Queue
from syncdaemon.spool.read import Gone, Hashing, NotYet, Reader, Reading, TooLarge, Unleased, version
from syncdaemon.spool.threads import DirectoryThread
from syncdaemon.spool.waiting import Candidate
from syncdaemon.spool.watch import blind

BATCH_FILES = 512
BATCH_BYTES = 4 << 20
_SMALL = 1 << 10  # bytes that a file counts at least: about what a message has beside it


class BatchReader:
    """Takes files from the queue, and reads as many of them as fit into a batch.

    `quiet`: seconds that a file must have been left alone before it is read; `in_place`: the same for one whose writers
    can't be seen, and of which nothing was seen; `compress`: what gets smaller is packed.
    """

    def __init__(
        self,
        directory: ReplayDirectory,
        queue: Queue,
        lookout: Lookout,
        thread: DirectoryThread,
        *,
        quiet: float,
        in_place: float,
        compress: bool,
    ) -> None:
        self._directory = directory
        self._queue = queue
        self._lookout = lookout
        self._thread = thread
        self._quiet = quiet
        self._unleased = Unleased(quiet if blind() else in_place, lookout.arrivals.came)
        self._pack = Packer().pack if compress else None
        self._hasher = Hasher()
        self._taken: list[Candidate] = []
        self._typical = _SMALL  # bytes that a file of the last batch had

    def close(self) -> None:
        """Waits for the thread that reads large files."""
        self._hasher.close()

    async def some(self) -> None:
        """Waits until there may be a file to read."""
        if not self._taken:
            await self._queue.any_to_read()

    async def read(self, fit: Fit) -> list[Content | Refusal]:
        """The next batch, which may be empty. Files that are too large are left to `read_large`."""
        if not self._taken:  # what is taken has its turn before all newer ones
            most = min(BATCH_FILES, 1 + fit.batch // self._typical)
            self._taken = self._queue.take(most, self._queue.clock())
        if self._queue.wants_scan:
            self._queue.want_scan()
        return await self._read_taken(fit) if self._taken else []

    async def _read_taken(self, fit: Fit) -> list[Content | Refusal]:
        reader = Reader(self._directory.folders, self._quiet, fit, self._pack, self._unleased)
        candidates, now_ns = list(self._taken), self._directory.now_ns()
        try:
            readings = await self._thread.in_directory(lambda: list(_up_to(fit.batch, reader.read(candidates, now_ns))))
        except Away as error:
            self._lookout.lost(error)
            self._queue.want_scan()
            await asyncio.sleep(SCAN_RETRY)
            return []
        del self._taken[: len(readings)]
        batch: list[Content | Refusal] = []
        for reading in readings:
            if isinstance(reading, Content):
                batch.append(reading)
            elif (refusal := self._placed(reading)) is not None:
                batch.append(refusal)
        if batch:
            self._typical = max(_SMALL, sum(map(_size, batch)) // len(batch))
        return batch

    def _placed(self, reading: Refusal | NotYet | Gone | TooLarge) -> Refusal | None:
        """The refusal of a file that can't be read; every other file goes to its place in the queue."""
        if isinstance(reading, TooLarge):
            self._queue.put_large(reading.candidate, reading.mtime_ns, reading.size)
        elif isinstance(reading, NotYet):
            again = self._queue.landed([reading.candidate.path])
            self._queue.wait_for(reading.candidate, reading.wait)
            self._lookout.look_at(again, ended=True)  # what happened while it was looked at
        elif isinstance(reading, Gone):
            self._lookout.landed([reading.path])
        else:
            return reading
        return None

    @property
    def hashing(self) -> list[HashProgress]:
        """The large files whose digest is being computed now."""
        return self._hasher.progress

    async def read_large(self, size_class: int) -> Content | Refusal | None:
        """The next of this class, with its digest and without its data; None where it is not to be delivered now.

        It takes as long as the file is large. No file of another size class waits for it.
        """
        if (candidate := self._queue.take_large(size_class)) is None:
            return None
        try:
            reading = await self._hasher.read(candidate.path, partial(self._begin, candidate))
        except Away as error:
            self._lookout.lost(error)
            self._queue.wait_for(candidate, SCAN_RETRY)
            return None
        return reading if isinstance(reading, Content) else self._placed(reading)

    def _begin(self, candidate: Candidate) -> Hashing | Reading:
        self._directory.check()
        reader = Reader(self._directory.folders, self._quiet, unleased=self._unleased)
        begun = reader.begin(candidate, self._directory.now_ns())
        try:
            self._directory.check()
        except Away:
            if isinstance(begun, Hashing):
                begun.close()
            raise
        return begun

    def put_back_large(self, contents: Sequence[Content]) -> None:
        """These were not stored as objects: they are to be read as large files again."""
        for content in contents:
            ctime_ns, known = content.stamp.ctime_ns, version(content.stamp)
            seen = Candidate(content.path, seen_ctime_ns=ctime_ns, version=known, arrived=content.arrived_ns)
            self._queue.put_large(seen, content.stamp.mtime_ns, content.stamp.size)
        self.remember(contents)

    def remember(self, contents: Iterable[Content]) -> None:
        """Of these, the large ones are not read again as long as they are unchanged."""
        self._hasher.remember(content for content in contents if content.data is None)


def _size(item: Content | Refusal) -> int:
    return len(item.data or b"") if isinstance(item, Content) else 0


def _up_to(most: int, readings: Iterable[Reading]) -> Iterable[Reading]:
    """The readings until they fill a batch of `most` bytes."""
    size = 0
    for reading in readings:
        yield reading
        if isinstance(reading, Content):
            size += len(reading.data or b"")
        if size >= min(most, BATCH_BYTES):
            return
