"""Orders of operators: what is recorded of each, and what is said to hold."""

from __future__ import annotations

import pytest

from syncdaemon.base.operator_pause import OperatorPause
from syncdaemon.base.peers import Peer
from syncdaemon.base.timetable import OFF
from syncdaemon.daemon.steering import Steering
from syncdaemon.ledger import Entry
from syncdaemon.link.limit import Limit
from syncdaemon.web.calls import BadCall, SteeringOrder

OPERATOR = Peer(1000, 1000, 7)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Site:
    """The parts that are steered."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pause, self.limit = OperatorPause(self.clock), Limit(OFF)
        self.rows: list[Entry] = []
        self.rescans: list[int] = []
        self.steering = Steering(self.pause, self.limit, self.rows.append, self._rescan)

    def _rescan(self) -> None:
        self.rescans.append(1)

    async def order(self, call: str, seconds: float | None = None, *, large: bool = False, value: str = "") -> str:
        return await self.steering.carry_out(SteeringOrder(call, seconds, large, value), OPERATOR)


async def test_a_pause_is_recorded_with_its_user_and_ends_in_time() -> None:
    site = Site()
    await site.order("pause", 60.0)
    assert site.pause.is_on()
    ((event, fields),) = site.rows
    assert (event, fields["call"], fields["value"], fields["uid"]) == ("control", "pause", "all", 1000)
    assert str(fields["until"]).endswith("Z")
    assert site.steering.steered()["pause"]["uid"] == 1000
    site.clock.now += 61
    assert not site.pause.is_on()


async def test_large_files_are_paused_apart_and_resumed_together() -> None:
    site = Site()
    await site.order("pause", large=True)
    assert (site.pause.is_on(), site.pause.large_is_on()) == (False, True)
    await site.order("pause")
    assert sorted(site.steering.steered()) == ["pause", "pause large"]
    await site.order("resume")
    assert (site.pause.is_on(), site.pause.large_is_on(), site.steering.steered()) == (False, False, {})


async def test_a_limit_counts_until_that_of_the_settings_is_wanted_again() -> None:
    site = Site()
    await site.order("limit", value="64k")
    assert site.limit.rate == 65_536
    await site.order("limit", value="timetable")
    assert (site.limit.rate, site.steering.steered()) == (float("inf"), {})


async def test_an_order_that_can_not_be_carried_out_changes_and_records_nothing() -> None:
    site = Site()
    for call, value in (("limit", "fast"), ("reload", "")):
        with pytest.raises(BadCall):
            await site.order(call, value=value)
    assert (site.rows, site.steering.steered(), site.limit.rate) == ([], {}, float("inf"))


async def test_a_rescan_is_asked_for() -> None:
    site = Site()
    await site.order("rescan")
    assert site.rescans == [1]
