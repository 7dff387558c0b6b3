"""Looking at the stream again while a connection stays up: it may be set otherwise by then, or be another one."""

from __future__ import annotations

import asyncio
import time

import structlog

from syncdaemon.base.errors import LanePaused, LinkDown, SettingsError
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.publish.lane import Lane
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.info import read_info
from syncdaemon.stream.prepare import StreamSettings, accept

_LOOK_SECONDS = 15.0  # between two looks while messages are stored
_LONGEST = 300.0  # the same where nothing was stored for a long time: an answer takes about 1.5 kB of the link

log = structlog.get_logger(__name__)


class StreamWatch:
    """Asks the server now and then what the stream is, and before a delivered file is deleted."""

    def __init__(self, lane: Lane, settings: StreamSettings) -> None:
        self._lane = lane
        self._settings = settings
        self._looking = asyncio.Lock()
        self._said = OnceAMinute()

    async def run(self) -> None:
        """For ever: opens the lane over every new connection, whether something waits or not, and looks."""
        wait, stored = _LOOK_SECONDS, 0
        while True:
            session = await self._lane.ready()
            last = self._lane.last_seq
            wait, stored = (_LOOK_SECONDS if last != stored else min(2 * wait, _LONGEST)), last
            await asyncio.wait((session.lost,), timeout=wait)
            if not session.lost.done():
                await self.look()

    async def look(self) -> bool:
        """Whether the stream could be seen, or is known to be kept from us. What changed begins to count."""
        async with self._looking:
            session = self._lane.prepared
            if session is None:
                return False
            if self._lane.stream is None:
                return True
            least = self._lane.last_seq
            try:
                answer = await Api.over(session).stream(self._settings.name)
            except LinkDown:
                return False
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
