"""Files that the server acknowledged and has lost are sent again, as long as they are held.

An acknowledgement of JetStream does not mean that the message is on the server's disk: by default the server syncs
every two minutes. So whenever the server may have lost messages, we look for every held file in the stream. No file is
deleted from the hold before that is done.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from urllib.parse import unquote_to_bytes

import structlog

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.base.model import Held, Row
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.deliver import Delivery
from syncdaemon.deliver.needs import HoldLike, LaneLike, LedgerLike, PresenceLike, Session
from syncdaemon.ledger.rows import held_lost, without_receipt

_RETRY = 1.0  # seconds
_STUCK = 60.0  # seconds until a file that could not be put back is tried again: each try is a row

log = structlog.get_logger(__name__)


class Resend:
    """Looks in the stream for files that are held, and for files that are recorded and not yet retired.

    `on_lost` is called with the number of files that are sent again.
    """

    def __init__(
        self,
        delivery: Delivery,
        lane: LaneLike,
        hold: HoldLike,
        ledger: LedgerLike,
        presence: PresenceLike,
        *,
        on_lost: Callable[[int], None],
    ) -> None:
        self._delivery = delivery
        self._unretired = delivery.unretired
        self._lane, self._trust = lane, lane.trust
        self._hold = hold
        self._ledger = ledger
        self._presence = presence
        self._on_lost = on_lost
        self._said = OnceAMinute()

    async def run(self) -> None:
        """For ever: waits for a suspicion that the server lost something, and looks into it."""
        while True:
            suspicion = await self._trust.suspected()
            try:
                session = await self._lane.ready()
                await self._delivery.finish_batches()  # all that was acknowledged before is in the hold then
                if not await self._check(session):
                    self._trust.looked(suspicion)
                    await asyncio.sleep(_STUCK)
                    continue
            except PermissionError as error:
                if self._said.due(time.monotonic(), "hold_not_checked"):
                    log.warning("hold_not_checked", reason=str(error), effect="what the server lost can't be seen")
            except LanePaused as error:  # the stream may be gone: the lane prepares it again
                self._lane.unreadable(str(error))
                continue
            except (LinkDown, OSError):  # an OSError: the replay directory is not there now
                await asyncio.sleep(_RETRY)
                continue
            self._trust.believe(suspicion)

    async def _check(self, session: Session) -> bool:
        """Whether all lost files wait to be delivered again; else nothing may be deleted from the hold yet."""
        unretired = self._unretired.held()
        gone = await self._presence.lost(session, unretired) if unretired else []
        await self._note(gone)
        for one in gone:
            self._unretired.void(one)
        checked, sent_again, stuck = len(unretired), len(gone), 0
        async for held in self._hold.held():
            if held and (gone := await self._presence.lost(session, held)):
                stuck += await self._send_again(gone)
                sent_again += len(gone)
            checked += len(held)
        self._hold.hold_anew()
        if checked:
            (log.error if sent_again else log.info)("hold_checked", files=checked, lost_by_the_server=sent_again)
        return not stuck

    async def _note(self, gone: Sequence[Held]) -> list[Row]:
        """Writes a row for each, which makes its receipt void. Returns the rows.

        The rows are written before a file moves: a crash in between must not leave a receipt that counts.
        """
        if not gone:
            return []
        receipts = await self._ledger.receipts_of(Counter(held.place for held in gone))
        rows = [(receipts[held.place] or [without_receipt(held)]).pop() for held in gone]
        await self._ledger.record([held_lost(row) for row in rows])
        for held in gone:
            self._lane.void(held)
        self._on_lost(len(gone))
        return rows

    async def _send_again(self, gone: Sequence[Held]) -> int:
        """How many of them could not be put back."""
        stuck = 0
        for held, row in zip(gone, await self._note(gone), strict=True):
            try:
                await self._hold.send_again(held, unquote_to_bytes(str(row["path"])))
            except OSError as error:
                stuck += 1
                if self._said.due(time.monotonic(), f"not_sent_again {error.errno}"):
                    log.error("not_sent_again", path=row["path"], error=str(error), effect="it stays in the hold")
        return stuck
