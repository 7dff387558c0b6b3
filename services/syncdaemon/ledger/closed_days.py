"""The closed days of a ledger: which they are, which rows they have, and how one is taken away for good."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from syncdaemon.base.disk import READ, fsync_dir
from syncdaemon.base.errors import LanePaused, LedgerDamaged
from syncdaemon.ledger import chain
from syncdaemon.ledger.day_files import files, is_empty, open_day, plain
from syncdaemon.ledger.files import Damage, rows_of
from syncdaemon.ledger.rows import ANCHOR, SHIPPED, Span
from syncdaemon.ledger.tile_store import TileStore
from syncdaemon.ledger.tree import find_log_id

PART_BYTES = 60 << 10  # of a message: also a thin line is free again after some seconds, and any server takes it
_PIECE = 1 << 20
_LINES = 4_096  # between two rests


class Shipment(NamedTuple):
    """What a `shipped` row says of a day, and the row's number `n`, or one after it."""

    span: Span
    size: int
    sha256: str
    parts: int
    n: int


class TakenDays(NamedTuple):
    """The days that rows of the ledger speak of, by name (YYYYMMDD): shipped ones, and those with an anchor."""

    shipped: dict[str, Shipment]
    anchored: dict[str, Span]


def day_of(path: Path) -> str:
    """The day of a file, as its name has it: YYYYMMDD."""
    return plain(path).name.removesuffix(".jsonl")[-8:]


def closed_days(folder: Path, site: str, current: str) -> list[Path]:
    """The files of a site that take no more rows, oldest first; `current`: the name of the one that rows go to."""
    return [path for path in files(folder, site) if plain(path).name < current]


def read_gone(folder: Path, site: str) -> TakenDays:
    """All `shipped` and `anchor` rows that are here. Raises LedgerDamaged."""
    gone = TakenDays({}, {})
    for path in files(folder, site):
        for row in rows_of(path, {SHIPPED, ANCHOR}):
            span = Span(row["first_n"], row["last_n"], row.get("digest", ""))
            if row["event"] == ANCHOR:
                gone.anchored[row["day"]] = span
            else:
                gone.shipped[row["day"]] = Shipment(span, row["bytes"], row["sha256"], row["parts"], row["n"])
    return gone


def span_of(folder: Path, site: str, path: Path, rest: Callable[[], None]) -> Span:
    """The rows of a closed day, each held to its place in the chain; the next day must go on from them.

    Raises LedgerDamaged: a day that does not hold together is never shipped, nor taken away.
    """
    span = span_at(path, rest)
    later = [other for other in files(folder, site) if plain(other).name > plain(path).name and not is_empty(other)]
    if not later:
        raise LedgerDamaged(f"{path} is the last day that is here: those after it are gone")
    _must_go_on(later[0], chain.Head(span.last_n, span.digest))
    return span


def no_rest() -> None:
    """Works on without a pause."""


def span_at(path: Path, rest: Callable[[], None] = no_rest) -> Span:
    """The rows of a day, each held to the one before it. Raises LedgerDamaged."""
    head: chain.Head | None = None
    first = 0
    with open_day(path) as file:
        for number, line in enumerate(file, 1):
            if number % _LINES == 0:
                rest()
            if not line.endswith(b"\n"):
                raise Damage.at(path, number, Damage.UNFINISHED)
            try:
                head = chain.follow(head, line[:-1])
            except chain.BadRow as error:
                raise Damage.at(path, number, str(error)) from None
            first = first or head.n
    if head is None:
        raise LedgerDamaged(f"{path} has no rows")
    return Span(first, head.n, head.digest)


def _must_go_on(after: Path, head: chain.Head) -> None:
    with open_day(after) as file:
        line = file.readline().removesuffix(b"\n")
    try:
        chain.follow(head, line)
    except chain.BadRow as error:
        raise Damage.at(after, 1, str(error)) from None


def digest_of(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file as it lies on the disk. Raises OSError."""
    found, size = sha256(), 0
    with os.fdopen(os.open(path, READ), "rb", 0) as file:
        while piece := file.read(_PIECE):
            found.update(piece)
            size += len(piece)
    return size, found.hexdigest()


def parts_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file in the pieces that are shipped. Raises OSError."""
    with os.fdopen(os.open(path, READ), "rb") as file:
        while piece := file.read(PART_BYTES):
            yield piece


def take_away(path: Path, shipment: Shipment | None) -> None:
    """Removes a closed day for good; returns when that is durable.

    Where it was `shipped`, only the very bytes that were read back from the hub are removed.
    Raises LedgerDamaged where they are others, OSError.
    """
    if shipment is not None and digest_of(path) != (shipment.size, shipment.sha256):
        raise LedgerDamaged(f"{path} is not what was shipped (row {shipment.n}): it stays")
    os.unlink(path)
    fsync_dir(path.parent)


def keep_log_id(folder: Path, site: str) -> str:
    """The log's id, kept in a file of its own: the day with row 1 will go. Raises LanePaused, OSError."""
    if not (log_id := find_log_id(folder, site)):
        raise LanePaused(
            f"the log's id is not known: row 1 of site {site} is not in {folder}, nor is tlog-{site}/log-id"
        )
    TileStore(folder, site).keep_log_id(log_id)
    return log_id
