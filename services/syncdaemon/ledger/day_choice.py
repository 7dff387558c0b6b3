"""To which day's file a row goes. Pure: days are texts of eight digits, such as 20270131.

A clock that is set back does not open an older file again. A file that is dated ahead, by a clock that was wrong, is
closed when a new day begins by the clock, or when it has `MOST_ROWS_AHEAD`: else it would be open until its date comes.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

MOST_ROWS_AHEAD = 1_000_000  # in a file that is dated ahead


def day_of(ts: str) -> str:
    """The day of a row's time, as a file is named by it."""
    return ts[:4] + ts[5:7] + ts[8:10]


class DayChoice:
    """The file that is open: its `day`, empty before there is one. `closed`: it takes no row any more, as it is."""

    def __init__(self) -> None:
        self.day = ""
        self.closed = False
        self._first_n = 0
        self._clock_day = ""  # the latest day by the clock on which a row was written to a file that is dated ahead

    def opened(self, day: str, first_n: int, *, closed: bool = False) -> None:
        """Rows go to the file of this day from here on, if they may; `first_n`: the number of its first row."""
        if day != self.day:
            self.day, self._first_n, self._clock_day = day, first_n, ""
        self.closed = closed

    def wrote(self, today: str) -> None:
        """A row was written to it on this day by the clock."""
        if today < self.day:
            self._clock_day = max(self._clock_day, today)

    def for_row(self, n: int, today: str) -> str:
        """The day to whose file row `n` goes, which is written on this day by the clock."""
        if today > self.day or not (self.closed or self._is_over(n, today)):
            return max(today, self.day)
        with suppress(ValueError, OverflowError):  # the calendar ends on 9999-12-31
            return f"{datetime.strptime(self.day, '%Y%m%d') + timedelta(days=1):%Y%m%d}"
        return self.day

    def _is_over(self, n: int, today: str) -> bool:
        """Whether a file that is dated ahead has had its day, or enough rows."""
        a_new_day = bool(self._clock_day) and today > self._clock_day
        return today < self.day and (a_new_day or n - self._first_n >= MOST_ROWS_AHEAD)
