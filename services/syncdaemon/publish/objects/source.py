"""A file that is read in chunks from any offset on, and hashed meanwhile. Every call here blocks."""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from typing import TYPE_CHECKING

from syncdaemon.base import leases
from syncdaemon.base.model import Stamp

if TYPE_CHECKING:
    from hashlib import _Hash

SO_FAR = 32  # characters of a digest: half of it
_PIECE = 1 << 20

Marks = dict[int, "_Hash"]
"""By offset: the digest's state there."""

Piece = tuple[memoryview, str]
"""A chunk, and half the digest of all up to its end."""


class Changed(Exception):
    """The file is no longer what it was when its digest was taken."""


class Source:
    """A file in the version of `stamp`, open as `fd`. `marks`: offsets from which on the digest can be continued.

    The descriptor is closed here, also where it can't be a source. Raises Changed where it is another version by now or
    is open for writing, OSError where it can't be read.
    """

    def __init__(self, fd: int, stamp: Stamp, marks: Marks) -> None:
        self._stamp = stamp
        self._marks = marks
        self._offset = 0
        self._digest = sha256()
        self._fd = fd
        try:
            self.check()
            if leases.has_writer(self._fd):
                raise Changed("it is being written to")
        except BaseException:
            os.close(self._fd)
            raise

    def check(self) -> None:
        """Raises Changed where the file is no longer that version."""
        found = os.fstat(self._fd)
        now = Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if not stat.S_ISREG(found.st_mode) or now != self._stamp:
            raise Changed("it was written to, or replaced")

    def close(self) -> None:
        """Closes the file."""
        os.close(self._fd)

    def go_to(self, offset: int, most: int) -> bool:
        """Takes the digest of what lies before `offset`, reading at most `most` bytes. Whether `offset` is reached."""
        if offset < self._offset or max(self._known(offset)) > self._offset:
            self._offset = max(self._known(offset))
            self._digest = self._marks[self._offset].copy() if self._offset else sha256()
        end = min(offset, self._offset + most)
        while self._offset < end:
            self._take(self._read(min(_PIECE, end - self._offset)))
        self._forget(self._offset)
        self._marks[self._offset] = self._digest.copy()
        return self._offset == offset

    def chunks(self, size: int, count: int, needed: int) -> list[Piece]:
        """The next chunks, each with half the digest of all up to its end. Marks before the offset `needed` go."""
        self._forget(needed)
        found: list[Piece] = []
        whole = memoryview(self._read(min(count * size, self._stamp.size - self._offset)))
        for start in range(0, len(whole), size):
            data = whole[start : start + size]
            self._take(data)
            self._marks[self._offset] = self._digest.copy()
            found.append((data, self.so_far))
        return found

    @property
    def so_far(self) -> str:
        """Half the digest of what was read up to here, in hexadecimal."""
        return self._digest.hexdigest()[:SO_FAR]

    def is_whole(self, digest: str) -> bool:
        """Whether all of it was read, and has this digest."""
        return self._offset == self._stamp.size and self._digest.hexdigest() == digest

    def _read(self, size: int) -> bytes:
        data = os.pread(self._fd, size, self._offset)
        while len(data) < size:
            if not (more := os.pread(self._fd, size - len(data), self._offset + len(data))):
                raise Changed("it became shorter")
            data += more
        return data

    def _take(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        self._offset += len(data)

    def _known(self, offset: int) -> list[int]:
        """Where a digest is known at or before `offset`."""
        return [0, *(mark for mark in self._marks if mark <= offset)]

    def _forget(self, needed: int) -> None:
        keep = max(self._known(needed))
        for mark in [mark for mark in self._marks if mark < keep]:
            del self._marks[mark]
