"""The auditor: reads a ledger from its first row to its last and checks that it holds together. Offline, read only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from syncdaemon.base.disk import is_locked
from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.check.day import Day, Lines, Seen, check_day
from syncdaemon.ledger import Damage, chain, end, files, lock_path
from syncdaemon.ledger.day_files import is_empty, is_packed
from syncdaemon.ledger.frontier import Frontier
from syncdaemon.ledger.seek import line_at, spot_of


@dataclass
class Audit:
    """What a ledger holds.

    `unknown`: by event that this version does not know, where its first row is. `recovered`: where rows stand in the
    place of a torn end, with its bytes. `note`: something to know that is no damage. `newest`: the newest file.
    `frontier`: what is known of rows that were taken away.
    """

    site: str
    files: int = 0
    rows: int = 0
    events: Counter[str] = field(default_factory=Counter)
    unknown: dict[str, str] = field(default_factory=dict)
    first: str = ""
    last: str = ""
    end: chain.Head = chain.START
    recovered: dict[str, int] = field(default_factory=dict)
    newest: Path | None = None
    frontier: str = ""
    note: str = ""

    def add(self, day: Day) -> None:
        """One more file that holds together with those before it."""
        self.rows += day.events.total()
        self.events += day.events
        self.first = self.first or day.first
        self.last = day.last
        self.end = day.end or self.end
        for event, number in day.unknown.items():
            self.unknown.setdefault(event, f"{day.path} line {number}")
        self.recovered.update({f"{day.path} line {number}": size for number, size in day.recovered.items()})

    def unknown_events(self) -> Iterator[str]:
        """A sentence about each event that this version does not know."""
        for event, place in self.unknown.items():
            yield f"{place}: unknown event {event!r}; rows of it: {self.events[event]}"


Runner = Callable[[Callable[[Path], Day], Sequence[Path]], Iterable[Day]]
"""Checks all these files, maybe several at a time; the results come in order. `map` is one."""


def audit(
    folder: Path,
    site: str,
    allow_missing_start: bool = False,
    newest_only: bool = False,
    seen: Seen | None = None,
    *,
    lines: Lines | None = None,
    run: Runner = map,
) -> Audit:
    """Checks every row of a site's ledger: form, fields, number, link to the row before; across all its files.

    `newest_only`: of its newest file. `seen` gets the first row of each file and every one about receipts; `lines`
    gets every line, many at a time. `run` may check files side by side, where neither of both is wanted. A row of an
    unknown event is noted, and the check goes on after it.

    Raises LedgerDamaged, whose text names the file and the line of the first damage.
    """
    found = Audit(site)
    paths = files(folder, site)
    before: chain.Head | None = None
    if newest_only:
        full = [path for path in paths if not is_empty(path)]
        before = end(full[-2]) if len(full) > 1 and not is_packed(full[-2]) else None
        paths = full[-1:]
    found.newest = paths[-1] if paths else None
    frontier = Frontier()
    last: Day | None = None
    for day in run(partial(check_day, site=site, seen=seen, lines=lines), paths):
        found.files += 1
        if day.before is not None:
            before = before if last is None else last.end
            if before is not None and day.before != before:
                check_day(day.path, site, before)  # says what is wrong with its first row
            if last is None:
                frontier.begin(day.before)
            for row in day.taken:
                frontier.see(row)
            found.add(day)
            last = day
        if day.unfinished:
            if day.path != paths[-1] or not is_locked(lock_path(folder, site)):
                raise Damage.at(day.path, day.unfinished, Damage.UNFINISHED)
            found.note = "the last line is just being written by a running daemon"
    if frontier.fault and not (allow_missing_start or newest_only):
        raise LedgerDamaged(f"{paths[0]}: {frontier.fault}")
    found.frontier = frontier.words
    return found


def hold_to(folder: Path, site: str, expected: chain.Head, found: Audit) -> None:
    """Raises LedgerDamaged where an earlier row is not there any more, or is another one now."""
    n, digest = expected
    if n > found.end.n:
        raise LedgerDamaged(f"{found.newest}: the ledger ends at row {found.end.n}; row {n} was there and was cut off")
    spot = spot_of(folder, site, n)
    if spot is None:
        raise LedgerDamaged(f"row {n} is not in {folder}: it can't be held to what is expected")
    if (now := sha256(line_at(spot)).hexdigest()) != digest:
        raise LedgerDamaged(f"{spot.path}: row {n} has the SHA-256 {now}, expected {digest}: the ledger was rewritten")
