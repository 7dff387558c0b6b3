"""The receipts of certain files. Read only."""

from __future__ import annotations

import json
from pathlib import Path

from syncdaemon.ledger.files import files
from syncdaemon.model import Row

_RECEIPTS = (b'"event":"published"', b'"event":"duplicate"')
_FIELDS = ("path", "size", "sha256", "msg_id", "stream", "stream_seq", "mtime_ns")


def receipts_of(folder: Path, site: str, wanted: set[tuple[int, str]]) -> dict[tuple[int, str], Row]:
    """What the newest receipt tells of each of these files, known by the stream's sequence and the digest."""
    found: dict[tuple[int, str], Row] = {}
    for path in reversed(files(folder, site)):
        with path.open("rb") as lines:
            for line in lines:
                if any(mark in line for mark in _RECEIPTS) and line.endswith(b"\n"):
                    row = json.loads(line)
                    place = row["stream_seq"], row["sha256"]
                    if place in wanted:
                        found[place] = {name: row[name] for name in _FIELDS}
        wanted = wanted - found.keys()
        if not wanted:
            break
    return found
