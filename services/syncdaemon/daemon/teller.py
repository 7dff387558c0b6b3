"""Tells the hub how this site is, on `edge.status.<site>`. Nothing waits for it, and delivery goes on without it.

The stream of these words is made by `hub init`. On a server of its own, which no hub's owner has prepared, the daemon
makes it itself; behind a leaf node never: there it would lie beside the site, and tell nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from typing import Any, NamedTuple

import structlog

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.daemon.portrait import Portrait
from syncdaemon.daemon.word_times import WordTimes
from syncdaemon.link import Link, Session
from syncdaemon.settings.values import Settings
from syncdaemon.stream import fields
from syncdaemon.stream.answers import ApiRefusal, read_answer
from syncdaemon.stream.api import Api
from syncdaemon.stream.fleet import own_fleet, status_subject
from syncdaemon.stream.records import FLEET
from syncdaemon.stream.site_status import written

_TICK_SECONDS = 5.0  # between two looks at whether something has changed

log = structlog.get_logger(__name__)


class TellerSettings(NamedTuple):
    """`seconds`: between two words of a busy site. `hub`: the hub's domain, where the site's own server is a leaf node;
    else empty. `create`: whether the stream may be made where it is missing.
    """

    site: str
    seconds: float
    hub: str
    create: bool

    @classmethod
    def of(cls, settings: Settings) -> TellerSettings:
        """What the settings say."""
        hub = settings.nats_hub_domain or ""
        create = settings.sync_stream_create and not hub
        return cls(settings.site, settings.sync_status_seconds, hub, create)


class Teller:
    """`problem`: why the hub does not have the newest word, in words; empty where it does."""

    def __init__(self, settings: TellerSettings, link: Link, portrait: Portrait) -> None:
        self._settings, self._link, self._portrait = settings, link, portrait
        self._subject = status_subject(settings.site)
        self._times = WordTimes(settings.seconds)
        self._once_a_minute = OnceAMinute()
        self._missed = False  # the stream was not there at the last try
        self.problem = "not told yet"

    async def run(self) -> None:
        """For ever: tells, over one connection after another. Returns at once where it is not to tell at all."""
        tick = min(_TICK_SECONDS, self._settings.seconds)
        while self._settings.seconds:
            session = await self._link.wait_up()
            self._times.connected()
            while not session.lost.done():
                self._portrait.look()
                state, busy = self._portrait.state(), self._portrait.busy
                if self._times.due(time.monotonic(), state, busy=busy):
                    await self._tell(session, state, busy=busy)
                await asyncio.wait((session.lost,), timeout=tick)

    async def _tell(self, session: Session, state: Hashable, *, busy: bool) -> None:
        word = written(self._portrait.word(self._times.next_within(busy=busy)))
        again: float | None = self._times.seconds if self._settings.hub else self._times.idle_seconds
        try:
            found = await self._send(session, word)
            if found is not None and found.unanswered and self._settings.create:
                again, found = None, await self._make(session, word, found)
        except (LinkDown, PermissionError, LanePaused) as error:
            self._not_told(str(error))
        else:
            if found is not None:
                self._not_told(found.words)
            else:
                self.problem, again = "", None
        self._times.tried(time.monotonic(), state, again)

    async def _make(self, session: Session, word: bytes, missing: ApiRefusal) -> ApiRefusal | None:
        """Makes the stream and sends the word once more; not before a second try, as a first contact is to be cheap."""
        if not self._missed:
            self._missed = True
            return missing
        made = await Api.over(session).create_stream(own_fleet())
        return made if isinstance(made, ApiRefusal) else await self._send(session, word)

    async def _send(self, session: Session, word: bytes) -> ApiRefusal | None:
        """None: the hub's stream has it. Raises LinkDown, PermissionError, LanePaused.

        Without headers it is a question to the link: one that is not answered ends no connection.
        """
        data, headers = await session.request(self._subject, word)
        return read_answer(self._subject, data, headers, self._taken)

    def _taken(self, answer: dict[str, Any]) -> None:
        """Raises ValueError where another stream has it: one that lies beside the site tells nobody."""
        stream, domain = fields.text(answer.get("stream")), fields.text(answer.get("domain", ""))
        if stream != FLEET or (self._settings.hub and domain != self._settings.hub):
            raise ValueError(f"the stream {stream} has it, not the hub's {FLEET}")

    def _not_told(self, reason: str) -> None:
        self.problem = reason
        if self._once_a_minute.due(time.monotonic(), reason):
            log.info("hub_not_told", reason=reason, effect="the hub does not see how this site is; files are delivered")
