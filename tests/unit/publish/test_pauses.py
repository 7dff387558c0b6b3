"""How long the lane pauses where another stream than ours acknowledges."""

from __future__ import annotations

from syncdaemon.publish.pauses import DoubtPauses


def test_pauses_double_while_nothing_is_stored() -> None:
    """Up to the longest."""
    pauses, now, waits = DoubtPauses(), 100.0, []
    for _ in range(7):
        waits.append(pauses.wait(now, 0, 30.0))
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_they_are_short_while_our_stream_stores_messages() -> None:
    """And long again when it stores none any more."""
    pauses, now = DoubtPauses(), 100.0
    for last_seq, expected in ((7, 1), (9, 1), (9, 2), (9, 4), (10, 1)):
        assert pauses.wait(now, last_seq, 30.0) == expected
        now += expected


def test_a_flight_is_one_reason() -> None:
    """Hundreds of its messages are answered within a moment."""
    pauses = DoubtPauses()
    assert [pauses.wait(100.0 + part, 0, 30.0) for part in (0, 0.25, 0.5)] == [1, 0.75, 0.5]
