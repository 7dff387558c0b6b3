"""Which messages have their receipt already, of the newest ones."""

from __future__ import annotations

from syncdaemon.publish.recent import Recent


def test_the_newest_receipts_are_known_and_older_ones_are_not() -> None:
    """Of what is too old nothing is claimed, either way."""
    recent = Recent([5, 6, 8], whole=False)
    assert [recent.lacks(seq) for seq in (3, 5, 7, 8, 9)] == [False, False, True, False, True]
    assert [recent.has(seq) for seq in (3, 5, 7, 8, 9)] == [False, True, False, True, False]
    recent.add(9)
    assert recent.has(9)
    assert Recent([5]).lacks(3)
    assert not Recent([], whole=False).lacks(3)


def test_a_row_that_counts_no_more_is_known_until_another_comes() -> None:
    """Or until the stream is known to end before its message."""
    recent = Recent([1, 2, 3, 4], void=[2, 9])
    assert [recent.is_void(seq) for seq in (1, 2, 9)] == [False, False, True]
    recent.forget(3)
    recent.forget(4)
    assert recent.lacks(3)
    assert recent.is_void(3)
    recent.add(3)
    assert recent.has(3)
    assert not recent.is_void(3)
    recent.forget_beyond(3)
    assert not recent.is_void(4)
    assert not recent.is_void(9)


def test_old_receipts_are_forgotten() -> None:
    """So that memory is bounded."""
    recent = Recent()
    for seq in range(1, 20_001):
        recent.add(seq)
    assert recent.has(20_000)
    assert not recent.has(1)
    assert not recent.lacks(1)
