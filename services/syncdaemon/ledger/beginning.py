"""Row 1 of a ledger that was begun anew: which log was before it. Read only."""

from __future__ import annotations

from pathlib import Path

from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.evidence.notes import Checkpoint
from syncdaemon.evidence.strict import BadEvidence, hash_bytes
from syncdaemon.ledger import chain, rows
from syncdaemon.ledger.seek import line_at, spot_of


def first_row(folder: Path, site: str) -> bytes | None:
    """The line of row 1; None where it is not here. Raises OSError."""
    try:
        spot = spot_of(folder, site, 1)
        return None if spot is None else line_at(spot)
    except LedgerDamaged:
        return None


def rebased_head(folder: Path, site: str) -> Checkpoint | None:
    """The end of the log before, as row 1 names it; None where the ledger was not begun anew. Raises OSError."""
    line = first_row(folder, site)
    return None if line is None else head_named(line)


def head_named(line: bytes) -> Checkpoint | None:
    """The end of the log before that this line names; None where it is no `rebased` row."""
    try:
        row = chain.parse(line)
        if row["event"] != rows.REBASED or rows.fault(row):
            return None
        return Checkpoint(row["old_origin"], row["old_size"], hash_bytes(row["old_root"], "root"))
    except (chain.BadRow, BadEvidence):
        return None
