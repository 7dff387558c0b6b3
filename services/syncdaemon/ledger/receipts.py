"""The receipts of certain files. Read only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from syncdaemon.base.model import Place, Row
from syncdaemon.ledger.files import files

_LOST = "held_lost"
_EVENTS = tuple(b'"event":"%b"' % event for event in (b"published", b"duplicate", _LOST.encode()))
_FIELDS = ("path", "size", "sha256", "msg_id", "stream", "stream_seq", "mtime_ns")


def receipts_of(folder: Path, site: str, wanted: Mapping[Place, int]) -> dict[Place, list[Row]]:
    """What their receipts tell of these files, as far back as the number that is `wanted` of each; the best ones last.

    Files with the same content share a message, and may share a date. Those that were sent again since come first: a
    crash may have come before they were.
    """
    valid: dict[Place, list[Row]] = {place: [] for place in wanted}
    void: dict[Place, list[Row]] = {place: [] for place in wanted}
    lost = Counter[tuple[Place, str]]()
    for file in reversed(files(folder, site)):
        for place, row in reversed(list(_about(file, wanted))):
            one = place, str(row["path"])
            if row["event"] == _LOST:
                lost[one] += 1
                continue
            found = void if lost[one] else valid
            lost[one] -= bool(lost[one])
            found[place].append({name: row[name] for name in _FIELDS})
        if all(len(valid[place]) >= count for place, count in wanted.items()):
            break
    return {place: void[place][::-1] + valid[place] for place in wanted}


def _about(file: Path, wanted: Mapping[Place, int]) -> Iterator[tuple[Place, Row]]:
    """The rows of a ledger's file that tell of these files."""
    with file.open("rb") as lines:
        for line in lines:
            if any(mark in line for mark in _EVENTS) and line.endswith(b"\n"):
                row = json.loads(line)
                place = row["stream_seq"], row["sha256"], row.get("mtime_ns", 0)
                if place in wanted:
                    yield place, row
