"""When a file came into the replay directory: its ctime at the first look at it. Pure.

The ctime, because a producer can set an mtime to anything, and a copy or a move often keeps that of last week. A rename
into the directory sets the ctime. Later writes set it too, so it counts only as the first look found it.

An arrival is one number, because a hundred thousand of them are kept: the time in ns, whose low 16 bits (65 us) are
those of the file's inode instead. So a file that took the place of another one at its path is known for a new one.
"""

from __future__ import annotations

UNKNOWN = 0
"""The arrival of a file that was not looked at."""

_MARK = 0xFFFF


def first_sight(ctime_ns: int, ino: int) -> int:
    """The arrival of the file that has this ctime and inode at the first look at it."""
    return ctime_ns & ~_MARK | ino & _MARK


def known_or_new(known: int, ctime_ns: int, ino: int) -> int:
    """The arrival of the file that is at a path now, where one with the arrival `known` was before."""
    is_same = known != UNKNOWN and known & _MARK == ino & _MARK
    return known if is_same else first_sight(ctime_ns, ino)


def age(arrival: int, now_ns: int) -> float:
    """Seconds since the arrival; 0 where the clock was set back since. `now_ns`: the file system's now."""
    return max(0.0, (now_ns - arrival) / 1e9)
