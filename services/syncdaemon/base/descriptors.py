"""A path to what is open: for calls that take a path and no descriptor. Only Linux has one, in /proc (proc(5))."""

from __future__ import annotations

import os

_OPEN = "/proc/self/fd"


def have_paths() -> bool:
    """Whether open descriptors have paths here."""
    return os.path.isdir(_OPEN)


def path_of(fd: int) -> bytes:
    """The path that leads to what is open as `fd`, wherever that lies by now."""
    return b"%b/%d" % (os.fsencode(_OPEN), fd)
