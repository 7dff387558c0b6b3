"""The file of the day: rows are added at its end, and each group is on disk before `write` returns.

A write that fails is taken back, and a torn end that a crash left is repaired, before anything else is written.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from syncdaemon.base.disk import fsync_dir, sync, sync_data, write_all
from syncdaemon.ledger import chain, rows
from syncdaemon.ledger.day_files import files, is_empty, is_large_packed, is_packed, plain
from syncdaemon.ledger.files import (
    check_last,
    end,
    first_number,
    follow,
    last_lines,
    rows_on,
    start_of_tail,
    torn_end,
)
from syncdaemon.ledger.rows import ABOUT_RECEIPTS, Entry

MOST_ROWS_AHEAD = 1_000_000  # in a file that is dated ahead
START_BYTES = 64 << 20  # at the end of the newest file, which a start holds to the chain: some 120,000 rows
RECENT_ROWS = 16_384  # at the end of the ledger: more than can be recorded and not yet retired


log = structlog.get_logger(__name__)


def now_text() -> str:
    """The wall clock as a row carries it: RFC 3339, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _day_of(ts: str) -> str:
    """The day of a row's time, as a file is named by it."""
    return ts[:4] + ts[5:7] + ts[8:10]


Written = Callable[[Sequence[bytes], chain.Head, chain.Head], None]


class Newest(NamedTuple):
    """The rows about receipts among the last `RECENT_ROWS` of a ledger. `whole`: the ledger has no others."""

    rows: list[dict[str, Any]]
    whole: bool


