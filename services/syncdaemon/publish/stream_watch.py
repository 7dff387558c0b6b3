"""Looking at the stream again while a connection stays up: it may be set otherwise by then, or be another one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from syncdaemon.base.errors import LanePaused, LinkDown, SettingsError
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.link import Session
from syncdaemon.publish.lane import Lane
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.info import read_info
from syncdaemon.stream.prepare import StreamSettings, accept

FIRST_SECONDS = (15.0, 30.0)  # until the first looks of a connection over which messages are stored
BUSY_SECONDS = 600.0  # between two looks while messages are stored
IDLE_SECONDS = 6 * 3600.0  # the same while none are: an answer takes about 1.5 kB of the line
_TICK_SECONDS = 5.0

log = structlog.get_logger(__name__)


class LookTimes:
    """When the stream is to be looked at again, over one connection. The time is an argument.

    `stored`: the last sequence that the stream is known to have. It moves while messages are stored.
    """

    def __init__(self, now: float, stored: int) -> None:
        self._looked_at = now
        self._stored = stored
        self._moved_at: float | None = None  # since the last look
        self._first = list(FIRST_SECONDS)
        self._begun = False  # something was stored over this connection

    def due(self, now: float, stored: int) -> bool:
        """Whether to look now."""
        if self._moved_at is None and stored != self._stored:
            self._moved_at, self._begun = now, True
        since = now - self._looked_at
        if self._begun and self._first:
            return since >= self._first[0]
        if self._moved_at is not None and now - self._moved_at >= BUSY_SECONDS:
            return True
        return since >= IDLE_SECONDS

    def looked(self, now: float, stored: int) -> None:
        """The stream was looked at. What was stored since the look before may be noticed only here."""
        self._begun |= stored != self._stored
        if self._begun and self._first and now - self._looked_at >= self._first[0]:
            del self._first[0]
        self._looked_at, self._stored, self._moved_at = now, stored, None


class StreamWatch:
    """Asks the server now and then what the stream is, and before a delivered file is deleted."""

    def __init__(
        self, lane: Lane, settings: StreamSettings, look_at_buckets: Callable[[Session], Awaitable[bool]]
    ) -> None:
        """`look_at_buckets`: whether those of large files could be seen. It may raise LinkDown."""
        self._lane = lane
        self._look_at_buckets = look_at_buckets
        self._settings = settings
        self._looks = LookTimes(time.monotonic(), lane.last_seq)
        self._looking = asyncio.Lock()
        self._said = OnceAMinute()

    async def run(self) -> None:
        """For ever: opens the lane over every new connection, whether something waits or not, and looks."""
        while True:
            await self._look_over(await self._lane.ready())

    async def _look_over(self, session: Session) -> None:
        """Looks as often as is due, for as long as this connection lives."""
        self._looks = LookTimes(time.monotonic(), self._lane.last_seq)
        while not session.lost.done():
            await asyncio.wait((session.lost,), timeout=_TICK_SECONDS)
            if not session.lost.done() and self._looks.due(time.monotonic(), self._lane.last_seq):
                await self.look()
                if await self._lane.ready() is not session:
                    return

    async def look(self) -> bool:
        """Whether stream and buckets could be seen, or are known to be kept from us. What changed begins to count."""
        async with self._looking:
            session = self._lane.prepared
            if session is None:
                return False
            try:
                return await self._look_at_stream(session) and await self._look_at_buckets(session)
            except LinkDown:
                return False
            finally:
                self._looks.looked(time.monotonic(), self._lane.last_seq)

    async def _look_at_stream(self, session: Session) -> bool:
        if self._lane.stream is None:
            return True
        least = self._lane.last_seq
        try:
            answer = await Api.over(session).stream(self._settings.name)
        except (LanePaused, PermissionError) as error:
            if self._said.due(time.monotonic()):
                log.info("stream_not_seen", reason=str(error), effect="nothing is deleted from the hold")
            return False
        if session is not self._lane.prepared:
            return False
        if isinstance(answer, ApiRefusal):
            self._lane.prepare_again()
            return False
        info = read_info(answer)
        self._lane.seen_again(session, info, least)
        try:
            accept(info, self._settings)
        except SettingsError:
            self._lane.prepare_again()  # which says what is wrong
            return False
        return True
