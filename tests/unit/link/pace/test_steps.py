"""Chunks that take about a second, in few sizes that seldom change."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.link.pace import Step, batch

SMALLEST, LARGEST = 2 << 10, 1 << 20
rates = st.floats(1, 1e10)
steps = st.sampled_from([Step(1 << power) for power in range(11, 21)])


@given(rates, steps)
def test_a_step_takes_about_a_second_and_is_a_power_of_two(rate: float, now: Step) -> None:
    """But for the slowest and the fastest links, on which the smallest and the largest are used."""
    size = now.after(rate).size
    assert size & (size - 1) == 0
    assert SMALLEST <= size <= LARGEST
    assert size == SMALLEST or size / rate <= 1.5
    assert size == LARGEST or size / rate >= 0.35


@given(rates, steps)
def test_what_was_chosen_is_kept(rate: float, now: Step) -> None:
    """At the same speed it is not chosen anew."""
    step = now.after(rate)
    assert step.after(rate) == step


@given(st.lists(st.floats(0.8, 1.2), min_size=1, max_size=50), st.floats(4e3, 1e6))
def test_a_link_that_wavers_changes_the_size_twice_at_most(factors: list[float], rate: float) -> None:
    """By a fifth up and down."""
    step, changes = Step(), 0
    for factor in factors:
        after = step.after(rate * factor)
        changes += after != step
        step = after
    assert changes <= 2


@given(steps)
def test_nothing_known_changes_nothing(now: Step) -> None:
    """After a quiet time, say."""
    assert now.after(None) is now


@pytest.mark.parametrize(
    ("kbit", "chunk", "largest"),
    [(8, 2, 4), (32, 4, 8), (64, 8, 16), (512, 64, 128), (1_000, 128, 256), (4_000, 128, 1024), (10_000, 128, None)],
)
def test_some_links(kbit: int, chunk: int, largest: int | None) -> None:
    """In kbit/s and KiB: 900 kB over 32 kbit/s go as hundreds of chunks, over 10 Mbit/s as one message."""
    step = Step().after(kbit * 125.0)
    assert step.chunk == chunk << 10
    assert step.largest == (None if largest is None else largest << 10)


def test_a_limit_makes_chunks_of_a_quarter_of_a_second() -> None:
    """Where the link itself would carry more; without one, and on a link that is slower still, it changes nothing."""
    assert [Step().chunk_within(limit) >> 10 for limit in (1e3, 64e3, 256e3, 1e6, inf)] == [2, 16, 64, 128, 128]
    assert Step(4 << 10).chunk_within(1e6) == 4 << 10


def test_a_batch_is_what_the_link_takes_in_a_moment() -> None:
    """Of an unknown link little, of a slow one less, of a fast one much."""
    assert batch(None) == 16 << 10
    assert [batch(rate) for rate in (1e3, 1e6, 1e300)] == [500, 500_000, 1 << 30]
