"""Receipts where the stream can't be read through: each with the newest message of the subject that it names.

A message without a receipt can't be found so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from itertools import islice
from typing import Any

from syncdaemon.stream import own
from syncdaemon.stream.api import Api
from syncdaemon.stream.stored import StoredMessage

_AT_ONCE = 64  # messages that are fetched at the same time

Row = Mapping[str, Any]


async def each_on_its_subject(
    api: Api, stream: str, rows: Iterator[Row]
) -> AsyncGenerator[tuple[Row, StoredMessage | None], None]:
    """These receipts, in order, each with its message, or the tombstone that is in its place; None: neither is there.

    Raises LinkDown, PermissionError, LanePaused.
    """
    while some := list(islice(rows, _AT_ONCE)):
        found = await asyncio.gather(*(own.newest(api, stream, str(row["subject"])) for row in some))
        for row, seen in zip(some, found, strict=True):
            there = seen.message
            yield row, there if there is not None and _is_of(row, there) else None


def _is_of(row: Row, there: StoredMessage) -> bool:
    """Whether the newest message on a receipt's subject is its own, or came behind it as a tombstone."""
    return there.seq == row["stream_seq"] or (there.is_tombstone and there.seq > row["stream_seq"])
