"""The connection to the server: one supervisor owns it, and builds a new one for ever.

A nats-py client lives for one connection and is thrown away with it. Its own reconnect is never used: on a
half-open link it hangs in waiting for bytes that nobody will take, and afterwards it sends what the caller has
long given up (nats-py 2.16; issue nats-io/nats.py#671). So the link has its own inbox, its own map of what is
unanswered and its own probe, and on any trouble it aborts the transport, so that nothing is flushed late, and
tells everybody who waits for an answer that it is in doubt.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import structlog

from syncdaemon.base.errors import ConnectTimeout
from syncdaemon.link import pace
from syncdaemon.link.client import Buffer
from syncdaemon.link.frame import FRAME_BYTES, frame
from syncdaemon.link.limit import Limit
from syncdaemon.link.options import LinkSettings
from syncdaemon.link.session import CONNECT_SECONDS, STOPPED, Conversation, Heard, Session, Sink

PROVED_SECONDS = 5.0  # how long a proof of life counts
_CANCEL_AGAIN = 0.1
STABLE_SECONDS = 5.0  # a connection that lived so long ends a row of failures

__all__ = [
    "FRAME_BYTES",
    "STOPPED",
    "Buffer",
    "Conversation",
    "Heard",
    "Link",
    "LinkSettings",
    "Session",
    "Sink",
    "bare",
    "frame",
    "visit",
]

log = structlog.get_logger(__name__)


class Link:
    """Keeps a session up. `changed` is told of every change: the session that came up, or the reason of the loss."""

    def __init__(self, settings: LinkSettings, changed: Callable[[Session | None, str], None]) -> None:
        self._settings = settings
        self._changed = changed
        self.limit = Limit(settings.bwlimit)
        self._step = pace.Step()
        self._up = asyncio.Event()
        self._failures = 0
        self._refusals: dict[str, str] = {}  # by URL: the last reason that was told
        self.session: Session | None = None
        self.connects = 0
        self.problem = "not connected yet"

    @property
    def shown_url(self) -> str:
        """Where we are connected to, or try to; without user and password."""
        return bare(self.session.url if self.session else self._settings.urls[0])

    def proved(self) -> bool:
        """Whether the server has answered within the last seconds."""
        session = self.session
        return session is not None and time.monotonic() - session.proved_at <= PROVED_SECONDS

    async def wait_up(self) -> Session:
        """A session that is not lost, as soon as there is one."""
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
        """One session from its first byte to its last; whether it was the server that wanted no (more) part in it."""
        began = time.monotonic()
        try:
            await _whole(session.open(self._settings))
        except Exception as error:
            self._not_connected(session.url, _explain(error, session.url))
            await session.abort()
            return not isinstance(error, OSError | TimeoutError) or isinstance(error, ssl.SSLError)
        except asyncio.CancelledError:
            await session.abort()
            raise
        self._rise(session)
        try:
            self.problem = await session.watch()
        finally:
            await self._fall(session)
        self._failures = 1 if time.monotonic() - began > STABLE_SECONDS else self._failures + 1
        return session.sent_away

    def _not_connected(self, url: str, reason: str) -> None:
        if self._refusals.get(url) != reason:
            log.warning("no_connection", url=bare(url), reason=reason)
        self._refusals[url] = self.problem = reason
        self._failures += 1

    def _rise(self, session: Session) -> None:
        self.session, self.problem = session, ""
        self.connects += 1
        self._refusals.clear()
        self._up.set()
        self._changed(session, "")

    async def _fall(self, session: Session) -> None:
        self.session = None
        self._up.clear()
        await session.abort()
        self._changed(None, session.lost.result())


@asynccontextmanager
async def visit(settings: LinkSettings) -> AsyncIterator[Session]:
    """One connection, to the first server that lets us in, for as long as the body lasts.

    Raises ConnectTimeout with what each of them said.
    """
    problems = []
    for url in settings.urls:
        session = Session(url)
        try:
            await _whole(session.open(settings))
        except BaseException as error:
            await session.abort()
            if not isinstance(error, Exception):
                raise
            problems.append(_explain(error, url))
            continue
        watching = asyncio.create_task(session.watch())
        try:
            yield session
        finally:
            await session.abort()
            await watching
        return
    raise ConnectTimeout(f"NATS_URL: no connection: {'; '.join(problems)}")


async def _whole(work: Coroutine[None, None, None]) -> None:
    """Awaits `work`; where that is cancelled, until it has really ended.

    nats-py 2.16 swallows a cancellation in places (its `_flush_pending`), and would go on connecting.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=_CANCEL_AGAIN)
        raise
    await task


def bare(url: str) -> str:
    """The URL without user and password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _explain(error: Exception, url: str) -> str:
    text = (str(error) or type(error).__name__).removeprefix("nats: ").strip("'")
    if isinstance(error, TimeoutError):
        text = f"no answer within {CONNECT_SECONDS:g} seconds"
    cut_off = "lost" in text or isinstance(error, BrokenPipeError | ConnectionResetError)
    if cut_off and url.startswith("tls://"):  # TLS 1.3: the refusal may come after our first bytes have
        text = f"{text} in the TLS handshake; a server that asks for a certificate wants NATS_TLS_CERT"
    if "uthorization" in text or "uthentication" in text:
        text = f"{text}: the server refused the credentials; check NATS_CREDS, NATS_NKEY_SEED, NATS_USER or NATS_TOKEN"
    return f"{bare(url)}: {text}"
