"""For how many days the ledger's disk has room, at the rate at which the ledger grows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import date, timedelta
from math import inf
from pathlib import Path

from syncdaemon.ledger.files import day_path

LOOK_BACK = 7  # days before today


def daily_sizes(folder: Path, site: str, today: date) -> list[int]:
    """Bytes that the ledger grew by today, yesterday and so on, for `LOOK_BACK` days more; 0 for a day without rows."""
    sizes = []
    for back in range(LOOK_BACK + 1):
        size = 0
        with suppress(FileNotFoundError):
            size = day_path(folder, site, today - timedelta(back)).stat().st_size
        sizes.append(size)
    return sizes


def days_left(free: int, sizes: Sequence[int]) -> float:
    """For how many days `free` bytes last; infinite for a ledger that does not grow.

    `sizes`: of the days, today first. A day is expected to be as large as the larger of the last two, so that a site
    that has more to do since yesterday is seen; or as large as the days before were on the average.
    """
    before = sizes[1:]
    a_day = max(*sizes[:2], sum(before) / max(1, len(before)))
    return max(0, free) / a_day if a_day else inf
