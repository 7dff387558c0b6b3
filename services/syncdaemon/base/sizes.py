"""The size classes of large files.

The files of one class go one after another. The classes go beside one another, each with the same right to the disk and
to the link. So a file waits for files of about its own size only, however large another file is.
"""

from __future__ import annotations

from bisect import bisect_right

_BOUNDS = (64 << 20, 1 << 30, 64 << 30)  # bytes: the smallest file of each class but the first

SIZE_CLASSES = range(len(_BOUNDS) + 1)


def size_class(size: int) -> int:
    """The class of a file of so many bytes."""
    return bisect_right(_BOUNDS, size)
