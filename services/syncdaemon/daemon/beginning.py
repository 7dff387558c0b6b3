"""At the start: is the ledger younger than what the stream has of this site?"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import structlog

from syncdaemon.base.errors import LanePaused, LedgerDamaged, LinkDown
from syncdaemon.ledger import rows_numbered
from syncdaemon.ledger.rows import PUBLISHED
from syncdaemon.publish import Lane
from syncdaemon.stream import history
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
        while begins.first:
            session = await self._lane.ready()
            try:
                found = await self._oldest(Api.over(session), begins)
                break
            except PermissionError:
                return
            except (LinkDown, LanePaused):
                await asyncio.sleep(_RETRY)
        else:
            return
        if found is not None and begins.is_after(*found):
            seq, at = found
            log.error(
                "ledger_is_younger_than_stream",
                first_row=begins.at,
                first_message=at.isoformat(),
                seq=seq,
                cure=_CURE,
            )

    async def _oldest(self, api: Api, begins: _Begins) -> tuple[int, datetime] | None:
        """Sequence and time of the oldest message on our subject; None where there is none that could matter.

        The body of that message may be large, so it is left at the server where that can be done.
        """
        stream = self._lane.stream
        if stream is not None:
            oldest_at = stream.oldest_at
            if not stream.messages or (oldest_at is not None and not begins.is_after(stream.first_seq, oldest_at)):
                return None
            if stream.retention == "limits":
                with suppress(PermissionError):
                    seen = await history.oldest(api, self._stream, self._subject)
                    return None if seen is None else (seen.seq, datetime.fromtimestamp(seen.stored_ns / 1e9, UTC))
        found = await api.next(self._stream, self._subject, 1)
        return None if found is None or isinstance(found, ApiRefusal) or found.at is None else (found.seq, found.at)


class _Begins(NamedTuple):
    """When the first row was written, and the sequence of the first receipt for a message of the ledger's own.

    `first`: it is the ledger's first row indeed; older files were not moved away.
    """

    first: bool
    at: str
    seq: int

    def is_after(self, seq: int, at: datetime) -> bool:
        """Whether this message was there before the ledger began."""
        return seq < self.seq and at < datetime.fromisoformat(self.at)


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
