"""The live page's events: made once a second for all who look, and not at all while nobody does.

Nobody's slowness costs memory. Each listener is given the newest event when it has taken the last one; who missed one
is given the whole state, which is as large as the page.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.web.access import Barred
from syncdaemon.web.events import Changes, text

MOST, MOST_OF_ONE = 16, 4
"""How many may look at a time, and how many of them from one address."""

_EVERY = 1.0  # seconds between two events
_QUIET = 5.0  # seconds without a change, after which an event says only that the connection lives
_ASK_AGAIN = 15.0  # seconds until a listener's right is looked at anew: tokens change

log = structlog.get_logger(__name__)

TOO_MANY = Barred(503, "too many look at this page already: close one, or wait a moment", (("Retry-After", "10"),))


class Live:
    """`look` reads the sections of the page. It is made while the loop runs."""

    def __init__(self, look: Callable[[], Awaitable[Mapping[str, Any]]], most: int = MOST) -> None:
        self._look, self._most = look, most
        self._listeners: Counter[str] = Counter()
        self._ticking: asyncio.Task[None] | None = None
        self._changes = Changes()
        self._state: Mapping[str, Any] = {}
        self._version = 0
        self._event = self._all = b""
        self._come = asyncio.Event()
        self._once_a_minute = OnceAMinute()
        self.closed = False

    def listen(self, peer: str, allowed: Callable[[], bool]) -> Watching | Barred:
        """The events for somebody at this address, for as long as `allowed` says so."""
        if self._listeners.total() >= self._most or self._listeners[peer] >= MOST_OF_ONE:
            return TOO_MANY
        self._listeners[peer] += 1
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick())
        return Watching(self, peer, allowed)

    def close(self) -> None:
        """Ends all streams."""
        self.closed = True
        self._come.set()

    def gone(self, peer: str) -> None:
        """One who looked from this address does no more."""
        self._listeners[peer] -= 1
        self._listeners += Counter()  # forgets those who have none
        if not self._listeners and self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
            self._version += 1  # what is known now is old when somebody comes
            self._state = {}

    async def next(self, seen: int) -> tuple[int, bytes]:
        """The newest event and its version, as soon as that is not `seen`."""
        while (self._version == seen or not self._state) and not self.closed:
            await self._come.wait()
        if self._version == seen + 1 and seen:
            return self._version, self._event
        self._all = self._all or text(time.time(), self._state, whole=True)
        return self._version, self._all

    async def _tick(self) -> None:
        """For as long as anybody looks."""
        said = 0.0
        while True:
            try:
                self._state = await self._look()
                changed = self._changes.since_last(self._state)
                if changed or time.monotonic() - said >= _QUIET:
                    said = time.monotonic()
                    self._say(text(time.time(), changed))
            except Exception:
                if self._once_a_minute.due(time.monotonic()):
                    log.exception("live_page_failed")
            await asyncio.sleep(_EVERY)

    def _say(self, event: bytes) -> None:
        self._version += 1
        self._event, self._all = event, b""
        self._come.set()
        self._come = asyncio.Event()


class Watching:
    """The events of one who looks: an iterator that is to be closed."""

    def __init__(self, live: Live, peer: str, allowed: Callable[[], bool]) -> None:
        self._live, self._peer, self._allowed = live, peer, allowed
        self._seen = 0
        self._asked = time.monotonic()
        self._open = True

    def __aiter__(self) -> Watching:
        return self

    async def __anext__(self) -> bytes:
        self._seen, event = await self._live.next(self._seen)
        if self._live.closed or not self._may():
            raise StopAsyncIteration
        return event

    def _may(self) -> bool:
        if (now := time.monotonic()) - self._asked < _ASK_AGAIN:
            return True
        self._asked = now
        return self._allowed()

    def close(self) -> None:
        """The place is free for another."""
        if self._open:
            self._open = False
            self._live.gone(self._peer)
