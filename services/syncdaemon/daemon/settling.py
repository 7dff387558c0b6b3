"""The file that keeps settling: which one came first of those that are not complete, and why it is not."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import quote_from_bytes

import structlog

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.spool import settle
from syncdaemon.spool.spool import Spool

_LOOK_SECONDS = 10.0

log = structlog.get_logger(__name__)

Shown = dict[str, str | float]


def oldest_settling(spool: Spool) -> Shown | None:
    """Its path, the reason, and the seconds since it came; None where every file is complete."""
    if (file := spool.settling.oldest) is None:
        return None
    age = round(spool.age(file.arrived), 3)
    return {"path": quote_from_bytes(file.path), "reason": file.why or settle.YOUNG, "age_seconds": age}


class SettlingLog:
    """Says at the level debug which file it is: whenever it is another one, and once a minute."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._once_a_minute = OnceAMinute()
        self._said: tuple[str | float, str | float] | None = None

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Looks once. `now` is a clock that is never set back, in seconds."""
        found = oldest_settling(self._spool)
        which = (found["path"], found["reason"]) if found else None
        if which != self._said:
            self._once_a_minute.over()
            self._said = which
        if found and self._once_a_minute.due(now):
            log.debug("oldest_settling_file", **found)
