"""How far the hub is behind this site's own server, where that is a leaf node. Asked seldom: the line may be thin.

Only what the hub has outlives the stream's `max_age`. So what it lacks is counted, and how old the oldest of that is.
"""

from __future__ import annotations

import asyncio
import time
from math import isinf
from pathlib import Path
from typing import NamedTuple

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.base.units import duration_in_words
from syncdaemon.daemon import hub_position
from syncdaemon.daemon.hub_position import Position
from syncdaemon.daemon.metrics import Metrics
from syncdaemon.link import Link, Session
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.calls import Calls
from syncdaemon.stream.fetched import AtHub, Place, fetched
from syncdaemon.stream.info import StreamAnswer
from syncdaemon.stream.stored import StoredMessage

LOOK_SECONDS = 600.0  # between two questions
_FIRST_SECONDS = 5.0  # after a connection: it lives, and the hub may have fetched what came before
_SMALL = 1 << 10  # bytes of a body that every question may bring
_BYTES_A_SECOND = 3.0  # of answers that carry a message's body: at most 8 MB a month,
_LONGEST = 6 * 3600.0  # but for messages that are so large that an answer would come less often than this


class Lag(NamedTuple):
    """What the hub lacked at the last look; `since`: when the oldest of it was stored here, by the wall clock."""

    messages: int = 0
    since: float | None = None

    def seconds(self, now: float) -> float:
        """How old the oldest one is; 0 where nothing lacks."""
        return 0.0 if self.since is None else max(0.0, now - self.since)


class HubWatch:
    """Asks the hub now and then. `up`: whether it answered the last time; `lag`: None before anything is known."""

    def __init__(self, link: Link, place: Place, folder: Path, site: str, *, every: float = LOOK_SECONDS) -> None:
        self._link, self._place = link, place
        self._folder, self._site, self._every = folder, site, every
        self._position: Position | None = None
        self._affordable = 0.0  # from when on another body may come
        self.up: bool | None = None
        self.lag: Lag | None = None
        self.problem = ""

    def show_in(self, metrics: Metrics) -> None:
        """Adds the gauges, which have samples once something is known."""
        metrics.add_known(
            "syncdaemon_hub_link_status", "1 while the hub answered when it was last asked", self._up_known
        )
        metrics.add_known("syncdaemon_hub_lag_messages", "Messages stored here that the hub lacks", self._messages)
        metrics.add_known("syncdaemon_hub_lag_seconds", "Age of the oldest message that the hub lacks", self._seconds)

    def _up_known(self) -> dict[tuple[str, ...], float]:
        return {} if self.up is None else {(): float(self.up)}

    def _messages(self) -> dict[tuple[str, ...], float]:
        return {} if self.lag is None else {(): float(self.lag.messages)}

    def _seconds(self) -> dict[tuple[str, ...], float]:
        return {} if self.lag is None else {(): self.lag.seconds(time.time())}

    def late(self, max_age: float) -> bool:
        """Whether the oldest message that the hub lacks has half of its life behind it; `max_age` in seconds."""
        return self.lag is not None and not isinf(max_age) and self.lag.seconds(time.time()) > max_age / 2

    @property
    def words(self) -> str:
        """What the hub has, for people."""
        lag = self.lag
        if lag is None:
            return self.problem or "not asked yet"
        what = "all of it is at the hub"
        if lag.messages:
            age = duration_in_words(lag.seconds(time.time()))
            what = f"{lag.messages:,} not at the hub yet, the oldest for {age}"
        return f"stored here; {what}" + (f"; the hub does not answer: {self.problem}" if not self.up else "")

    async def run(self) -> None:
        """For ever: looks, over one connection after another."""
        self._position = await asyncio.to_thread(hub_position.load, self._folder, self._site)
        while True:
            session = await self._link.wait_up()
            wait = min(_FIRST_SECONDS, self._every)
            while not await _lost_within(session, wait):
                try:
                    await self._look(Api.over(session), Api(session, Calls.of(self._place.domain)))
                except (LinkDown, PermissionError, LanePaused) as error:
                    self.problem = str(error)
                wait = self._every

    async def _look(self, own: Api, hub: Api) -> None:
        stream = await own.stream(self._place.stream)
        if not isinstance(stream, StreamAnswer):
            self.lag, self.problem = None, "the site's own stream is not seen"
            return
        position = self._position or Position()
        try:
            position = await self._ask(own, hub, stream, position)
        finally:
            self.lag = await self._lag(own, stream, position.of(stream.created))
        if position != self._position:
            self._position = position
            await asyncio.to_thread(hub_position.save, self._folder, self._site, position)

    async def _ask(self, own: Api, hub: Api, stream: StreamAnswer, known: Position) -> Position:
        """The newest position. While nothing lacks, a message that no answer has a body for shows that the hub is up.

        Raises as `fetched`.
        """
        place, has = self._place, known.of(stream.created)
        lacks = has < stream.state["last_seq"]
        whole = lacks and time.monotonic() >= self._affordable
        try:
            found = await fetched(hub, place.stream, place.subject if whole else place.no_subject)
        except (PermissionError, LanePaused) as error:
            self.up, self.problem = False, str(error)
            raise
        self.up, self.problem = True, ""
        if found is None:
            return known
        self._affordable = time.monotonic() + min(_LONGEST, max(0, found.size - _SMALL) / _BYTES_A_SECOND)
        return Position(stream.created, max(has, found.seq if await self._is_ours(own, stream, found) else 0))

    async def _is_ours(self, own: Api, stream: StreamAnswer, found: AtHub) -> bool:
        """Whether it is a message of the stream as it is now, and not of one that was lost and made anew."""
        if found.seq > stream.state["last_seq"]:
            return False
        if found.seq < stream.state["first_seq"]:
            return True
        here = await own.next(self._place.stream, self._place.subject, found.seq)
        return not isinstance(here, StoredMessage) or here.seq != found.seq or here.subject == found.subject

    async def _lag(self, own: Api, stream: StreamAnswer, has: int) -> Lag:
        first, last = stream.state["first_seq"], stream.state["last_seq"]
        lacking = last - max(has, first - 1)
        if lacking <= 0:
            return Lag()
        oldest = await own.next(self._place.stream, self._place.subject, max(has + 1, first))
        if oldest is None or isinstance(oldest, ApiRefusal) or oldest.at is None:
            return Lag() if oldest is None else Lag(lacking)
        return Lag(lacking, oldest.at.timestamp())


def watch_hub(link: Link, place: Place | None, folder: Path, site: str, metrics: Metrics) -> HubWatch | None:
    """One whose gauges are shown; None where there is no hub."""
    if place is None:
        return None
    watch = HubWatch(link, place, folder, site)
    watch.show_in(metrics)
    return watch


async def _lost_within(session: Session, seconds: float) -> bool:
    await asyncio.wait((session.lost,), timeout=seconds)
    return session.lost.done()
