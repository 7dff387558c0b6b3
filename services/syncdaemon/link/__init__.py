"""The connection to the server: one supervisor owns it, and builds a new one for ever.

A nats-py client lives for one connection and is thrown away with it. Its own reconnect is never used: on a half-open
connection it waits without end for the peer to take its bytes, and afterwards it sends what the caller has long given
up (nats-py 2.16; issue nats-io/nats.py#671). So the link has its own inbox, its own map of what is unanswered and its
own probe. On any trouble it aborts the transport, so that nothing is sent late, and all that waits for an answer learns
that none will come.

`session` is one connection: what waits for which answer. `wire` writes its bytes, `pulse` decides whether the server is
still there, `gate` and `pace` decide how much may be sent. `client` is all that touches nats-py.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog

from syncdaemon.base.errors import ConnectTimeout
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.base.tasks import to_the_end
from syncdaemon.link import pace
from syncdaemon.link.conversation import Conversation, Heard, Sink
from syncdaemon.link.limit import Limit
from syncdaemon.link.options import LinkSettings
from syncdaemon.link.session import STOPPED, Session, always
from syncdaemon.link.words import bare, explain, is_cheap

STABLE_SECONDS = 5.0  # a connection that lived so long ends a row of failures
UNSTEADY = 5  # so many connections that lived shorter, in a row, are no accident

__all__ = [
    "Conversation",
    "Heard",
    "Link",
    "LinkSettings",
    "Session",
    "Sink",
    "visit",
]

log = structlog.get_logger(__name__)


class Link:
    """Keeps a session up.

    `changed` is called after every change, with the session that came up, or with None and the reason of the loss.
    `something_waits` says whether there is something to send; `Session.watch` says why it matters.
    """

    def __init__(
        self,
        settings: LinkSettings,
        changed: Callable[[Session | None, str], None],
        something_waits: Callable[[], bool] = always,
    ) -> None:
        self._settings = settings
        self._changed = changed
        self._something_waits = something_waits
        self.limit = Limit(settings.bwlimit)
        self._step = pace.Step()
        self._up = asyncio.Event()
        self._failures = self._short = 0
        self._rose_at = 0.0
        self._loss = ""
        self._refusals: dict[str, str] = {}  # by URL: the last reason that was logged
        self._said = OnceAMinute()
        self.session: Session | None = None
        self.connects = 0
        self.problem = "not connected yet"

    @property
    def unsteady(self) -> str:
        """That connections end again and again within seconds, and how the newest did; empty where they do not."""
        session = self.session
        if self._short < UNSTEADY or (session is not None and time.monotonic() - self._rose_at > STABLE_SECONDS):
            return ""
        return f"{self._short} connections in a row ended within {STABLE_SECONDS:g} s, the newest with: {self._loss}"

    @property
    def shown_url(self) -> str:
        """Where we are connected to, or try to; without user and password."""
        return bare(self.session.url if self.session else self._settings.urls[0])

    def proved(self) -> bool:
        """Whether the server has answered lately: `Pulse` has the rule."""
        session = self.session
        return session is not None and session.proved()

    def status(self) -> dict[str, Any]:
        """The link as the page `/status` shows it."""
        return {
            "up": self.proved(),
            "url": self.shown_url,
            "problem": self.problem,
            "reconnects": max(0, self.connects - 1),
        }

    def renew(self, settings: LinkSettings) -> None:
        """Connects by these settings from now on, and reads the files that they name once more."""
        self._settings = settings
        if self.session is not None:
            self.session.fail("the settings were reloaded")

    async def wait_up(self) -> Session:
        """Waits for a session that is not lost, and returns it."""
        while (session := self.session) is None or session.lost.done():
            await (self._up.wait() if session is None else asyncio.sleep(0))  # a lost one falls at once
        return session

    async def run(self) -> None:
        """For ever: connect, watch, drop, wait."""
        turn = 0
        while True:
            url = self._settings.urls[turn % len(self._settings.urls)]
            turn += 1
            session = Session(url, self.limit, self._step)
            sent_away = await self._live(session)
            self._step = session.step
            await asyncio.sleep(pace.retry_delay(self._failures, sent_away, random.random()))

    async def _live(self, session: Session) -> bool:
        """One session from its first byte to its last; whether the server sent us away, or had no time for us."""
        try:
            await to_the_end(session.open(self._settings))
        except Exception as error:
            self._not_connected(session.url, explain(error, session.url, self._settings.tls_first))
            await session.abort()
            return not is_cheap(error, self._settings.wants_tls)
        except asyncio.CancelledError:
            await session.abort()
            raise
        self._rise(session)
        try:
            self.problem = self._loss = await session.watch(self._something_waits)
        finally:
            await self._fall(session)
        lived = time.monotonic() - self._rose_at > STABLE_SECONDS
        self._failures, self._short = (1, 0) if lived else (self._failures + 1, self._short + 1)
        return session.sent_away

    def _not_connected(self, url: str, reason: str) -> None:
        if self._refusals.get(url) != reason and self._said.due(time.monotonic(), f"{url} {reason}"):
            self._refusals[url] = reason
            log.warning("no_connection", url=bare(url), reason=reason)
        self.problem = reason
        self._failures += 1

    def _rise(self, session: Session) -> None:
        self.session, self.problem = session, ""
        self._rose_at = time.monotonic()
        self.connects += 1
        self._refusals.clear()
        self._said.over()
        self._up.set()
        log.info("link_up", url=self.shown_url, **session.server)
        self._changed(session, "")

    async def _fall(self, session: Session) -> None:
        self.session = None
        self._up.clear()
        await session.abort()
        reason = session.lost.result()
        if reason != STOPPED:  # the end of the process is no trouble of the link
            log.warning("link_down", reason=reason)
        self._changed(None, reason)


@asynccontextmanager
async def visit(settings: LinkSettings) -> AsyncIterator[Session]:
    """One connection, to the first server that lets us in, for as long as the body lasts.

    Raises ConnectTimeout with what each of them said.
    """
    problems = []
    for url in settings.urls:
        session = Session(url)
        try:
            await to_the_end(session.open(settings))
        except BaseException as error:
            await session.abort()
            if not isinstance(error, Exception):
                raise
            problems.append(explain(error, url, settings.tls_first))
            continue
        watching = asyncio.create_task(session.watch())
        try:
            yield session
        finally:
            await session.abort()
            await watching
        return
    raise ConnectTimeout(f"NATS_URL: no connection: {'; '.join(problems)}")
