"""What workers wrote down as received: their chains, and a site's receipts held against them. Offline, read only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from syncdaemon.base.disk import is_locked
from syncdaemon.base.errors import LedgerDamaged, SettingsError
from syncdaemon.ledger import RECEIVED, Damage, chain, files, lock_path, read, sites
from syncdaemon.ledger.files import rows_of
from syncdaemon.ledger.rows import ABOUT_RECEIPTS, ARRIVED, HELD_LOST, PUBLISHED


class ArrivalBooks(NamedTuple):
    """What arrived, by the ledgers of workers.

    `files`: site, path and digest of each file. `contents`: site and digest. `messages`: stream, sequence and digest.
    """

    files: set[int]
    contents: set[int]
    messages: set[int]

    def add(self, row: dict[str, Any]) -> None:
        """A row of a file that arrived."""
        site, digest = row["from_site"], row["sha256"]
        self.files.add(hash((site, row["path"], digest)))
        self.contents.add(hash((site, digest)))
        self.messages.add(hash((row["stream"], row["stream_seq"], digest)))

    def have(self, site: str, receipt: dict[str, Any]) -> bool:
        """Whether what this receipt of a site delivered has arrived.

        A hub that takes a site's stream as a source counts anew, so site, path and digest decide as well. A duplicate
        is a message of another path, so its content counts.
        """
        digest = receipt["sha256"]
        if hash((receipt["stream"], receipt["stream_seq"], digest)) in self.messages:
            return True
        if receipt["event"] == PUBLISHED:
            return hash((site, receipt["path"], digest)) in self.files
        return hash((site, digest)) in self.contents


def read_books(place: Path, say: Callable[[str], None]) -> ArrivalBooks:
    """Checks the ledgers of all workers in a folder, or of the one that a file belongs to; a line for each.

    Raises LedgerDamaged at the first damage, SettingsError where there is none.
    """
    folder, wanted = place, sites(place, RECEIVED)
    if not place.is_dir():
        folder = place.parent
        wanted = [worker for worker in sites(folder, RECEIVED) if place in files(folder, worker, RECEIVED)]
    if not wanted:
        raise SettingsError(f"--received: there is no ledger of a worker in {place}")
    books = ArrivalBooks(set(), set(), set())
    for worker in wanted:
        rows = arrived = 0
        for row in _checked(folder, worker):
            rows += 1
            if row["event"] == ARRIVED:
                arrived += 1
                books.add(row)
        say(f"received by {worker}: ok, {rows} rows, {arrived} files arrived")
    return books


def _checked(folder: Path, worker: str) -> Iterator[dict[str, Any]]:
    """Every row of a worker's ledger, held to its chain. Raises LedgerDamaged."""
    head: chain.Head | None = chain.START
    paths = files(folder, worker, RECEIVED)
    for path in paths:
        try:
            for number, row, after in read(path, head):
                head = after
                if row["site"] != worker:
                    raise Damage.at(path, number, f"the row names {row['site']!r}, the file {worker!r}")
                yield row
        except LedgerDamaged as damage:
            unfinished = path == paths[-1] and str(damage).endswith(Damage.UNFINISHED)
            if not unfinished or not is_locked(lock_path(folder, worker, RECEIVED)):
                raise


def not_arrived(folder: Path, site: str, books: ArrivalBooks) -> list[dict[str, Any]]:
    """The receipts of a site that count, and of which nothing has arrived. Raises LedgerDamaged."""
    missing: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for path in files(folder, site):
        for row in rows_of(path, ABOUT_RECEIPTS):
            place = row["stream_seq"], row["sha256"]
            if row["event"] == HELD_LOST:
                missing.pop(place, None)
            elif not books.have(site, row):
                missing.setdefault(place, []).append(row)
    return [row for rows in missing.values() for row in rows]
