"""The life of the ledger's closed days: compressed at once, shipped, and taken away when that loses nothing.

Each step is durable before the next one begins, and each can be repeated: a crash between any two costs nothing.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from syncdaemon.base.errors import LedgerDamaged, LinkDown, SyncError
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.daemon.day_shipping import ship
from syncdaemon.ledger import Ledger, rows
from syncdaemon.ledger.checkpoints import acknowledged
from syncdaemon.ledger.closed_days import (
    Shipment,
    TakenDays,
    closed_days,
    day_of,
    keep_log_id,
    read_gone,
    span_of,
    take_away,
)
from syncdaemon.ledger.compress import compress
from syncdaemon.ledger.day_files import is_packed
from syncdaemon.ledger.old_tiles import take_away_tiles
from syncdaemon.ledger.rows import Span
from syncdaemon.settings import parts
from syncdaemon.settings.values import Settings
from syncdaemon.stream.day_store import DayStore, NoDayStore

log = structlog.get_logger(__name__)

Turn = Callable[[], Awaitable[None]]


_OVERDUE = 2  # times as many days as are to be kept: so long an unproved day waits for a hub that was asked to take it


class LifeSettings(NamedTuple):
    """`keep`: how many closed days stay here, 0 for all. `stream`: where they go; `config`: how it is made if missing.

    `domain`: that its acknowledgements must name. `unproved`: a day may go without a checkpoint that others hold.
    """

    keep: int
    stream: str
    domain: str | None
    unproved: bool
    config: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, settings: Settings) -> LifeSettings:
        """As the settings say. With a key, a day never goes without a checkpoint that others hold."""
        return cls(
            settings.sync_ledger_keep_days,
            settings.sync_ledger_stream,
            settings.nats_hub_domain,
            settings.sync_ledger_prune == "unproved" and settings.sync_checkpoint_key is None,
            parts.day_stream(settings),
        )


class _Stopped(SyncError):
    """The work in the thread is to end."""


class HeldRows(NamedTuple):
    """Up to which row somebody else holds a checkpoint, and the smallest tree that proofs are `needed` from."""

    held: int
    needed: int


def nobody() -> HeldRows:
    """No checkpoint is held by anybody else."""
    return HeldRows(0, 0)


def held_rows(folder: Path, site: str) -> HeldRows:
    """What the hub has acknowledged of the site's checkpoints, as it is known on the disk. Raises OSError."""
    found = acknowledged(folder, site)
    return nobody() if found is None else HeldRows(found.rows, min(found.rows, found.cosigned or found.rows))


