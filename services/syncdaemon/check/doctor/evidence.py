"""Looking at the ledger, read only and beside a running daemon."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.base.room import DiskRoom
from syncdaemon.check.diagnosis import Folder, LedgerFacts
from syncdaemon.check.doctor.machine import look_at_folder
from syncdaemon.check.ledger import audit
from syncdaemon.ledger import files, last_lines, rows_on
from syncdaemon.ledger.rows import RECEIPTS, is_receipt
from syncdaemon.settings.values import Settings

_ROWS_BACK = 16_384  # rows at the end of each older file in which the last receipt is looked for


def look(settings: Settings) -> LedgerFacts:
    """The folder, the chain of the newest file, and how long ago the last receipt was written."""
    place, site = settings.sync_ledger_dir.absolute(), settings.site
    folder = _folder(place)
    paths = [path for path in files(place, site) if path.stat().st_size]
    if folder.problem or not paths:
        return LedgerFacts(folder)
    last: list[str] = []

    def seen(row: dict[str, Any]) -> None:
        if is_receipt(row):
            last[:] = [row["ts"]]

    rows, damage, unknown = 0, "", ""
    try:
        found = audit(place, site, newest_only=True, seen=seen)
        rows, unknown = found.rows, next(found.unknown_events(), "")
    except LedgerDamaged as error:
        damage = str(error)
    except OSError as error:
        damage = f"{paths[-1]} can't be read: {error.strerror}"
    try:
        last = last or _older(reversed(paths[:-1]))
    except LedgerDamaged as error:
        damage = damage or str(error)
    since = time.time() - datetime.fromisoformat(last[0]).timestamp() if last else None
    return LedgerFacts(folder, paths[-1].name, rows, damage, since, unknown)


def _folder(place: Path) -> Folder:
    """The folder; one that is missing is made by the daemon, if it may."""
    if os.path.exists(place):  # False where we may not look, unlike Path.exists
        return look_at_folder(os.fsencode(place))
    above = next(parent for parent in place.parents if os.path.exists(parent))
    if above.is_dir() and os.access(above, os.W_OK | os.X_OK, effective_ids=True):
        room = DiskRoom.at(above)
        return Folder(f"{place}, which is still to be made,", "", room.free, room.files)
    return Folder(str(place), f"{place} is not there and can't be made in {above}")


def _older(paths: Iterable[Path]) -> list[str]:
    """When the last receipt in these files was written; nothing where there is none. Raises LedgerDamaged."""
    for path in paths:
        lines = last_lines(path, _ROWS_BACK)
        if receipts := rows_on(path, lines, -len(lines), RECEIPTS):
            return [receipts[-1]["ts"]]
    return []
