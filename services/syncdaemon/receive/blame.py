"""Which object is to blame where a connection ends again and again while objects are fetched.

A connection may break because of what was asked. So an object is given up when several attempts in a row ended with the
connection, and none of them brought a chunk: for good where the server ended one of them in words, else until later. It
has no words for each of them: its reset may overtake what it said (nats-server 2.15).
From the first such end on, attempts begin one at a time, so that none is blamed for what another one did.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from syncdaemon.link import Session

_MOST = 5  # attempts in a row that end with the connection

log = structlog.get_logger(__name__)


class Cut(Exception):
    """Each attempt to read it ended with the connection. That may be the line, so it is worth trying again later."""


class Harmful(Exception):
    """Reading it can't be asked for, or makes the server end the connection."""


class Attempts:
    """How often in a row the attempts to fetch `what` ended with the connection; whether once in words."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._count, self._in_words = 0, False

    def began_well(self) -> None:
        """A chunk came."""
        self._count, self._in_words = 0, False

    def cut(self, session: Session) -> None:
        """One more ended so. Raises Cut or Harmful where that was one too many."""
        self._count += 1
        self._in_words = self._in_words or session.sent_away
        reason = session.lost.result() if session.lost.done() else "the connection is gone"
        log.warning("object_cut", object=self._what, reason=reason, times=self._count)
        if self._count >= _MOST:
            words = f"{self._what}: each of {_MOST} attempts to read it ended the connection, the last with: {reason}"
            raise (Harmful if self._in_words else Cut)(words)


class Blame:
    """The objects that are fetched now, and those of them that are under suspicion."""

    def __init__(self) -> None:
        self._suspects: set[Attempts] = set()
        self._beginning = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Callable[[], None]]:
        """The body is one attempt; it calls what it gets when a chunk has come.

        While there is a suspect, only one attempt at a time is where no chunk has come yet.
        """
        if not self._suspects:
            yield _nothing
            return
        await self._beginning.acquire()
        turn = _Turn(self._beginning)
        try:
            yield turn.end
        finally:
            turn.end()

    def ended(self, attempts: Attempts, session: Session, moved: bool) -> None:
        """An attempt ended with its session; `moved`: not before a chunk came. Raises as `Attempts.cut` does."""
        if moved:
            attempts.began_well()
            self._suspects.discard(attempts)
        else:
            self._suspects.add(attempts)
            attempts.cut(session)

    def forget(self, attempts: Attempts) -> None:
        """They are over."""
        self._suspects.discard(attempts)


class _Turn:
    """Holds a lock until its first end."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock: asyncio.Lock | None = lock

    def end(self) -> None:
        """Lets go of the lock. A second time: nothing."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


def _nothing() -> None:
    """No other attempt waits."""
