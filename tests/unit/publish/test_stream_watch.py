"""How often a stream is looked at over one connection. No server and no clock is needed for that."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from syncdaemon.publish.stream_watch import BUSY_SECONDS, IDLE_SECONDS, LookTimes

TICK = 5


def looks(seconds: int, stored: Callable[[int], int]) -> list[int]:
    """When a stream is looked at that has `stored` so many messages at each time."""
    pace, found = LookTimes(0.0, stored(0)), []
    for now in range(TICK, seconds, TICK):
        if pace.due(now, stored(now)):
            pace.looked(now, stored(now))
            found.append(now)
    return found


def test_an_idle_site_looks_every_six_hours() -> None:
    """Each look costs more than all probes of ten minutes."""
    assert looks(86_400, lambda now: 7) == [21_600, 43_200, 64_800]
    assert IDLE_SECONDS == 21_600


def test_a_busy_site_looks_soon_and_then_every_ten_minutes() -> None:
    """A stream that is set otherwise shows, and costs little."""
    found = looks(3_600, lambda now: now)
    assert found[:2] == [15, 45]
    assert all(BUSY_SECONDS <= later - sooner <= BUSY_SECONDS + TICK for sooner, later in pairwise(found[1:]))
    assert len(found) == 7


def test_a_file_now_and_then_costs_one_look() -> None:
    """Ten minutes after it came, if none came sooner: one before a file is deleted counts too. The first costs two."""
    found = looks(25_000, lambda now: 1 + now // 7_000)
    assert found == [7_000, 7_030, 14_600, 21_600]


def test_what_was_stored_before_somebody_else_looked_counts() -> None:
    """A look for another reason comes between the message and the next tick."""
    pace = LookTimes(0.0, 0)
    pace.looked(2.0, 1)
    assert not pace.due(15.0, 1)
    assert pace.due(17.0, 1)
