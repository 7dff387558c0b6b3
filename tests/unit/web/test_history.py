"""The last hour: what is known of it, and what is not."""

from __future__ import annotations

import pytest

from syncdaemon.web.history import SLOT_SECONDS, SLOTS, History


def looked(history: History, begin: float, end: float, up: bool, value: float = 0.0, step: float = 1.0) -> None:
    at = begin
    while at <= end:
        history.look(at, 1e9 + at, up, [value])
        at += step


def known_and_up(history: History) -> tuple[float, float]:
    slots = list(history.slots())
    return sum(slot[1] for slot in slots), sum(slot[2] for slot in slots)


def test_the_first_attempt_to_connect_is_no_outage() -> None:
    """So a page that is opened six seconds after the start says nothing about a link that was never down."""
    history = History(1)
    looked(history, 0, 2, up=False)
    assert history.since is None
    looked(history, 2.5, 6.5, up=True)
    assert history.since == 1e9 + 2.5
    assert known_and_up(history) == (4.0, 4.0)


def test_a_link_that_stays_away_is_down() -> None:
    history = History(1)
    looked(history, 0, 65, up=False)
    assert (history.up, history.since) == (False, 1e9 + 5)
    assert known_and_up(history) == (60.0, 0.0)


def test_a_change_is_counted_where_it_was_seen() -> None:
    history = History(1)
    looked(history, 0, 100, up=True)
    looked(history, 101, 160, up=False)
    known, up = known_and_up(history)
    assert known == pytest.approx(160)
    assert up == pytest.approx(101)
    assert history.since == 1e9 + 101


def test_of_the_time_without_a_look_nothing_is_known() -> None:
    """The machine slept."""
    history = History(1)
    looked(history, 0, 60, up=True)
    looked(history, 1000, 1060, up=True)
    assert known_and_up(history) == (120.0, 120.0)


def test_it_is_an_hour_and_no_more() -> None:
    history = History(1)
    looked(history, 0, 3 * 3600, up=True, step=2.0)
    slots = list(history.slots())
    assert len(slots) == SLOTS
    assert SLOTS * SLOT_SECONDS == 3600
    assert [slot[0] for slot in slots] == list(range(int(slots[0][0]), int(slots[0][0]) + SLOTS))


def test_the_highest_value_of_a_slot_is_kept() -> None:
    history = History(1)
    for at, value in ((0.0, 1.0), (5.0, 9.0), (14.0, 2.0), (15.0, 3.0)):
        history.look(at, at, True, [value])
    assert [slot[3] for slot in history.slots()] == [9, 3]
