"""Receipts whose message a reader has freed: a tombstone stands in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncdaemon.check.compare import Comparison, Fetched
from syncdaemon.check.receipts import is_per_digest
from syncdaemon.stream import own
from syncdaemon.stream.api import Api

Row = Mapping[str, Any]


async def is_freed(api: Api, stream: str, row: Row, found: Fetched | None, comparison: Comparison) -> bool:
    """Whether the message of a receipt was received and freed. `found`: what the stream has at its sequence.

    A reader may be at work: then the tombstone came behind what the comparison has seen. Raises LinkDown,
    PermissionError, LanePaused.
    """
    if not is_per_digest(row) or not (found is None or found.tombstone):
        return False
    subject, seq = str(row["subject"]), int(row["stream_seq"])
    if comparison.has_tombstone(subject, seq):
        return True
    newest = (await own.newest(api, stream, subject)).message
    return newest is not None and newest.is_tombstone and (bool(comparison.sourced) or newest.seq >= seq)
