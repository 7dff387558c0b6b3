"""The way onto one connection: pieces go as fast as the link takes them, in the order in which room was asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf

from syncdaemon.base.errors import LinkDown
from syncdaemon.link.kernel import Gap
from syncdaemon.link.limit import Limit
from syncdaemon.link.pace import Step, Window
from syncdaemon.link.shares import Shares

_ASK_SECONDS = 0.02


class Gate:
    """Lets those that have messages send a piece at a time.

    `lost`: the connection's end, which ends every wait; `gap`: asks the kernel for a gap in what the peer got.
    """

    def __init__(self, lost: asyncio.Future[str], gap: Callable[[], Gap | None], limit: Limit) -> None:
        self.window = Window()
        self._lost = lost
        self._gap = gap
        self._limit = limit
        self._turn = asyncio.Lock()
        self._shares = Shares()
        self._opened: asyncio.Future[None] | None = None

    @property
    def rate(self) -> float | None:
        """Bytes a second that may leave, as far as is known: what the link carries, and the limit lets through."""
        known, limit = self.window.rate, self._limit.rate
        return known if limit == inf else min(limit, known or inf)

    async def room(self, bulk: bool = False) -> int:
        """Waits until more may be sent; how many bytes are best sent now, at once. A single message may be larger.

        `bulk`: for a part of a large file. Raises LinkDown where the connection goes before that.
        """
        async with self._shares.turn(bulk, self._lost), self._turn:
            while (wait := self._wait()) and not self._lost.done():
                self._opened = asyncio.get_running_loop().create_future()
                within = None if wait == inf else wait
                await asyncio.wait((self._opened, self._lost), timeout=within, return_when=asyncio.FIRST_COMPLETED)
            if self._lost.done():
                raise LinkDown(self._lost.result())
            return self._limit.piece(self.window.piece)

    def step(self, now: Step) -> Step:
        """The step for the link as it is, and for the limit, after the one until now."""
        capacity, limit = self.window.capacity, self._limit.rate
        return now.after(capacity if limit == inf else min(limit, capacity or inf))

    def chunk(self, step: Step) -> int:
        """The size of a chunk."""
        return step.chunk_within(self._limit.rate)

    def _wait(self) -> float:
        """Seconds until the next look, 0 for now. The kernel reports no change, so it is asked again and again."""
        window, now = self.window, time.monotonic()
        wait = window.wait(now)
        if not wait:
            return self._limit.wait(now)
        if not window.stretches:
            return wait
        if (gap := self._gap()) and not (wait := window.wait(now, window.gap(now, *gap))):
            return self._limit.wait(now)
        return min(wait, max(_ASK_SECONDS, window.round_trip / 8))

    def sent(self, now: float, size: int, messages: int) -> None:
        """A piece leaves: so many messages, together of so many bytes."""
        self.window.sent(now, size, messages)
        self._shares.sent(size)
        self._limit.take(now, size)

    def answered(self, now: float, size: int) -> None:
        """A message of so many bytes has its answer."""
        self.window.answered(now, size)
        if self._opened is not None and not self._opened.done() and not self.window.wait(now):
            self._opened.set_result(None)
