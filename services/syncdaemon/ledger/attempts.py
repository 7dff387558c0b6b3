"""What was sent and has no receipt, as the ledger tells it: the `attempt` rows that are still open. Read only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from syncdaemon.base.model import Attempt, first_id
from syncdaemon.ledger.files import files, first_number, newest_row_of, rows_of
from syncdaemon.ledger.rows import ATTEMPT, RECEIPTS


def open_attempts(folder: Path, site: str) -> dict[str, Attempt]:
    """By message id: the attempts without a receipt.

    The newest `attempt` row says with which row the oldest begins that was open then (`open_since`). Raises
    LedgerDamaged where a row that is read does not have its fields.
    """
    existing = [path for path in files(folder, site) if path.stat().st_size]
    newest = _newest(existing)
    if newest is None:
        return {}
    found: dict[str, Attempt] = {}
    for row in _rows_since(existing, newest["open_since"] or newest["n"]):
        if row["event"] == ATTEMPT:
            if row.get("resolved") and not row["open_since"]:  # the stream was looked through: these are open, no more
                found.clear()  # a row with `open_since` is the last of several; reading began with the first of them
            for msg_id in row["ids"].split():
                before = found.get(msg_id, Attempt(row["first_seq"], row["n"], 0))
                found[msg_id] = before._replace(files=before.files + 1)
        elif (attempt := found.get(msg_id := first_id(row["msg_id"]))) is not None:
            if attempt.files > 1:
                found[msg_id] = attempt._replace(files=attempt.files - 1)
            else:
                del found[msg_id]
    return found


def _newest(existing: list[Path]) -> dict[str, Any] | None:
    for path in reversed(existing):
        if (row := newest_row_of(path, ATTEMPT)) is not None:
            return row
    return None


def _rows_since(existing: list[Path], n: int) -> Iterator[dict[str, Any]]:
    first = 0  # the file that holds row n: the last one that begins at or before it
    for at, path in enumerate(existing):
        if (number := first_number(path)) is not None and number <= n:
            first = at
    for path in existing[first:]:
        yield from (row for row in rows_of(path, RECEIPTS | {ATTEMPT}) if row["n"] >= n)
