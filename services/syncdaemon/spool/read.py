"""Reading: each file opened once, checked to be complete, hashed while it is read, checked again."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from syncdaemon.base import disk, leases
from syncdaemon.base.model import Content, Fit, FolderId, Refusal, Stamp
from syncdaemon.spool import faults, settle
from syncdaemon.spool.folders import OpenFolders
from syncdaemon.spool.holes import Holes
from syncdaemon.spool.settle import Came
from syncdaemon.spool.waiting import Candidate

_PIECE = 1 << 20
_SMALL = 64 << 10  # bytes: a writer that is kept out while so little is read waits for an instant
_STEP = 32  # pieces: a tenth of a second or so
_ZEROS = bytes(_PIECE)
_TRIES_TO_READ = 6  # looks at a file that can't be read, over some seconds, before it is refused
_UNKNOWN = Stamp(0, 0, 0, 0, 0)


class NotYet(NamedTuple):
    """The file is not complete: look again in `wait` seconds."""

    candidate: Candidate
    wait: float


class Gone(NamedTuple):
    """There is no file at this path (any more), or something else than a file."""

    path: bytes


class TooLarge(NamedTuple):
    """The file is complete, and too large to be read as a whole. `candidate`: with what made it complete."""

    candidate: Candidate
    mtime_ns: int
    size: int


Reading = Content | Refusal | NotYet | Gone | TooLarge


class _Opened(NamedTuple):
    candidate: Candidate
    fd: int
    name: str
    stamp: Stamp
    folder: FolderId


def _nothing_seen(_path: bytes, _ctime_ns: int) -> Came:
    return Came.NOTHING


class Unleased(NamedTuple):
    """How files are judged whose writers the kernel does not show us: by what `came` says that was seen last of one.

    `in_place`: seconds that a file must have been unchanged of which nothing was seen.
    """

    in_place: float = 30.0
    came: Callable[[bytes, int], Came] = _nothing_seen


class Reader(NamedTuple):
    """How files are read: out of `folders`, quiet for `quiet` seconds.

    `fit`: what is read as a whole; with no room in it, nothing is. `pack` makes them smaller, or returns None where it
    can't.
    """

    folders: OpenFolders
    quiet: float
    fit: Fit = Fit(0, 0, 0)
    pack: Callable[[bytes], bytes | None] | None = None
    unleased: Unleased = Unleased()

    def read(self, candidates: Iterable[Candidate], now_ns: int) -> Iterator[Reading]:
        """Each candidate as it was found, a large one without having read it. `now_ns` is the file system's now.

        Ends before one that is in another folder than can be kept open for this batch.
        """
        self.folders.begin()
        for candidate in candidates:
            if self.folders.full(candidate.path.rpartition(b"/")[0]):
                return
            yield self._read(candidate, now_ns)

    def _read(self, candidate: Candidate, now_ns: int) -> Reading:
        path = candidate.path
        try:
            fd, folder = self.folders.open_here(path, disk.READ)
        except OSError as error:
            return self.failed(candidate, error)
        try:
            found = os.fstat(fd)
            candidate = candidate.found(found.st_ctime_ns, found.st_ino)
            if (reading := self._incomplete(candidate, fd, found, now_ns, True)) is not None:
                return reading
            stamp, name = _stamp(found), quote_from_bytes(path)
            if stamp.size + len(name) > (self.fit.message if self.pack else self.fit.link):
                return TooLarge(candidate, stamp.mtime_ns, stamp.size)
            data = _whole(fd, stamp.size)
            digest = sha256(data).hexdigest()
            if not _is_still(fd, stamp) or candidate.is_another(digest):
                return self.not_yet(candidate, 0, settle.CHANGING)
            packed = self.pack(data) if self.pack and data else None
            if len(packed or data) + len(name) > self.fit.link:
                return TooLarge(candidate, stamp.mtime_ns, stamp.size)
            packs = packed is not None
            return Content(path, name, stamp, packed or data, digest, 1, packs, folder, "", candidate.arrived)
        except OSError as error:
            return self.failed(candidate, error)
        finally:
            os.close(fd)

    def begin(self, candidate: Candidate, now_ns: int) -> Hashing | Reading:
        """Begins to read a large file; where it is not to be read now, how it was found."""
        try:
            fd, folder = self.folders.open_alone(candidate.path, disk.READ)
        except OSError as error:
            return self.failed(candidate, error)
        begun: Hashing | Reading | None = None
        try:
            found = os.fstat(fd)
            candidate = candidate.found(found.st_ctime_ns, found.st_ino)
            if (begun := self._incomplete(candidate, fd, found, now_ns, False)) is None:
                return Hashing(self, _Opened(candidate, fd, quote_from_bytes(candidate.path), _stamp(found), folder))
        except OSError as error:
            begun = self.failed(candidate, error)
        os.close(fd)
        return begun

    def _incomplete(
        self, candidate: Candidate, fd: int, found: os.stat_result, now_ns: int, at_once: bool
    ) -> Reading | None:
        """Why it is not to be read now; None where it is."""
        if not stat.S_ISREG(found.st_mode):
            return Gone(candidate.path)
        handed = candidate.is_handed_over(found.st_uid, found.st_nlink)
        wait = settle.quiet_wait(found.st_ctime_ns, now_ns, self.quiet, candidate.seen_ctime_ns)
        if wait > 0 and not handed:
            why = settle.CHANGING if candidate.seen_ctime_ns not in (0, found.st_ctime_ns) else settle.YOUNG
            return NotYet(candidate._replace(seen_ctime_ns=found.st_ctime_ns, why=why, handed=None), wait)
        writer = leases.has_writer(fd, keep_out=at_once and found.st_size <= _SMALL)
        if writer is None:
            return None if handed else self._unfinished(candidate, found, now_ns)
        return self.not_yet(candidate, found.st_ctime_ns, settle.WRITER) if writer else None

    def _unfinished(self, candidate: Candidate, found: os.stat_result, now_ns: int) -> NotYet | None:
        """The same for a file whose writers we can't see."""
        times = settle.Times(found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        now = hash(times)
        seen = settle.Seen(candidate.seen_ctime_ns, candidate.version == now)
        again = candidate._replace(tries=candidate.tries + 1, seen_ctime_ns=times.ctime_ns, version=now, handed=None)
        if (fresh := settle.quiet_wait(times.ctime_ns, now_ns, settle.TICK, candidate.seen_ctime_ns)) > 0:
            return NotYet(again._replace(why=settle.YOUNG), fresh)
        came = self.unleased.came(candidate.path, times.ctime_ns)
        wait = settle.unleased_wait(came, times, now_ns, self.unleased.in_place, seen)
        why = settle.unleased_why(came, times, seen)
        return NotYet(again._replace(why=why), wait) if wait > 0 else None

    def not_yet(self, candidate: Candidate, ctime_ns: int, why: str) -> NotYet:
        """The file is not complete. `ctime_ns`: its ctime when we saw it, 0 where we did not."""
        tries = candidate.tries + 1
        again = candidate._replace(tries=tries, seen_ctime_ns=ctime_ns, why=why, handed=None)
        return NotYet(again, settle.next_wait(tries, self.quiet))

    def failed(self, candidate: Candidate, error: OSError) -> Reading:
        """It could not be read."""
        if error.errno in faults.NO_FILE:
            return Gone(candidate.path)
        if error.errno in faults.PASSING:
            return self.not_yet(candidate, 0, settle.UNREAD)
        if candidate.failures + 1 < _TRIES_TO_READ:
            return self.not_yet(candidate._replace(failures=candidate.failures + 1), 0, settle.UNREAD)
        unread = Content(candidate.path, quote_from_bytes(candidate.path), _UNKNOWN, None, "", candidate.failures + 1)
        return Refusal(unread, "unreadable", f"can't be read: {error.strerror}")


class Hashing:
    """A large file that is being read, a piece at a time, and the caller can stop between two. `close` it.

    `done`: how many of its bytes are in the digest.

    What the file system calls a hole is not read: its zeros come from memory. A file system that calls data a hole
    costs time and no evidence: the upload reads every byte, and begins again where its digest is another one.
    """

    def __init__(self, reader: Reader, opened: _Opened) -> None:
        self._reader = reader
        self._candidate, self._fd, self.name, self.stamp, self.folder = opened
        self._digest = sha256()
        self._holes = Holes(self._fd, self.stamp.size)
        self.done = 0

    def step(self) -> Reading | None:
        """Reads on for a moment; how the file was found, where that was the end of it."""
        try:
            for _ in range(_STEP):
                piece = _ZEROS if self._holes.covers(self.done, _PIECE) else os.read(self._fd, _PIECE)
                self._digest.update(piece)
                self.done += len(piece)
                if not piece or self.done > self.stamp.size:  # a file that grows has no end
                    return self._end()
        except OSError as error:
            return self._reader.failed(self._candidate, error)
        return None

    def _end(self) -> Reading:
        digest = self._digest.hexdigest()
        if not _is_still(self._fd, self.stamp) or self._candidate.is_another(digest):
            return self._reader.not_yet(self._candidate, 0, settle.CHANGING)
        path, arrived = self._candidate.path, self._candidate.arrived
        return Content(path, self.name, self.stamp, None, digest, 1, folder=self.folder, arrived_ns=arrived)

    def close(self) -> None:
        """Gives the file back."""
        os.close(self._fd)


def version(stamp: Stamp) -> int:
    """What a look that saw this stamp leaves in a candidate's `version`."""
    return hash(settle.Times(stamp.size, stamp.mtime_ns, stamp.ctime_ns))


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _is_still(fd: int, stamp: Stamp) -> bool:
    after = os.fstat(fd)
    return (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == stamp[2:]


def _whole(fd: int, size: int) -> bytes:
    """The whole file. One that grows is read too far."""
    data = os.read(fd, size + 1)
    while len(data) < size and (more := os.read(fd, size + 1 - len(data))):
        data += more
    return data
