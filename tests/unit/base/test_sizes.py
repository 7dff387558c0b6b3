"""The size classes of large files."""

from __future__ import annotations

import pytest

from syncdaemon.base.sizes import SIZE_CLASSES, size_class

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40


@pytest.mark.parametrize(
    ("size", "number"),
    [(0, 0), (20 * MIB, 0), (64 * MIB - 1, 0), (64 * MIB, 1), (GIB - 1, 1), (GIB, 2), (64 * GIB, 3), (10 * TIB, 3)],
)
def test_a_file_is_in_one_class(size: int, number: int) -> None:
    """A class begins with its bound."""
    assert size_class(size) == number
    assert number in SIZE_CLASSES


def test_few_files_are_under_way_at_the_same_time() -> None:
    """One of each class, and each is an open descriptor."""
    assert len(SIZE_CLASSES) == 4