class LedgerLife:
    """Does what is due with the closed days of one ledger, which this process writes.
    `held` says what somebody else holds of the checkpoints. `problem`: what stands in the way.
    """

    def __init__(self, ledger: Ledger, settings: LifeSettings, held: Callable[[], HeldRows] = nobody) -> None:
        self._ledger = ledger
        self._settings = settings
        self._held = held
        self._gone: TakenDays | None = None
        self._asked = self._barred = False
        self._stop = threading.Event()
        self._said = OnceAMinute()
        self.problem = ""

    @classmethod
    def of(cls, ledger: Ledger, settings: Settings) -> LedgerLife:
        """As the settings say."""
        return cls(ledger, LifeSettings.of(settings), partial(held_rows, ledger.folder, ledger.site))

    async def compress(self) -> None:
        """Compresses every closed day that is not."""
        for path in await self._closed():
            if not is_packed(path):
                try:
                    packed = await self._in_thread(compress, path, self._rest)
                except (LedgerDamaged, OSError) as error:
                    self._say(_words(path, error))
                else:
                    log.info("ledger_day_compressed", file=packed.name)

    async def ship(self, store: DayStore, turn: Turn | None = None) -> int:
        """Ships every closed day that was not; how many. `turn` is awaited before each message.

        Raises LinkDown, LanePaused, PermissionError, SyncError with the reason why the next day can't be shipped.
        """
        gone, days, count = await self._read_gone(), await self._closed(), 0
        due = [path for path in days if is_packed(path) and day_of(path) not in gone.shipped]
        if not due:
            return 0
        try:
            await store.prepare(self._settings.config)
            log_id = await asyncio.to_thread(keep_log_id, self._ledger.folder, self._ledger.site)
            for path in due:
                await self._ship(store, log_id, path, turn)
                count += 1
            self._barred = False
        except (PermissionError, NoDayStore):
            self._barred = True
            raise
        finally:
            self._asked = True
        return count

    async def _ship(self, store: DayStore, log_id: str, path: Path, turn: Turn | None) -> None:
        span = await self._span(path)
        done = await ship(store, self._ledger.site, log_id, path, turn)
        await self._ledger.append([rows.shipped(day_of(path), span, done.size, done.sha256, done.parts)])
        head = self._ledger.head  # it ends with that row, or with one after it
        (await self._read_gone()).shipped[day_of(path)] = Shipment(span, done.size, done.sha256, done.parts, head.n)
        log.info("ledger_day_shipped", day=day_of(path), rows=span.last_n - span.first_n + 1, bytes=done.size)

    async def prune(self) -> int:
        """Takes away the oldest days, as long as more than are to be kept are here and each may go; how many.

        Raises SyncError with the reason why the next one may not, OSError.
        """
        if not self._settings.keep:
            return 0
        gone, days = await self._read_gone(), await self._closed()
        held = await asyncio.to_thread(self._held)
        count = 0
        for at, path in enumerate(days[: -self._settings.keep]):
            day = day_of(path)
            shipment = gone.shipped.get(day)
            overdue = self._barred or (self._asked and at < len(days) - _OVERDUE * self._settings.keep)
            if shipment is None and not (self._settings.unproved and overdue):
                raise SyncError(f"{path.name} was not shipped yet")
            if self._settings.unproved:
                await self._anchor(gone, path)
            elif shipment is not None and held.held < shipment.n:
                raise SyncError(f"{path.name}: nobody else holds a checkpoint over row {shipment.n}, `shipped`, yet")
            await asyncio.to_thread(take_away, path, shipment)
            log.info("ledger_day_taken_away", day=day)
            count += 1
        await asyncio.to_thread(take_away_tiles, self._ledger.folder, self._ledger.site, held.needed)
        return count

    async def _anchor(self, gone: TakenDays, path: Path) -> None:
        """The row that stands for a day is on disk."""
        day, span = day_of(path), await self._span(path)
        if gone.anchored.get(day) != span:
            await asyncio.to_thread(keep_log_id, self._ledger.folder, self._ledger.site)
            await self._ledger.append([rows.anchor(day, span)])
            gone.anchored[day] = span

    async def _span(self, path: Path) -> Span:
        span: Span = await self._in_thread(span_of, self._ledger.folder, self._ledger.site, path, self._rest)
        return span

    async def _closed(self) -> list[Path]:
        ledger = self._ledger
        return await asyncio.to_thread(closed_days, ledger.folder, ledger.site, ledger.file)

    async def _read_gone(self) -> TakenDays:
        if self._gone is None:
            self._gone = await self._in_thread(read_gone, self._ledger.folder, self._ledger.site)
        return self._gone

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Does it in a thread, which ends soon when this task does."""
        try:
            return await asyncio.to_thread(work, *arguments)
        except asyncio.CancelledError:
            self._stop.set()
            raise

    def _rest(self) -> None:
        """In the thread: between two pieces of work."""
        if self._stop.is_set():
            raise _Stopped

    def _say(self, problem: str) -> None:
        self.problem = problem
        if self._said.due(time.monotonic(), problem):
            log.warning("ledger_life_waits", problem=problem, effect="closed days stay here, files are delivered")

    async def do(self, store: DayStore | None, turn: Turn | None = None) -> bool:
        """Everything that is due, as far as it goes; what stands in the way is logged, and is no reason to end.

        Without a `store`, as there is without a link, nothing is shipped. Whether shipping has come to its end.
        """
        self.problem = ""
        await self.compress()
        if not self._settings.keep:
            return True
        await self._try(self.prune())  # before and after: a full disk takes no row of a shipment until days are gone
        if store is None:
            return True
        shipped = await self._try(self.ship(store, turn))
        await self._try(self.prune())
        return shipped

    async def _try(self, work: Awaitable[int]) -> bool:
        try:
            await work
        except LinkDown:
            return False  # the next look is over the next connection
        except (SyncError, OSError) as error:
            self._say(str(error))
            return False
        return True


def _words(path: Path, error: Exception) -> str:
    return f"{path} can't be compressed: {error.strerror}" if isinstance(error, OSError) else str(error)
