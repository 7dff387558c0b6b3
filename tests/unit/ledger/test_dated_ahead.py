"""A clock that ran ahead once: the file of that day does not stay open until its date comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncdaemon.ledger import day_choice, writer
from syncdaemon.ledger.writer import Writer

SITE = "here"
LINK = ("link", {"up": True})


class Clock:
    """What the rows are dated by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.day = "2027-01-01"
        monkeypatch.setattr(writer, "now_text", lambda: f"{self.day}T12:00:00.000000Z")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def loaded(folder: Path) -> Writer:
    found = Writer(folder, SITE)
    found.load()
    return found


def days(folder: Path) -> list[str]:
    return [path.name.split("-")[-1].partition(".")[0] for path in sorted(folder.glob("*.jsonl"))]


@pytest.mark.parametrize("restarts", [False, True])
def test_it_is_closed_at_the_next_day_and_the_next_file_takes_the_day_after_it(
    tmp_path: Path, clock: Clock, restarts: bool
) -> None:
    one = loaded(tmp_path)
    for clock.day in ("2030-05-31", "2027-01-01", "2027-01-01", "2027-01-02", "2027-01-02", "2027-01-03"):
        if restarts:
            one.close()
            one = loaded(tmp_path)
        one.write([LINK])
    one.close()
    assert days(tmp_path) == ["20300531", "20300601", "20300602"]
    assert loaded(tmp_path).head.n == 6


def test_a_clock_that_swings_about_midnight_takes_one_file_a_day(tmp_path: Path, clock: Clock) -> None:
    one = loaded(tmp_path)
    for clock.day in ("2030-05-31", *(("2027-01-01", "2027-01-02") * 5)):
        one.write([LINK])
    one.close()
    assert days(tmp_path) == ["20300531", "20300601"]


def test_it_is_closed_when_it_has_a_million_rows(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day_choice, "MOST_ROWS_AHEAD", 3)
    one = loaded(tmp_path)
    for clock.day in ("2030-05-31", *["2027-01-01"] * 6):
        one.write([LINK])
    one.close()
    assert days(tmp_path) == ["20300531", "20300601", "20300602"]


def test_a_file_of_today_takes_any_number_of_rows(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_choice, "MOST_ROWS_AHEAD", 3)
    one = loaded(tmp_path)
    for _ in range(6):
        one.write([LINK])
    one.close()
    assert days(tmp_path) == ["20270101"]


def test_the_last_day_of_the_calendar_stays_open(tmp_path: Path, clock: Clock) -> None:
    one = loaded(tmp_path)
    for clock.day in ("9999-12-31", "2027-01-01", "2027-01-02", "2027-01-03"):
        one.write([LINK])
    one.close()
    assert days(tmp_path) == ["99991231"]
