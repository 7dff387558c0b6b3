"""How much room a disk has, from what statvfs says."""

from __future__ import annotations

import os
from math import inf

import pytest

from syncdaemon.base.room import DiskRoom

GIB = 1 << 30


def disk(size: int, free: int, inodes: int, left: int) -> os.statvfs_result:
    """With blocks of 4 KiB: so many bytes, so many free, and so many inodes, of which so many are left."""
    return os.statvfs_result((4096, 4096, size >> 12, free >> 12, free >> 12, inodes, left, left, 0, 255))


@pytest.mark.parametrize(
    ("found", "room"),
    [
        (disk(GIB, GIB // 2, 0, 0), DiskRoom(GIB // 2, inf, GIB // 2)),  # btrfs
        (disk(GIB, GIB // 2, 65_536, 60_000), DiskRoom(GIB // 2, 60_000, GIB // 2)),  # few, large files
        (disk(GIB, GIB // 2, 65_536, 100), DiskRoom(GIB // 2, 100, 100 * (GIB // 2) // 65_436)),  # many small ones
        (disk(GIB, GIB, 65_536, 65_535), DiskRoom(GIB, 65_535, 65_535 * 4096)),  # a new tmpfs
        (disk(GIB, GIB // 2, 65_536, 0), DiskRoom(GIB // 2, 0, 0)),
        (disk(GIB, 0, 65_536, 100), DiskRoom(0, 100, 0)),
    ],
)
def test_inodes_count_where_there_is_a_number_of_them(found: os.statvfs_result, room: DiskRoom) -> None:
    """Each file to come is taken to be as large as those that are there, and a block at least."""
    assert DiskRoom.of(found) == room


def test_what_is_used_up_is_said() -> None:
    """Bytes or inodes; nothing where there is room."""
    assert DiskRoom(1, 1, 1).lacking == DiskRoom(1, inf, 1).lacking == ""
    assert "inode" in DiskRoom(1, 0, 0).lacking
    assert "byte" in DiskRoom(0, 1, 0).lacking
