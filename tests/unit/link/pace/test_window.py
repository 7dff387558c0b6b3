"""The window: it fills the link, whatever link it is, and keeps the queue on it short."""

from __future__ import annotations

import math
from math import inf

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from syncdaemon.link import pace
from syncdaemon.link.pace import Window
from tests.support.simulated_link import Link, transmit

KBIT = 125.0  # bytes a second


def powers(least: float, most: float) -> st.SearchStrategy[float]:
    """As many small numbers as large ones."""
    return st.floats(math.log(least), math.log(most)).map(math.exp)


bandwidths = powers(8 * KBIT, 10e6 * KBIT)
round_trips = powers(0.0001, 2.0)
sizes = powers(300, 1e6).map(int)


def most(window: Window, round_trip: float, size: int) -> float:
    """What the fixed bounds of the window leave of the link, in bytes a second."""
    return 0.95 * min(window.max_bytes, window.max_messages * size) / round_trip


@settings(max_examples=60, derandomize=True)
@given(bandwidths, round_trips, sizes)
def test_within_ten_round_trips_the_link_is_full_and_the_queue_never_two_seconds(
    bandwidth: float, round_trip: float, size: int
) -> None:
    """From the first message on; the round trip is known by then, since some requests come before it.

    What waits before a message is less than two seconds of the link. Only where the round trip or a single message
    takes longer than a second and a half can it be that and the queue that is allowed: a burst, all at once.
    """
    window, link = Window(), Link([(0.0, bandwidth)], round_trip)
    window.measured(0.0, round_trip)
    trip = round_trip + size / bandwidth
    seconds = min(30 * trip, 15 * trip + 8.0)

    sendings = transmit(window, link, size, seconds)

    assert max(sending.waiting for sending in sendings) <= max(
        2.0, pace.window.SHORTEST_QUEUE + max(round_trip, size / bandwidth)
    )
    assert link.share(10 * trip, seconds - 2 * trip, most(window, round_trip, size)) >= 0.9


@settings(max_examples=50, derandomize=True)
@given(bandwidths, powers(0.25, 10.0), round_trips, sizes)
def test_a_change_in_flight_is_followed_within_ten_round_trips(
    bandwidth: float, factor: float, round_trip: float, size: int
) -> None:
    """To a quarter, or to ten times: what is on the link by then can't be called back, but nothing is added to it."""
    slower = bandwidth * min(factor, 1.0)
    assume(size / slower <= 1.0)
    change = 20 * round_trip + 5
    window, link = Window(), Link([(0.0, bandwidth), (change, bandwidth * factor)], round_trip)
    assume(most(window, round_trip, size) > max(bandwidth, bandwidth * factor))
    assume(max(bandwidth, bandwidth * factor) * (change + 30 * round_trip + 12) / size < 100_000)
    window.measured(0.0, round_trip)
    adapted = change + 10 * round_trip + 4

    sendings = transmit(window, link, size, adapted + 20 * round_trip + 8)

    assert max(sending.waiting for sending in sendings if sending.at < change - 3) <= max(
        2.0, pace.window.SHORTEST_QUEUE + round_trip
    )
    assert max(sending.waiting for sending in sendings if sending.at > adapted) <= max(
        2.0, pace.window.SHORTEST_QUEUE + round_trip
    )
    assert link.share(adapted, adapted + 15 * round_trip + 8) >= 0.9


@given(round_trips, sizes)
def test_what_is_known_of_a_link_is_forgotten_while_nothing_is_sent(round_trip: float, size: int) -> None:
    """Ten idle seconds later it may be another link: the first message goes alone."""
    window, link = Window(), Link([(0.0, 1e6)], round_trip)
    transmit(window, link, size, 5 * (round_trip + size / 1e6))
    assert window.rate is not None
    while window.messages:
        window.answered(100.0, size)

    window.sent(110.1, size)

    assert window.rate is None
    assert window.wait(110.1) == inf


@given(st.integers(0, 1 << 40))
def test_a_single_message_always_fits_into_an_empty_window(size: int) -> None:
    """A message larger than the window goes alone, rather than never."""
    window = Window(max_messages=10, max_bytes=1000)
    assert window.wait(0.0) == 0.0
    window.sent(0.0, size)
    assert window.wait(0.0) == inf
    window.answered(1.0, size)
    assert window.wait(1.0) == 0.0


