"""At the start: is the ledger younger than what the stream has of this site?"""

from __future__ import annotations

import asyncio
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import structlog

from syncdaemon.base.errors import LanePaused, LedgerDamaged, LinkDown
from syncdaemon.ledger import rows_numbered
from syncdaemon.ledger.rows import PUBLISHED
from syncdaemon.publish import Lane
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api

_CURE = "put the lost files of the ledger back if you have them; `syncdaemon verify --stream` counts what they had"
_RETRY = 60.0  # seconds
_WRITTEN = 0.2  # seconds
_ROWS = 10_000  # in which the first receipt is looked for
_ANY = 1 << 63  # above every sequence

log = structlog.get_logger(__name__)


class Beginning:
    """Compares the ledger's first row with the stream's first message on our `subject`, a wildcard."""

    def __init__(self, lane: Lane, folder: Path, site: str, stream: str, *, subject: str) -> None:
        self._lane = lane
        self._folder, self._site = folder, site
        self._stream, self._subject = stream, subject

    async def say(self) -> None:
        """Says once that messages are older than the ledger, as soon as the stream can be asked."""
        begins = None
        while begins is None:
            begins = await asyncio.to_thread(_begins, self._folder, self._site)
            if begins is None:  # the first row of a new ledger is still under way
                await asyncio.sleep(_WRITTEN)
        while True:
            session = await self._lane.ready()
            try:
                found = await Api.over(session).next(self._stream, self._subject, 1)
                break
            except PermissionError:
                return
            except (LinkDown, LanePaused):
                await asyncio.sleep(_RETRY)
        if found is None or isinstance(found, ApiRefusal) or found.at is None:
            return
        if begins.first and found.seq < begins.seq and found.at < datetime.fromisoformat(begins.at):
            log.error(
                "ledger_is_younger_than_stream",
                first_row=begins.at,
                first_message=found.at.isoformat(),
                seq=found.seq,
                cure=_CURE,
            )


class _Begins(NamedTuple):
    """When the first row was written, and the sequence of the first receipt for a message of the ledger's own.

    `first`: it is the ledger's first row indeed; older files were not moved away.
    """

    first: bool
    at: str
    seq: int


def _begins(folder: Path, site: str) -> _Begins | None:
    """None where there is no row yet. Of what can't be read, `verify` and the start say what is wrong."""
    try:
        rows = list(islice(rows_numbered(folder, site, lambda number: number <= _ROWS), _ROWS))
    except (LedgerDamaged, OSError):
        return _Begins(False, "", _ANY)
    if not rows:
        return None
    own = (int(row["stream_seq"]) for row in rows if row["event"] == PUBLISHED)
    return _Begins(rows[0]["n"] == 1, str(rows[0]["ts"]), next(own, _ANY))
