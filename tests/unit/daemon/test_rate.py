"""How much arrives: the rate of the last five seconds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.daemon.rate import RATE_SECONDS, Rate
from syncdaemon.link.pace import ANSWER_SECONDS


def test_nothing_arrived_is_zero() -> None:
    """The metric begins at nought."""
    assert Rate().bps(0.0) == 0.0


def test_the_rate_is_bits_a_second_over_the_last_five() -> None:
    """1000 bytes in five seconds are 1600 bits a second."""
    rate = Rate()
    rate.add(100.0, 400)
    rate.add(104.0, 600)

    assert rate.bps(104.5) == 1600.0


def test_what_arrived_five_seconds_ago_counts_no_more() -> None:
    """A link that fell silent is at exactly zero five seconds later, with no rest from rounding."""
    rate = Rate()
    for step in range(50):
        rate.add(step / 10, 333)

    assert rate.bps(4.9) > rate.bps(7.0) > 0
    assert rate.bps(9.9) == 0.0
    assert rate.bps(1e9) == 0.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1000)), max_size=60), st.integers(0, 10))
def test_the_rate_is_what_a_plain_sum_says(steps: list[tuple[int, int]], rest: int) -> None:
    """The running sum never drifts from the sum over the last five seconds."""
    rate, now, arrived = Rate(), 0, []
    for step, size in steps:
        now += step
        rate.add(now, size)
        arrived.append((now, size))
        assert rate.bps(now) == sum(size for at, size in arrived if at > now - 5) * 8 / 5
    assert rate.bps(now + rest) == sum(size for at, size in arrived if at > now + rest - 5) * 8 / 5


def test_the_answer_time_is_longer_than_the_rate_window() -> None:
    """The metric reads zero before a silent message is given up: the order in which people see it."""
    assert RATE_SECONDS < ANSWER_SECONDS
