"""The holes of a sparse file, which need not be read: the kernel says where they are (lseek(2), SEEK_DATA)."""

from __future__ import annotations

import errno
import os

_SYSTEM_TELLS = hasattr(os, "SEEK_DATA")


class Holes:
    """Those of an open file of `size` bytes. The kernel is asked only where the file takes less room than its size."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        self._known = _SYSTEM_TELLS and os.fstat(fd).st_blocks * 512 < size
        self._data = 0  # where the data after the last hole begins

    def covers(self, offset: int, length: int) -> bool:
        """Whether these bytes of the file lie in one hole. Where they do not, the next `read` begins with them.

        False where the file system does not tell.
        """
        if not self._known:
            return False
        if offset >= self._data:
            self._data = self._next_data(offset)
        if offset + length <= self._data:
            return True
        os.lseek(self._fd, offset, os.SEEK_SET)
        return False

    def _next_data(self, offset: int) -> int:
        try:
            return os.lseek(self._fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data from there to the end
                return self._size
            self._known = False
            return 0
