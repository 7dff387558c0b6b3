"""How much room a disk has for an ordinary process.

A disk is full when its bytes are, and as well when it takes no further file: a file system such as ext4 has a fixed
number of inodes, and each file takes one. btrfs has no such number, and says that it has 0 of 0.
"""

from __future__ import annotations

import os
from math import inf
from pathlib import Path
from typing import NamedTuple


class DiskRoom(NamedTuple):
    """`free` bytes, and how many more `files` there can be; infinite where their number has no limit.

    `for_files`: bytes that can be written as files like those that are there; fewer than are free, where inodes run out
    first.
    """

    free: int
    files: float
    for_files: int

    @classmethod
    def at(cls, place: int | bytes | str | Path) -> DiskRoom:
        """Of the disk of an open file, or of a path. Raises OSError."""
        return cls.of(os.statvfs(place))

    @classmethod
    def of(cls, disk: os.statvfs_result) -> DiskRoom:
        """What statvfs(3) says."""
        free = disk.f_bavail * disk.f_frsize
        if not disk.f_files:
            return cls(free, inf, free)
        used = max(1, disk.f_files - disk.f_ffree)
        average = (disk.f_blocks - disk.f_bfree) * disk.f_frsize / used
        return cls(free, disk.f_favail, min(free, int(disk.f_favail * max(average, disk.f_frsize))))

    @property
    def lacking(self) -> str:
        """What is used up, in words; empty where there is room."""
        if not self.files:
            return "no inode is free, so no further file can be made"
        return "" if self.free else "no byte is free"
