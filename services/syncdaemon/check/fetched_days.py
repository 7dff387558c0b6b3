"""Days of a ledger that were taken away come back from the hub, each held to the row that says what it was.

The row of the newest missing day is in the days that are here. The fetched day has the row of the one before it, and so
on back to row 1. So nothing has to be believed that the hub says.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

from syncdaemon.base.disk import make_dirs, write_durably
from syncdaemon.base.errors import LedgerDamaged, SyncError
from syncdaemon.ledger.closed_days import Shipment, TakenDays, read_gone, span_at
from syncdaemon.ledger.day_files import PACKED, files, plain
from syncdaemon.ledger.files import first_number
from syncdaemon.ledger.tree import find_log_id
from syncdaemon.stream.day_store import DayStore, part_subject

_MOST_PARTS = 1 << 20


class NotFetched(SyncError):
    """A day can't be had from the hub, or is not what was shipped; the text says which."""


async def fetch_missing(store: DayStore, folder: Path, site: str, target: Path) -> AsyncIterator[Path]:
    """Writes the missing days into `target`, the newest first, and yields the file of each.

    Raises NotFetched, LedgerDamaged, OSError, LinkDown, PermissionError, LanePaused.
    """
    here = await asyncio.to_thread(files, folder, site)
    first = await asyncio.to_thread(first_number, here[0]) if here else None
    if first is None:
        raise NotFetched(f"there is no ledger of site {site} in {folder}: its rows say what was shipped")
    log_id = await asyncio.to_thread(find_log_id, folder, site)
    gone = await asyncio.to_thread(read_gone, folder, site)
    await asyncio.to_thread(_make, target)
    while first > 1:
        day, shipment = _ending_at(gone, first - 1)
        path = plain(target / f"evidence-{site}-{day}.jsonl")
        path = path.with_name(path.name + PACKED)
        content = await _content(store, site, log_id, day, shipment)
        await asyncio.to_thread(write_durably, os.fsencode(path), content)
        span = await asyncio.to_thread(span_at, path)
        if span[:2] != shipment.span[:2] or (shipment.span.digest and span != shipment.span):
            raise NotFetched(f"{path} has rows {span.first_n} to {span.last_n}, and not what row {shipment.n} says")
        yield path
        older = await asyncio.to_thread(read_gone, target, site)
        gone = TakenDays(older.shipped | gone.shipped, older.anchored | gone.anchored)
        first = shipment.span.first_n


def _make(target: Path) -> None:
    make_dirs(os.fsencode(target.absolute()))


def _ending_at(gone: TakenDays, last_n: int) -> tuple[str, Shipment]:
    """The day that ends with this row. Raises NotFetched, LedgerDamaged."""
    for day, shipment in gone.shipped.items():
        if shipment.span.last_n == last_n and shipment.span.first_n <= last_n:
            return day, shipment
    for day, span in gone.anchored.items():
        if span.last_n == last_n:
            raise NotFetched(f"{day}, rows {span.first_n} to {last_n}, was taken away without being shipped")
    raise LedgerDamaged(f"row {last_n} and those before it are not here, and no row says that they were taken away")


async def _content(store: DayStore, site: str, log_id: str, day: str, shipment: Shipment) -> bytes:
    if shipment.parts > _MOST_PARTS:
        raise NotFetched(f"row {shipment.n} says that {day} has {shipment.parts} parts")
    parts = []
    for part in range(1, shipment.parts + 1):
        subject = part_subject(site, log_id, day, part)
        if (data := await store.get(subject)) is None:
            raise NotFetched(f"the hub has no {subject}, though row {shipment.n} says that it was read back")
        parts.append(data)
    content = b"".join(parts)
    if (len(content), sha256(content).hexdigest()) != (shipment.size, shipment.sha256):
        raise NotFetched(f"what the hub has of {day} is not what row {shipment.n} says: {len(content)} bytes of it")
    return content
