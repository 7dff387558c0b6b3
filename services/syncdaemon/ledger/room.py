"""For how many days the ledger's disk has room, at the rate at which the ledger grows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import date, timedelta
from math import inf
from pathlib import Path

from syncdaemon.ledger.day_files import PACKED, day_path

LOOK_BACK = 7  # days before today
PACKING = 5  # a day is smaller by this factor when it is compressed
_LATE = 2  # days more than are to be kept: with more, nothing is taken away as it should be


def daily_sizes(folder: Path, site: str, today: date) -> list[int]:
    """Bytes that the days have when they are compressed: today, yesterday and so on, for `LOOK_BACK` days more.

    0 for a day without rows.
    """
    return [_size(day_path(folder, site, today - timedelta(back))) for back in range(LOOK_BACK + 1)]


def _size(plain: Path) -> int:
    with suppress(FileNotFoundError):
        return -(-plain.stat().st_size // PACKING)
    with suppress(FileNotFoundError):
        return plain.with_name(plain.name + PACKED).stat().st_size
    return 0


def days_left(free: int, sizes: Sequence[int], keep: int = 0, closed: int = 0) -> float:
    """For how many days `free` bytes last; infinite for a ledger that does not grow, or whose disk has room for all.

    `sizes`: of the days, today first. A day is expected to be as large as the larger of the last two, so that a site
    that has more to do since yesterday is seen; or as large as the days before were on the average. Until it is
    compressed it takes `PACKING` times as much. `keep`: how many closed days stay, 0 for all; `closed`: how many there
    are. Where more of them wait than should, nothing is reckoned to go.
    """
    before = sizes[1:]
    a_day = max(*sizes[:2], sum(before) / max(1, len(before)))
    if not a_day:
        return inf
    open_day = PACKING * a_day
    spare = max(0, free) - (open_day - min(open_day, PACKING * sizes[0]))
    if spare < 0:
        return max(0, free) / open_day
    if keep and closed <= keep + _LATE and spare >= max(0, keep - closed) * a_day + a_day:
        return inf
    return spare / a_day
