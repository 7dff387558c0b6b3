"""SYNC_BWLIMIT as rclone writes `--bwlimit`: bandwidths, days, slots around the week."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base.timetable import OFF, Slot, timetable
from syncdaemon.base.units import Wrong

MONDAY = datetime(2026, 11, 23)
KI, MI = 1 << 10, 1 << 20


def limit(text: str, day: int = 0, hour: int = 0, minute: int = 0) -> int | None:
    """What a timetable says at a time of the week that begins with Monday."""
    return timetable(text).limit_at(MONDAY + timedelta(days=day, hours=hour, minutes=minute))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("off", None),
        ("OFF", None),
        ("0", None),
        ("524288", 524_288),
        ("1B", 1),
        ("512k", 512 * KI),
        ("512K", 512 * KI),
        ("512Ki", 512 * KI),
        ("512KiB", 512 * KI),
        ("1.5M", 3 * MI // 2),
        (".5M", MI // 2),
        ("10G", 10 << 30),
        ("1T", 1 << 40),
        ("1P", 1 << 50),
        ("0.5", 512),  # with a fraction it is rclone's: KiB
    ],
)
def test_one_bandwidth(text: str, expected: int | None) -> None:
    """For ever; a plain number is in bytes, all else is as rclone reads it."""
    assert limit(text) == expected
    assert limit(text, 6, 23, 59) == expected


def test_numbers_in_a_timetable_are_in_kib() -> None:
    """As in rclone's own example."""
    week = "Mon-00:00,512 Fri-23:59,10 Sat-10:00,1M Sun-20:00,off"
    assert limit(week) == 512 * KI
    assert limit(week, 4, 23, 58) == 512 * KI
    assert limit(week, 4, 23, 59) == 10 * KI
    assert limit(week, 5, 9, 59) == 10 * KI
    assert limit(week, 5, 10) == MI
    assert limit(week, 6, 19, 59) == MI
    assert limit(week, 6, 20) is None
    assert limit(week, 6, 23, 59) is None


def test_slots_without_a_day_hold_every_day() -> None:
    """From their minute to that of the next one, over midnight."""
    daily = "08:00,512k 12:00,10M 13:00,512k 18:00,30M 23:00,off"
    for day in range(7):
        assert limit(daily, day, 7, 59) is None
        assert limit(daily, day, 8) == 512 * KI
        assert limit(daily, day, 12, 30) == 10 * MI
        assert limit(daily, day, 22, 59) == 30 * MI
        assert limit(daily, day, 23) is None


def test_the_last_slot_of_the_week_holds_until_the_first() -> None:
    """Whatever the order in which they are written, and with semicolons too."""
    for text in ("Wed-10:00,1M Fri-10:00,2M", "Fri-10:00,2M Wed-10:00,1M", "wednesday-10:00,1M;FRIDAY-10:00,2M"):
        assert limit(text, 0) == 2 * MI
        assert limit(text, 2, 9, 59) == 2 * MI
        assert limit(text, 2, 10) == MI
        assert limit(text, 6, 23, 59) == 2 * MI


def test_of_two_slots_at_one_time_the_later_one_holds() -> None:
    """So an exception can follow what holds every day."""
    assert limit("08:00,1M Sun-08:00,2M", 6, 9) == 2 * MI
    assert limit("08:00,1M Sun-08:00,2M", 5, 9) == MI


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "empty"),
        ("fast", "'fast' is no bandwidth"),
        ("10M:1M", "is a limit for each direction"),
        ("08:00,10M:1M", "is a limit for each direction"),
        ("-1", "'-1' is no bandwidth"),
        ("1MB", "'1MB' is no bandwidth"),
        ("1Mbit", "'1Mbit' is no bandwidth"),
        ("1E", "'1E' is no bandwidth"),
        ("9999999999P", "too large"),
        ("0.0001", "less than a byte"),
        ("8:00,1M", "'8:00,1M' is no slot"),
        ("08:00,", "'' is no bandwidth"),
        ("08:00", "is a limit for each direction"),
        ("08:00,1M 10M", "'10M' is no slot"),
        ("24:00,1M", "24:00 is no time of day"),
        ("08:60,1M", "08:60 is no time of day"),
        ("Mo-08:00,1M", "'Mo' is no day of the week"),
        ("Mon08:00,1M", "is no slot"),
    ],
)
def test_what_is_wrong_is_said(text: str, what: str) -> None:
    with pytest.raises(Wrong) as caught:
        timetable(text)
    assert what in caught.value.what


@given(st.text(alphabet="0123456789:,-. MonofkmB;", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Never anything else; and what is read has a limit at every time."""
    try:
        read = timetable(text)
    except Wrong:
        return
    assert list(read.slots) == sorted(read.slots)
    assert all(slot.limit is None or slot.limit >= 1 for slot in read.slots)
    read.limit_at(MONDAY)


def test_off_is_no_limit() -> None:
    assert ("off", (Slot(0, None),)) == OFF
    assert str(OFF) == "off"
