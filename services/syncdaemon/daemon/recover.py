"""What the newest rows of the ledger say about files that were under way when the last process ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import unquote_to_bytes

from syncdaemon.base.model import Content, Receipt, Stamp
from syncdaemon.ledger import Newest
from syncdaemon.ledger.rows import DUPLICATE, HELD_LOST, PUBLISHED, valid_receipts
from syncdaemon.publish.recent import Recent


def recent(newest: Newest, stream: str) -> Recent:
    """The newest messages of this stream that have a row. SYNC_STREAM may have been another when a row was written."""
    rows = [row for row in newest.rows if row.get("stream", stream) == stream]
    published = [row["stream_seq"] for row in valid_receipts(rows) if row["event"] == PUBLISHED]
    void = (row["stream_seq"] for row in rows if row["event"] == HELD_LOST)
    return Recent(published, whole=newest.whole, void=void)


def unretired(newest: Newest, stamp_of: Callable[[bytes], Stamp]) -> Iterator[Receipt]:
    """The receipts whose file is still there: the last process ended before it was retired.

    `stamp_of`: the version of the file at a path of the replay directory. It may raise OSError or ValueError.
    """
    for row in valid_receipts(newest.rows):
        try:
            path = unquote_to_bytes(row["path"])
            stamp = stamp_of(path)
        except (OSError, ValueError):  # a ValueError: no file can have this name
            continue
        if (stamp.size, stamp.mtime_ns) == (row["size"], row["mtime_ns"]):
            yield Receipt(
                Content(path, row["path"], stamp, None, row["sha256"], row["attempts"]),
                msg_id=row["msg_id"],
                subject=row["subject"],
                stream=row["stream"],
                seq=row["stream_seq"],
                duplicate=row["event"] == DUPLICATE,
                object=row.get("object", ""),
            )