class Writer:
    """Writes the newest file of a site's ledger. `head` is the chain's end, `rows` counts what was written here.

    `written` is called when a group is on disk: with its lines, and the chain's end before and after them.
    """

    def __init__(self, folder: Path, site: str, written: Written | None = None) -> None:
        self.head = chain.START
        self._written = written
        self.rows = 0
        self._folder = folder
        self._site = site
        self._fd = -1
        self._file = ""
        self._first_n = 0  # the number of the file's first row
        self._packed = False  # whether the file was compressed: it is closed then, whatever the clock says
        self._clock_day = ""  # the latest day by the clock on which a row was written to a file that is dated ahead
        self._size = 0
        self._torn = b""
        self._spoiled = False

    def load(self) -> Newest:
        """Checks the end of the newest file, `START_BYTES` of it, and goes on there. The rest is for `verify`.

        So a start takes no longer with the years. No older day has to be there, and one that is compressed is read
        only as far as the rows of this file are few.

        A torn end is repaired with the first row that is written: a disk that is full now may take it later.

        Raises LedgerDamaged where the ledger does not hold together.
        """
        existing = [path for path in files(self._folder, self._site) if not is_empty(path)]
        if not existing:
            return Newest([], whole=True)
        newest = existing[-1]
        self._packed = is_packed(newest)
        before = self._before(newest, existing[:-1])
        self.head = before or chain.START
        tail: deque[bytes] = deque(maxlen=RECENT_ROWS)
        count = 0
        offset = start_of_tail(newest, START_BYTES)
        for line, self.head in follow(newest, None if offset else before, offset):
            tail.append(line)
            count += 1
        if tail:
            check_last(newest, tail[-1])
        self._file = plain(newest).name
        self._first_n = (first_number(newest) or 1) if offset else self.head.n - count + 1
        self._note_clock(str(chain.parse(tail[-1])["ts"]) if tail else "")
        self._torn = torn_end(newest)
        self._size = 0 if self._packed else newest.stat().st_size - len(self._torn)
        found = rows_on(newest, tail, -len(tail) if offset else count - len(tail) + 1, ABOUT_RECEIPTS)
        seen = len(tail)
        for path in reversed(existing[:-1]):
            if seen >= RECENT_ROWS or is_large_packed(path):
                break
            lines = last_lines(path, RECENT_ROWS - seen)
            found = rows_on(path, lines, -len(lines), ABOUT_RECEIPTS) + found
            seen += len(lines)
        return Newest(found, whole=seen == self.head.n)

    def _before(self, newest: Path, older: Sequence[Path]) -> chain.Head | None:
        """The chain's end before the newest file; None where the file before it was compressed, or is not here."""
        if not older or is_packed(older[-1]):
            return None
        before, first = end(older[-1]), first_number(newest)
        return before if first is None or first <= before.n + 1 else None

    def write(self, group: Sequence[Entry]) -> float:
        """Writes these rows and waits for the disk; how many seconds that took.

        Raises OSError. The file ends then where it ended before.
        """
        if self._torn:
            self._repair()
        if self._spoiled:
            self._cut_back()
        before = head = self.head
        lines: list[bytes] = []
        ts = now_text()
        for event, fields in group:
            line, head = chain.seal(head, self._site, ts, event, fields)
            lines.append(line)
        data = b"\n".join([*lines, b""])
        self._choose_file(ts)
        try:
            began = time.perf_counter()
            write_all(self._fd, data)
            sync_data(self._fd)
            spent = time.perf_counter() - began
        except OSError:
            self._spoiled = True
            self._cut_back()
            raise
        self._size += len(data)
        self.head = head
        self.rows += len(group)
        if self._written is not None:
            self._written(lines, before, head)
        return spent

    def _repair(self) -> None:
        """Puts a `recovered` row in the place of the torn end. Cut off half way, it is a torn end again."""
        line, head = chain.seal(self.head, self._site, now_text(), *rows.recovered(self._torn))
        fd = os.open(self._folder / self._file, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.lseek(fd, self._size, os.SEEK_SET)
            write_all(fd, line + b"\n")
            os.ftruncate(fd, self._size + len(line) + 1)
            sync(fd)
        finally:
            os.close(fd)
        log.warning("ledger_recovered", file=self._file, row=head.n, bytes=len(self._torn))
        self._torn = b""
        self.head = head
        self.rows += 1

    def _cut_back(self) -> None:
        """Takes off what a failed write has left. Where the disk does not even take that, the next write does it."""
        os.ftruncate(self._fd, self._size)
        self._spoiled = False

    def _choose_file(self, ts: str) -> None:
        """Opens the file of the day. A clock that was set back does not open an older file again.

        A file that is dated ahead, by a clock that was wrong, is closed at the next day by the clock, or when it has
        `MOST_ROWS_AHEAD`: else it would be open until its date comes.
        """
        name = max(self._name_of(_day_of(ts)), self._file)
        if name == self._file and (self._packed or self._has_to_close(ts)):
            name = self._name_after()
        if name == self._file and self._fd >= 0:
            self._note_clock(ts)
            return
        fd = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._size = os.fstat(fd).st_size
        fsync_dir(self._folder)
        if name != self._file:
            self._file, self._first_n, self._clock_day, self._packed = name, self.head.n + 1, "", False
        self._note_clock(ts)

    @property
    def file(self) -> str:
        """The name of the file that rows go to; empty before there is one. All older ones are closed for good."""
        return self._file

    def _name_of(self, day: str) -> str:
        return f"evidence-{self._site}-{day}.jsonl"

    @property
    def _date(self) -> str:
        """The day of the file, by its name."""
        return self._file[-14:-6]

    def _has_to_close(self, ts: str) -> bool:
        """Whether the file is dated ahead, and a new day has begun or it has got too many rows."""
        ahead = bool(self._file) and _day_of(ts) < self._date
        a_new_day = bool(self._clock_day) and _day_of(ts) > self._clock_day
        return ahead and (a_new_day or self.head.n + 1 - self._first_n >= MOST_ROWS_AHEAD)

    def _note_clock(self, ts: str) -> None:
        if self._file and ts and (day := _day_of(ts)) < self._date:
            self._clock_day = max(self._clock_day, day)

    def _name_after(self) -> str:
        """The name of the day after that of the file; the same one where the calendar has no such day."""
        with suppress(ValueError, OverflowError):
            return self._name_of(f"{datetime.strptime(self._date, '%Y%m%d') + timedelta(days=1):%Y%m%d}")
        return self._file

    def close(self) -> None:
        """Closes the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