def test_the_fixed_bounds_hold_on_the_fastest_link() -> None:
    """Far below what a server buffers: beyond 128 MB or 100,000 messages nats-server 2.15 answers 429."""
    for size in (100, 100_000):
        window, link = Window(), Link([(0.0, 1e12)], 2.0)
        transmit(window, link, size, 20.0)
        assert window.messages <= pace.MAX_MESSAGES < 100_000 // 4
        assert window.bytes <= pace.MAX_BYTES + pace.window.MAX_PIECE < (128 << 20) // 2


def test_a_gap_does_not_starve_the_link() -> None:
    """What waits at the other end behind something that was lost is no more on the link; the window stretches."""
    window, link = Window(), Link([(0.0, 1e5)], 0.5)
    transmit(window, link, 1000, 10.0)
    assert window.wait(10.0) > 0
    assert window.stretches

    assert window.wait(10.0, window.gap(10.0, arrived=20_000, rate=1e5)) == 0.0
    assert window.wait(10.0) > 0


def test_answers_that_a_gap_delays_do_not_slow_the_window_down() -> None:
    """The same late answer with and without a gap: only without is it the link that became slower."""
    limits = []
    for gap in (False, True):
        window, link = Window(), Link([(0.0, 1e5)], 0.1)
        transmit(window, link, 1000, 10.0)
        if gap:
            window.gap(10.1, arrived=1000, rate=1e5)
        for _ in range(window.messages):
            window.answered(14.0, 1000)
        limits.append(window.limit)
    assert limits[0] < limits[1] / 2


def test_little_traffic_tells_what_a_link_carries_at_least() -> None:
    """One small message a second over a fast link: what was measured at full speed stays."""
    window, link = Window(), Link([(0.0, 1e6)], 0.05)
    transmit(window, link, 1000, 5.0)
    now = 5.0
    window.sent(now, 1000)  # the last one: nobody asks whether there is room for more
    while window.messages:
        now += 0.001
        window.answered(now, 1000)
    fast = window.rate
    assert fast is not None
    for second in range(6, 12):
        window.sent(second, 1000)
        window.answered(second + 0.06, 1000)
    assert window.rate == fast


def test_what_is_not_full_says_nothing_of_a_slow_link() -> None:
    """Small messages over a long link take a round trip each, however fast it is: files are not cut up for that."""
    window = Window()
    window.measured(0.0, 0.3)
    for second in range(1, 10):
        window.sent(second, 1000)
        window.answered(second + 0.305, 1000)
    assert window.rate is not None
    assert window.rate < 50_000
    assert window.capacity is None


def test_the_first_few_kilobytes_tell_of_a_slow_link() -> None:
    """4 KiB that take a second longer than nothing does; and a link that is full tells better."""
    window = Window()
    window.measured(0.0, 0.1)
    window.sent(1.0, 4 << 10)
    window.answered(2.1, 4 << 10)
    assert window.capacity is not None
    assert 2_000 <= window.capacity <= 5_000

    transmit(full := Window(), Link([(0.0, 1e5)], 0.1), 1000, 10.0)
    assert full.capacity is not None
    assert 0.9e5 <= full.capacity <= 1.1e5


@given(st.permutations(range(12)), st.lists(st.sampled_from([100, 5_000, 100_000]), min_size=12, max_size=12))
def test_answers_out_of_order_leave_nothing_behind(order: list[int], sizes: list[int]) -> None:
    """As from two streams: all is answered in the end, and what comes after it is measured by itself."""
    window = Window()
    for at, size in enumerate(sizes):
        window.sent(at / 100, size)
    for at, which in enumerate(order):
        window.answered(1 + at / 100, sizes[which])
    assert (window.messages, window.bytes) == (0, 0)

    window.sent(100.0, 5_000)
    window.answered(100.5, 5_000)
    assert window.round_trip <= 0.5
    assert not window._marks


def test_what_a_shaper_lets_through_at_once_floods_no_slow_link() -> None:
    """The first kilobytes pass in no time; what follows them is little, and shows how slow the link is."""
    window = Window()
    window.measured(0.0, 0.001)
    window.sent(1.0, 4 << 10)
    window.answered(1.001, 4 << 10)
    assert window.rate is not None
    assert window.rate > 1e6
    assert window.limit <= 16 << 10

    window.sent(1.1, 16 << 10)
    window.answered(1.6, 16 << 10)
    assert window.capacity == window.rate
    assert 30_000 <= window.rate <= 80_000
