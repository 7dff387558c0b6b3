"""What the server acknowledged and has lost is sent again, as long as it is held.

An acknowledgement of JetStream is not yet on the server's disk: by default it syncs every two minutes. So when the
server may have lost something, every file in the hold is looked for in the stream, and nothing is deleted from the hold
before that is done.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar
from urllib.parse import unquote_to_bytes

import structlog

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.base.model import Held, Place, Row

_RETRY = 1.0  # seconds
_STUCK = 60.0  # seconds until a file that could not be put back is tried again: each try is a row

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)

log = structlog.get_logger(__name__)


class TrustLike(Protocol):
    """What this asks of the suspicion that the server lost something."""

    async def suspected(self) -> int: ...
    def looked(self, suspicion: int) -> None: ...
    def believe(self, suspicion: int) -> None: ...


class LaneLike(Protocol[S_co]):
    """What this asks of the lane; `S_co` is the connection."""

    @property
    def trust(self) -> TrustLike: ...
    async def ready(self) -> S_co: ...
    def void(self, held: Held) -> None: ...


class HoldLike(Protocol):
    """What this asks of the replay directory."""

    def held(self) -> AsyncIterator[list[Held]]: ...
    def hold_anew(self) -> None: ...
    async def send_again(self, held: Held, path: bytes) -> None: ...


class RecordedLike(Protocol):
    """Receipts whose file still lies in the replay directory."""

    def held(self) -> list[Held]: ...
    def void(self, held: Held) -> None: ...


class Recheck(Generic[S]):
    """Looks for what is held, and for what is recorded and not yet retired.

    `settled` returns when all that was acknowledged before is in the hold; `lost` says which files the stream has lost;
    `receipts` finds the ledger's rows of files; `record` writes rows; `told` hears how many files are sent again.
    """

    def __init__(
        self,
        lane: LaneLike[S],
        spool: HoldLike,
        recorded: RecordedLike,
        settled: Callable[[], Awaitable[None]],
        lost: Callable[[S, Sequence[Held]], Awaitable[list[Held]]],
        receipts: Callable[[Mapping[Place, int]], Awaitable[Mapping[Place, list[Row]]]],
        record: Callable[[Sequence[tuple[str, Row]]], Awaitable[None]],
        told: Callable[[int], None],
    ) -> None:
        self._lane = lane
        self._spool = spool
        self._recorded = recorded
        self._settled = settled
        self._lost = lost
        self._receipts = receipts
        self._record = record
        self._told = told

    async def run(self) -> None:
        """For ever: looks into every suspicion."""
        while True:
            suspicion = await self._lane.trust.suspected()
            try:
                session = await self._lane.ready()
                await self._settled()
                if not await self._check(session):
                    self._lane.trust.looked(suspicion)
                    await asyncio.sleep(_STUCK)
                    continue
            except PermissionError as error:
                log.warning("hold_not_checked", reason=str(error), effect="what the server lost can't be seen")
            except (LinkDown, LanePaused, OSError):  # an OSError: the replay directory is not there now
                await asyncio.sleep(_RETRY)
                continue
            self._lane.trust.believe(suspicion)

    async def _check(self, session: S) -> bool:
        """Whether all that is lost is on its way again; else nothing may be deleted from the hold yet."""
        recorded = self._recorded.held()
        gone = await self._lost(session, recorded) if recorded else []
        await self._note(gone)
        for one in gone:
            self._recorded.void(one)
        checked, sent_again, stuck = len(recorded), len(gone), 0
        async for held in self._spool.held():
            if held and (gone := await self._lost(session, held)):
                stuck += await self._send_again(gone)
                sent_again += len(gone)
            checked += len(held)
        self._spool.hold_anew()
        if checked:
            (log.error if sent_again else log.info)("hold_checked", files=checked, lost_by_the_server=sent_again)
        return not stuck

    async def _note(self, gone: Sequence[Held]) -> list[Row]:
        """A row that makes the receipt void, for each; before a file moves, so that no crash finds it delivered."""
        if not gone:
            return []
        receipts = await self._receipts(Counter(held.place for held in gone))
        rows = [(receipts[held.place] or [_unknown(held)]).pop() for held in gone]
        await self._record([("held_lost", row) for row in rows])
        for held in gone:
            self._lane.void(held)
        self._told(len(gone))
        return rows

    async def _send_again(self, gone: Sequence[Held]) -> int:
        """How many of them could not be put back."""
        stuck = 0
        for held, row in zip(gone, await self._note(gone), strict=True):
            try:
                await self._spool.send_again(held, unquote_to_bytes(str(row["path"])))
            except OSError as error:
                log.error("not_sent_again", path=row["path"], error=str(error), effect="it stays in the hold")
                stuck += 1
        return stuck


def _unknown(held: Held) -> Row:
    """The ledger has no receipt of it: somebody moved its files away."""
    return {"path": f"held-{held.sha256}", "sha256": held.sha256, "stream_seq": held.seq}
