"""When is a file complete? Pure decisions; the time comes in as an argument.

A file is complete when no process has it open for writing and it was unchanged for long enough. Quiet is counted
from its ctime: the kernel moves it on every write, rename and attribute change, and no program can set it (an
mtime can be set to anything, and says nothing about a rename).

Where the kernel does not show us the writers of a file, the way that it came decides instead (`Came`): a file that was
closed after writing or renamed into place is complete after the same quiet time, one that was not closed never is, and
for all others the quiet time is much longer.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

LONGEST_WAIT = 2.0  # seconds between two tries to read a file that a process keeps open
TICK = 0.05  # seconds; more than a tick of the kernel's clock of file times, and the time that an event takes

WRITER = "a writer has it open"
CHANGING = "still changing"
YOUNG = "too young"
UNREAD = "it can't be read now"

_SELDOM = 30.0  # seconds between two looks at a file that was not closed; its close brings the next look forward


class Came(enum.Enum):
    """What was seen last of a file."""

    NOTHING = enum.auto()
    OPEN = enum.auto()  # it was written to, and not closed since
    MADE = enum.auto()  # its name was made; either its writer has not begun, or link(2) brought it with all its bytes
    ENDED = enum.auto()  # it was closed after writing, or renamed into place, and not changed since


class Times(NamedTuple):
    """What a look sees of a file."""

    size: int
    mtime_ns: int
    ctime_ns: int


class Seen(NamedTuple):
    """What the look before saw: the ctime then, 0 if there was none; and whether all was as now."""

    ctime_ns: int
    same: bool


def quiet_wait(ctime_ns: int, now_ns: int, quiet: float, seen_ctime_ns: int = 0) -> float:
    """Seconds until a file that last changed at `ctime_ns` has been quiet for `quiet` seconds; 0: it has.

    `now_ns` is the file system's idea of now. A change that lies ahead of it (the clock was set back since)
    does not tell how long ago it was; then the file is quiet if an earlier look, at least `quiet` seconds
    ago, saw the same ctime (`seen_ctime_ns`).
    """
    age = (now_ns - ctime_ns) / 1e9
    if age < 0:
        return 0.0 if ctime_ns == seen_ctime_ns else quiet
    return max(0.0, quiet - age)


def next_wait(tries: int, quiet: float) -> float:
    """Seconds until a file that was not complete at the `tries`-th try (from 1) is read again."""
    return max(quiet, min(LONGEST_WAIT, max(quiet, 0.05) * 2.0 ** min(tries - 1, 16)))


def unleased_wait(came: Came, times: Times, now_ns: int, in_place: float, before: Seen) -> float:
    """Seconds until a file is looked at again whose writers can't be seen; 0: it is complete.

    The usual quiet time is over. `in_place`: seconds that it must have been unchanged for if nothing was seen of it; a
    second look has to find the same then.
    """
    if came is Came.ENDED:
        return 0.0
    if _has_writer(came, times):
        return max(LONGEST_WAIT, min(_SELDOM, in_place))
    changed_ns = times.mtime_ns if times.ctime_ns < times.mtime_ns <= now_ns else times.ctime_ns
    wait = quiet_wait(changed_ns, now_ns, in_place, before.ctime_ns)
    if wait <= 0 and not before.same:
        return min(LONGEST_WAIT, max(in_place, TICK))
    return wait


def unleased_why(came: Came, times: Times, before: Seen) -> str:
    """Why a file is not complete whose writers can't be seen."""
    if _has_writer(came, times):
        return WRITER
    return CHANGING if before.ctime_ns not in (0, times.ctime_ns) else YOUNG


def _has_writer(came: Came, times: Times) -> bool:
    """Whether a writer has the file open, or is about to open it."""
    return came is Came.OPEN or (came is Came.MADE and not times.size)
