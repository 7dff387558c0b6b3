"""For how many days the ledger's disk has room."""

from __future__ import annotations

from datetime import date
from math import inf
from pathlib import Path

import pytest

from syncdaemon.ledger.room import daily_sizes, days_left


@pytest.mark.parametrize(
    ("sizes", "days"),
    [
        ([0] * 8, inf),
        ([10] * 8, 100.0),
        ([0, 10, 10, 10, 10, 10, 10, 10], 100.0),  # just after midnight
        ([50, 10, 10, 10, 10, 10, 10, 10], 20.0),  # more than ever, since today
        ([1, 50, 10, 10, 10, 10, 10, 10], 20.0),  # and since yesterday
        ([0, 0, 0, 0, 0, 0, 0, 70], 100.0),  # a site that delivers once a week
        ([10, 0, 0, 0, 0, 0, 0, 0], 100.0),  # the first day of all
    ],
)
def test_a_day_is_as_large_as_the_last_ones(sizes: list[int], days: float) -> None:
    assert days_left(1_000, sizes) == days


def test_where_nothing_is_left_there_are_no_days() -> None:
    assert days_left(-5, [10] * 8) == 0
    assert days_left(-5, [0] * 8) == inf


def test_the_files_of_the_last_days_are_looked_at_and_no_others(tmp_path: Path) -> None:
    for name, size in {
        "evidence-a-20260301.jsonl": 3,
        "evidence-a-20260228.jsonl": 4,
        "evidence-a-20260222.jsonl": 5,
        "evidence-a-20260221.jsonl": 100,
        "evidence-a-20260302.jsonl": 100,
        "evidence-b-20260301.jsonl": 100,
    }.items():
        (tmp_path / name).write_bytes(bytes(size))
    assert daily_sizes(tmp_path, "a", date(2026, 3, 1)) == [3, 4, 0, 0, 0, 0, 0, 5]
