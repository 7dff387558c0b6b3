"""The receipts of certain files. Read only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from syncdaemon.base.model import Place, Row
from syncdaemon.ledger.files import files, rows_of
from syncdaemon.ledger.rows import ABOUT_RECEIPTS, HELD_LOST


def receipts_of(folder: Path, site: str, wanted: Mapping[Place, int]) -> dict[Place, list[Row]]:
    """The receipts of these files, as far back as the number that is `wanted` of each; the best ones last.

    Files with the same content share a message, and may share a date. Those that were sent again since come first: a
    crash may have come before they were. Raises LedgerDamaged where a row that is read does not have its fields.
    """
    valid: dict[Place, list[Row]] = {place: [] for place in wanted}
    void: dict[Place, list[Row]] = {place: [] for place in wanted}
    lost = Counter[tuple[Place, str]]()
    for file in reversed(files(folder, site)):
        for place, row in reversed(list(_about(file, wanted))):
            one = place, str(row["path"])
            if row["event"] == HELD_LOST:
                lost[one] += 1
                continue
            found = void if lost[one] else valid
            lost[one] -= bool(lost[one])
            found[place].append(row)
        if all(len(valid[place]) >= count for place, count in wanted.items()):
            break
    return {place: void[place][::-1] + valid[place] for place in wanted}


def _about(file: Path, wanted: Mapping[Place, int]) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The rows of a ledger's file that are about these files."""
    for row in rows_of(file, ABOUT_RECEIPTS):
        place = row["stream_seq"], row["sha256"], row.get("mtime_ns", 0)
        if place in wanted:
            yield place, row
