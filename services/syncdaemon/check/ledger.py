"""The auditor: reads a ledger from its first row to its last and checks that it holds together. Offline, read only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncdaemon.base.disk import is_locked
from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.ledger import Damage, chain, end, files, lock_path, read
from syncdaemon.ledger.rows import is_known


@dataclass
class Audit:
    """What a ledger holds.

    `unknown`: by event that this version does not know, where its first row is. `note`: something to know that is no
    damage.
    """

    site: str
    files: int = 0
    rows: int = 0
    events: Counter[str] = field(default_factory=Counter)
    unknown: dict[str, str] = field(default_factory=dict)
    first: str = ""
    last: str = ""
    digest: str = chain.FIRST_PREV
    note: str = ""

    def unknown_events(self) -> Iterator[str]:
        """A sentence about each event that this version does not know."""
        for event, place in self.unknown.items():
            yield f"{place}: unknown event {event!r}; rows of it: {self.events[event]}"


def audit(
    folder: Path,
    site: str,
    allow_missing_start: bool = False,
    newest_only: bool = False,
    seen: Callable[[dict[str, Any]], None] | None = None,
) -> Audit:
    """Checks every row of a site's ledger: form, fields, number, link to the row before; across all its files.

    `newest_only`: of its newest file, from the last row of the one before. `seen` gets every row that is good. A row
    of an unknown event is noted, and the check goes on after it.
    Raises LedgerDamaged, whose text names the file and the line of the first damage.
    """
    found = Audit(site)
    head: chain.Head | None = None if allow_missing_start else chain.START
    paths = files(folder, site)
    if newest_only:
        full = [path for path in paths if path.stat().st_size]
        head, paths = end(full[-2]) if len(full) > 1 else None, full[-1:]
    for path in paths:
        found.files += 1
        try:
            for number, row, after in read(path, head):
                head = after
                found.rows += 1
                found.events[row["event"]] += 1
                found.first = found.first or row["ts"]
                found.last, found.digest = row["ts"], head.digest
                if not is_known(row):
                    found.unknown.setdefault(row["event"], f"{path} line {number}")
                if seen is not None:
                    seen(row)
        except LedgerDamaged as damage:
            unfinished = path == paths[-1] and str(damage).endswith(Damage.UNFINISHED)
            if not unfinished or not is_locked(lock_path(folder, site)):
                raise
            found.note = "the last line is just being written by a running daemon"
    return found
