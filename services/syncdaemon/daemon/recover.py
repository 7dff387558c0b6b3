"""What the newest rows of the ledger say about files that were under way when the last process ended."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from syncdaemon.base.model import Content, Receipt, Stamp
from syncdaemon.publish.recent import Recent


def recent(rows: Sequence[Mapping[str, Any]]) -> Recent:
    """The newest messages that have a row."""
    published = [row["stream_seq"] for row in _valid(rows) if row["event"] == "published"]
    void = (row["stream_seq"] for row in rows if row["event"] == "held_lost")
    return Recent(published, whole=not rows or rows[0]["n"] == 1, void=void)


def unretired(rows: Sequence[Mapping[str, Any]], replay_dir: bytes) -> Iterator[Receipt]:
    """The receipts whose file is still there: the last process ended before it was retired."""
    for row in _valid(rows):
        path = unquote_to_bytes(row["path"])
        try:
            found = os.lstat(os.path.join(replay_dir, path))
        except OSError:
            continue
        if (found.st_size, found.st_mtime_ns) == (row["size"], row["mtime_ns"]):
            stamp = Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            yield Receipt(
                Content(path, row["path"], stamp, None, row["sha256"], row["attempts"]),
                msg_id=row["msg_id"],
                subject=row["subject"],
                stream=row["stream"],
                seq=row["stream_seq"],
                duplicate=row["event"] == "duplicate",
                object=row.get("object", ""),
            )


def _valid(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The receipts among these rows; not those of messages that the server has lost since."""
    receipts: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["event"] in ("published", "duplicate"):
            receipts.setdefault((row["stream_seq"], row["sha256"]), []).append(row)
        elif row["event"] == "held_lost":
            receipts.pop((row["stream_seq"], row["sha256"]), None)
    return [row for same in receipts.values() for row in same]
