"""Looks after the ledger's closed days beside the delivery, which never waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf

from syncdaemon.daemon.ledger_life import LedgerLife, LifeSettings
from syncdaemon.ledger import Ledger
from syncdaemon.link import Link, Session
from syncdaemon.settings.values import Settings
from syncdaemon.stream.api import Api
from syncdaemon.stream.calls import Calls
from syncdaemon.stream.day_store import DayStore

LOOK_SECONDS = 60.0
_FIRST_AGAIN, _LAST_AGAIN = 60.0, 6 * 3600.0  # seconds after which a hub that took no day is asked again
_PATIENCE = 60.0  # seconds for which a part of a day lets files go first: also a site that is never idle ships
_TURN_SECONDS = 0.5


def day_store(session: Session, settings: LifeSettings) -> DayStore:
    """Where days go over this connection."""
    api = Api(session, Calls.of(settings.domain)) if settings.domain else Api.over(session)
    return DayStore(api, settings.stream, settings.domain)


class LedgerDays:
    """`busy`: whether files wait to be sent. `paused`: whether an operator wants the line for something else.

    With `ships` false, as on a standby, days are compressed and no more.
    """

    def __init__(
        self,
        life: LedgerLife,
        link: Link,
        settings: LifeSettings,
        *,
        ships: bool,
        busy: Callable[[], bool],
        paused: Callable[[], bool],
    ) -> None:
        self._life, self._link, self._settings = life, link, settings
        self._ships, self._busy, self._paused = ships, busy, paused
        self._tried: Session | None = None
        self._again_at, self._again_after = -inf, _FIRST_AGAIN

    @classmethod
    def of(
        cls,
        settings: Settings,
        ledger: Ledger,
        link: Link,
        busy: Callable[[], bool],
        paused: Callable[[], bool],
    ) -> LedgerDays:
        """As the settings say."""
        life = LedgerLife.of(ledger, settings)
        return cls(life, link, LifeSettings.of(settings), ships=settings.edge_mode, busy=busy, paused=paused)

    async def run(self) -> None:
        """For ever: looks what is due."""
        while True:
            if self._ships:
                await self._look(self._link.session)
            else:
                await self._life.compress()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await (self._link.wait_up() if self._link.session is None else asyncio.sleep(LOOK_SECONDS))

    async def _look(self, session: Session | None) -> None:
        if session is not None and session is not self._tried:
            self._tried, self._again_at, self._again_after = session, -inf, _FIRST_AGAIN
        if session is None or time.monotonic() < self._again_at:
            await self._life.do(None)
        elif await self._life.do(day_store(session, self._settings), lambda: self._turn(session)):
            self._again_after = _FIRST_AGAIN
        else:
            self._again_at = time.monotonic() + self._again_after
            self._again_after = min(_LAST_AGAIN, 2 * self._again_after)

    async def _turn(self, session: Session) -> None:
        """Waits until a part may leave, or the connection is gone."""
        until = time.monotonic() + _PATIENCE
        while not session.lost.done() and (self._paused() or (self._busy() and time.monotonic() < until)):
            await asyncio.wait((session.lost,), timeout=_TURN_SECONDS)
