"""The bandwidth limit follows the clock on the wall, also one that jumps, and never waits for it to come back."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import inf

import pytest

from syncdaemon.base.timetable import timetable
from syncdaemon.link.limit import Limit

DAY = "08:00,1k 18:00,off"


class Clocks:
    """The clock that is never set, in the place of `time.monotonic`, and the one on the wall."""

    def __init__(self, wall: datetime) -> None:
        self.now = 1_000.0
        self.wall = wall

    def pass_(self, seconds: float) -> None:
        """So much time passes, for both."""
        self.now += seconds
        self.wall += timedelta(seconds=seconds)

    def limit(self, text: str) -> Limit:
        """A limit by these clocks."""
        return Limit(timetable(text), lambda: self.wall)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks(datetime(2026, 11, 24, 7, 59, 58))
    monkeypatch.setattr("syncdaemon.link.limit.time.monotonic", lambda: clocks.now)
    return clocks


def test_it_changes_at_its_times_without_anybody_asking_twice(clocks: Clocks) -> None:
    """Within a second, in both directions."""
    limit = clocks.limit(DAY)
    assert limit.rate == inf
    limit.take(clocks.now, 1 << 30)
    assert limit.wait(clocks.now) == 0.0

    clocks.pass_(3)
    assert limit.wait(clocks.now) == 0.0
    assert limit.rate == 1024
    limit.take(clocks.now, 1 << 20)
    assert 0 < limit.wait(clocks.now) <= 1.0

    clocks.pass_(10 * 3600)
    assert limit.rate == inf
    assert limit.wait(clocks.now) == 0.0


@pytest.mark.parametrize(
    "jump", [timedelta(hours=5), timedelta(hours=-5), timedelta(days=20_000), timedelta(days=-400)]
)
def test_a_clock_that_is_set_changes_what_holds_and_nothing_else(clocks: Clocks, jump: timedelta) -> None:
    """A thousand bytes a second are that before and after; the wait is never longer than a second at once."""
    limit = clocks.limit("1000")
    limit.take(clocks.now, 10_000)
    clocks.pass_(2)
    clocks.wall += jump
    assert limit.rate == 1000
    waited = 0.0
    while wait := limit.wait(clocks.now):
        assert wait <= 1.0
        clocks.pass_(wait)
        waited += wait
    assert waited == pytest.approx(7.8, abs=0.3)


def test_a_clock_that_is_set_into_another_slot_is_followed(clocks: Clocks) -> None:
    """A machine without a battery that finds its time server."""
    limit = clocks.limit(DAY)
    clocks.wall = datetime(2026, 11, 24, 12)
    clocks.pass_(1)
    assert limit.rate == 1024
    clocks.wall = datetime(1970, 1, 1)
    clocks.pass_(1)
    assert limit.rate == inf


def test_a_piece_is_a_moment_of_the_limit(clocks: Clocks) -> None:
    """So that it is not the limit of each hour that is kept, but that of each moment."""
    assert clocks.limit("off").piece(131_072) == 131_072
    assert clocks.limit("1000000").piece(131_072) == 50_000
    assert clocks.limit("100").piece(131_072) == 5
