"""Whose turn it is to upload: one file at a time, and none for long while another one waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

TURN_SECONDS = 10.0  # that an upload has at least; to resume it costs a few round trips


class TurnOver(Exception):
    """This upload goes on after another one, behind the chunks that are stored."""


class Turns:
    """Gives turns in the order in which they were asked for. `stopped`: whether no upload may go on now."""

    def __init__(self, stopped: Callable[[], bool] = bool) -> None:
        self._stopped = stopped
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._until = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a turn; it ends with the body."""
        self._waiting += 1
        try:
            await self._lock.acquire()
        finally:
            self._waiting -= 1
        self._until = time.monotonic() + TURN_SECONDS
        try:
            yield
        finally:
            self._lock.release()

    @property
    def over(self) -> bool:
        """Whether the turn that is on now should end: none may go on, or another waits and this one had its time."""
        return self._stopped() or (bool(self._waiting) and time.monotonic() >= self._until)

    def check(self) -> None:
        """Raises TurnOver where the turn that is on now should end."""
        if self.over:
            raise TurnOver
