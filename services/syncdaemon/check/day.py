"""One day's file of a ledger, checked by itself: every row's form, fields, site, number and link."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from syncdaemon.ledger import Damage, chain, rows
from syncdaemon.ledger.day_files import open_day
from syncdaemon.ledger.files import blamed
from syncdaemon.ledger.forms import form_of
from syncdaemon.ledger.rows import ABOUT_RECEIPTS, ANCHOR, RECOVERED, SHIPPED, is_known

AT_ONCE = 1_024  # lines
_TAKEN = {SHIPPED, ANCHOR}

Row = dict[str, Any]
Seen = Callable[[Row], None]
Lines = Callable[[list[bytes]], None]


@dataclass
class Day:
    """What a file holds.

    `before` and `end`: of the chain, before its first row and after its last; None where it has no row. `unknown`: by
    event that this version does not know, the line of its first row. `recovered`: the lines of rows that stand in the
    place of a torn end, with its bytes. `first`, `last`: times of rows. `unfinished`: the number of a last line without
    its end. `taken`: the rows that stand for days which were taken away.
    """

    path: Path
    before: chain.Head | None = None
    end: chain.Head | None = None
    events: Counter[str] = field(default_factory=Counter)
    unknown: dict[str, int] = field(default_factory=dict)
    recovered: dict[int, int] = field(default_factory=dict)
    first: str = ""
    last: str = ""
    unfinished: int = 0
    taken: list[Row] = field(default_factory=list)


def check_day(
    path: Path, site: str, before: chain.Head | None = None, *, seen: Seen | None = None, lines: Lines | None = None
) -> Day:
    """Checks a file. `before`: the chain's end before it; None takes the first row's own claim of it.

    `seen` gets the first row, and every one about receipts. `lines` gets all lines, in order, some at a time.

    Raises LedgerDamaged at the first damage.
    """
    return _Check(path, site, before, seen, lines).run()


class _Check:
    """Takes line after line: quickly where one has the form that this version writes, else in full."""

    def __init__(
        self, path: Path, site: str, before: chain.Head | None, seen: Seen | None, lines: Lines | None
    ) -> None:
        self._day = Day(path)
        self._path = path
        self._site, self._site_bytes = site, site.encode()
        self._seen, self._lines = seen, lines
        self._some: list[bytes] = []
        self._before = before
        self._n, self._digest = -1, b""  # of the row before; no row is the next one of this
        self._date = b""  # of the newest row: one that was found to be good

    def run(self) -> Day:
        """All lines of the file."""
        day = self._day
        with open_day(self._path) as file:
            for number, line in enumerate(file, 1):
                if self._is_good(line):
                    continue
                if not line.endswith(b"\n"):
                    day.unfinished = number
                    break
                self._look_closely(number, line[:-1], file)
        if self._n >= 0:
            day.end = chain.Head(self._n, self._digest.decode())
        if self._some and self._lines is not None:
            self._lines(self._some)
        return day

    def _is_good(self, line: bytes) -> bool:
        """Whether a line is certainly good; it is counted then."""
        form = form_of(line)
        if form is None:
            return False
        match = form.pattern.fullmatch(line)
        if match is None:
            return False
        n, prev, ts, site = match.group(*form.places)
        if int(n) != self._n + 1 or prev != self._digest or site != self._site_bytes or ts[:10] != self._date:
            return False
        line = line[:-1]
        self._n += 1
        self._digest = sha256(line).hexdigest().encode()
        self._day.events[form.event] += 1
        self._day.last = ts.decode()
        if form.tells and self._seen is not None:
            self._seen(form.row(match))
        if self._lines is not None:
            self._collect(line)
        return True

    def _look_closely(self, number: int, line: bytes, file: BinaryIO) -> None:
        day = self._day
        head = self._before if self._n < 0 else chain.Head(self._n, self._digest.decode())
        try:
            row, after = chain.check(head, line)
        except chain.BadRow as error:
            raise blamed(self._path, number, line, file.readline(), error) from None
        if fault := rows.fault(row) or self._misplaced(row):
            raise Damage.at(self._path, number, fault)
        if self._n < 0:
            day.before, day.first = chain.Head(row["n"] - 1, row["prev"]), row["ts"]
        self._n, self._digest, self._date = after.n, after.digest.encode(), row["ts"][:10].encode()
        day.events[row["event"]] += 1
        day.last = row["ts"]
        if not is_known(row):
            day.unknown.setdefault(row["event"], number)
        if row["event"] in _TAKEN:
            day.taken.append(row)
        if row["event"] == RECOVERED:
            day.recovered[number] = row["bytes"]
        if self._seen is not None and (number == 1 or row["event"] in ABOUT_RECEIPTS):
            self._seen(row)
        if self._lines is not None:
            self._collect(line)

    def _misplaced(self, row: Row) -> str:
        """Why a row can't be in this file; empty where it can."""
        if row["site"] != self._site:
            return f"the row is of the site {row['site']!r}"
        return ""

    def _collect(self, line: bytes) -> None:
        self._some.append(line)
        if len(self._some) == AT_ONCE and self._lines is not None:
            self._lines(self._some)
            self._some = []
