"""When is a file complete? Pure decisions; the time comes in as an argument.

A file is complete when no process has it open for writing and it was unchanged for long enough. Quiet is counted
from its ctime: the kernel moves it on every write, rename and attribute change, and no program can set it (an
mtime can be set to anything, and says nothing about a rename).
"""

from __future__ import annotations

from collections.abc import Iterable

IGNORED_ENDINGS = (b".tmp", b".part", b".partial")
LONGEST_WAIT = 2.0  # seconds between two tries to read a file that a process keeps open


def ignored(name: bytes) -> bool:
    """Whether a file or folder of this name is none of ours: hidden, or a producer's work in progress."""
    return name.startswith(b".") or name.endswith(IGNORED_ENDINGS)


def path_ignored(path: bytes) -> bool:
    """Whether the file at this relative path is none of ours: by its own name, or by a folder above it."""
    *folders, name = path.split(b"/")
    return ignored(name) or _hidden(folders)


def _hidden(folders: Iterable[bytes]) -> bool:
    return any(folder.startswith(b".") for folder in folders)


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
