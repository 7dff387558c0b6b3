"""inotify(7): the kernel's own account of what happens in folders, on Linux. This is the only module that calls it.

The three system calls are called here, and not by a library. The libraries that we know make several objects for each
event: `asyncinotify` 4.4 takes 7 µs an event, this module 0.7 µs (decision 17 has the measurement). The kernel's queue
has room for 16,384 events, and 8,000 renames fill it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from syncdaemon.base.descriptors import have_paths, path_of

# The events that we ask for, and those that come unasked; the numbers are those of <linux/inotify.h>.
MODIFY, ATTRIB, CLOSE_WRITE = 0x2, 0x4, 0x8
MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x40, 0x80, 0x100, 0x200
OVERFLOW, IGNORED, IS_FOLDER = 0x4000, 0x8000, 0x40000000
EVENTS = MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE
_ONLY_FOLDERS, _NO_UNLINKED = 0x01000000, 0x04000000

_HEAD = struct.Struct("iIII")  # watch, mask, cookie, length of the name with its padding
_PIECE = 1 << 16  # bytes that are read in one go: 2,000 events or so


class Event(NamedTuple):
    """One event: in which watched folder, what, and the name in it. `cookie` is the same in both halves of a rename."""

    watch: int
    mask: int
    cookie: int
    name: bytes


def is_here() -> bool:
    """Whether this system has inotify, and the folder of descriptors that `add` needs."""
    has_calls = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "inotify_init1")
    return has_calls and have_paths()


class Inotify:
    """One queue of events. Raises OSError where the kernel makes none: it has no inotify, or the user's are used up."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(self._libc, "inotify_init1"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self.fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, folder: int) -> int:
        """Watches the folder that this descriptor has open; the number of the watch, always the same for one folder.

        What happens to a file that has lost its name is not told: its name may be another file's by then.

        Raises OSError; with ENOSPC where the user's watches are used up.
        """
        path = path_of(folder)  # inotify knows paths only, and this one leads to the open folder itself
        return self._checked(self._libc.inotify_add_watch(self.fd, path, EVENTS | _ONLY_FOLDERS | _NO_UNLINKED))

    def remove(self, watch: int) -> None:
        """Ends a watch. One that has ended already needs nothing."""
        self._libc.inotify_rm_watch(self.fd, watch)

    def read(self) -> list[Event]:
        """The next events in their order; none where the queue is empty. Raises OSError."""
        try:
            return list(_events(os.read(self.fd, _PIECE)))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Ends all watches."""
        os.close(self.fd)

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


def _events(data: bytes) -> Iterator[Event]:
    at = 0
    while at < len(data):
        watch, mask, cookie, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size + length
        yield Event(watch, mask, cookie, data[at - length : at].rstrip(b"\0"))
