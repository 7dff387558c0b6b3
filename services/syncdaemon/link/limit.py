"""SYNC_BWLIMIT: no more than that leaves, over all connections together."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from math import inf

import structlog

from syncdaemon.base.timetable import Timetable
from syncdaemon.link.pace import TokenBucket

_LOOK_SECONDS = 1.0  # between two looks at the clock on the wall, which may be set at any time
_PIECE_SECONDS = 0.05

log = structlog.get_logger(__name__)


class Limit:
    """What the timetable says at this time of the week. `wall` gives the local time."""

    def __init__(self, timetable: Timetable, wall: Callable[[], datetime] = datetime.now) -> None:
        self._timetable = timetable
        self._ordered: Timetable | None = None
        self._ordered_until = inf
        self._wall = wall
        self._bucket = TokenBucket()
        self._looked_at = -inf
        self._look(time.monotonic())

    def order(self, timetable: Timetable | None, seconds: float | None = None) -> None:
        """This timetable counts instead, for so many seconds or for good; None: that of the settings again."""
        now = time.monotonic()
        self._ordered, self._ordered_until = timetable, inf if seconds is None else now + seconds
        self._look_again(now)

    def settle(self, timetable: Timetable) -> None:
        """The settings have another timetable now."""
        self._timetable = timetable
        self._look_again(time.monotonic())

    @property
    def ordered(self) -> Timetable | None:
        """The timetable that counts instead of that of the settings, if one does."""
        return self._ordered if time.monotonic() < self._ordered_until else None

    def _look_again(self, now: float) -> None:
        self._looked_at = now - _LOOK_SECONDS
        self._look(now)

    @property
    def rate(self) -> float:
        """Bytes a second; infinite where there is no limit."""
        self._look(time.monotonic())
        return self._bucket.rate

    def piece(self, wanted: int) -> int:
        """How many of `wanted` bytes are best sent at once."""
        return int(min(wanted, self._bucket.rate * _PIECE_SECONDS))

    def wait(self, now: float) -> float:
        """Seconds until more may be sent, or the timetable has to be looked at again; 0 for now."""
        self._look(now)
        return min(self._bucket.wait(now), _LOOK_SECONDS)

    def take(self, now: float, size: int) -> None:
        """So many bytes leave."""
        self._bucket.take(now, size)

    def _look(self, now: float) -> None:
        if now - self._looked_at < _LOOK_SECONDS:
            return
        first, self._looked_at = self._looked_at == -inf, now
        limit = (self.ordered or self._timetable).limit_at(self._wall())
        rate = inf if limit is None else float(limit)
        if rate != self._bucket.rate:
            self._bucket.limit(now, rate)
            log.info("bandwidth_limit", bytes_per_second=limit or "off", since="start" if first else "now")
