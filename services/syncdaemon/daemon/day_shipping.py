"""A closed day goes to the hub in parts, and every part is read back before the day counts as shipped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from syncdaemon.base.errors import LanePaused, SyncError
from syncdaemon.ledger.closed_days import day_of, digest_of, parts_of
from syncdaemon.stream.day_store import DayStore, part_subject


class OtherBytes(SyncError):
    """The hub has something else where a part of this day should be. It can't be replaced there; the day stays here."""


class ReadBack(NamedTuple):
    """What was read back: the compressed file's size and SHA-256, in so many parts."""

    size: int
    sha256: str
    parts: int


async def ship(
    store: DayStore, site: str, log_id: str, path: Path, turn: Callable[[], Awaitable[None]] | None = None
) -> ReadBack:
    """Ships the compressed file of a day; what the hub has of it already is read, and not sent again.

    `turn` is awaited before each part. Raises OtherBytes, LinkDown, PermissionError, LanePaused, OSError.
    """
    subjects = (part_subject(site, log_id, day_of(path), part) for part in range(1, 1 << 31))
    found, size, count = sha256(), 0, 0
    begun = True
    pieces = parts_of(path)
    for subject in subjects:
        if (piece := await asyncio.to_thread(next, pieces, None)) is None:
            break
        if turn is not None:
            await turn()
        begun = begun and await _is_there(store, subject, piece)
        if not begun:
            await store.put(subject, piece)
            if not await _is_there(store, subject, piece):
                raise LanePaused(f"{subject} was acknowledged, and does not read back yet")
        found.update(piece)
        size, count = size + len(piece), count + 1
    if (size, found.hexdigest()) != await asyncio.to_thread(digest_of, path):
        raise LanePaused(f"{path} was changed while it was shipped")
    return ReadBack(size, found.hexdigest(), count)


async def _is_there(store: DayStore, subject: str, piece: bytes) -> bool:
    """Whether the hub has this piece. Raises OtherBytes where it has another one."""
    read = await store.get(subject)
    if read is not None and read != piece:
        raise OtherBytes(
            f"{subject}: the hub has {len(read)} bytes there, and not those of this ledger; the day is not shipped and "
            "stays here (see OPERATIONS, The life of the ledger)"
        )
    return read is not None
