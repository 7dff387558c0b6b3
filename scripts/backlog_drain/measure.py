"""The runs: publish, then watch until all is done or the time is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from scripts.backlog_drain.plan import Plan, Run
from scripts.backlog_drain.sight import Seen
from syncdaemon.base.errors import ConnectTimeout, SyncError

_LOOK_SECONDS = 0.25
_SAY_SECONDS = 5.0
_PATIENCE = 120.0  # seconds for a scrape and an evaluation, and for what is left of an earlier backlog

Say = Callable[[str], None]


class NotMeasured(SyncError):
    """There is nothing to judge: what should be measured can't be filled, can't be seen, or is not at rest."""


class Queue(Protocol):
    """What is filled."""

    async def publish(self, count: int, size: int) -> int:
        """Publishes so many messages of this size; the last sequence in the stream."""


class Sight(Protocol):
    """What is watched."""

    @property
    def name(self) -> str:
        """What is looked for."""

    def look(self) -> Seen | None:
        """What is known now, None for nothing."""


class Measurement:
    """All runs of a plan; `say` is told the progress. For so many seconds of `patience` a run waits to begin."""

    def __init__(self, plan: Plan, queue: Queue, sight: Sight, say: Say, patience: float = _PATIENCE) -> None:
        self._plan, self._queue, self._sight, self._say, self._patience = plan, queue, sight, say, patience

    async def runs(self) -> list[Run]:
        """Every run that was made. After one that was not drained there is none: the next would not begin at 0.

        Raises ConnectTimeout where Prometheus does not answer, NotMeasured where it does not see the queue, or
        the queue does not come to rest.
        """
        await asyncio.to_thread(self._sight.look)
        made: list[Run] = []
        while len(made) < self._plan.runs and not (made and made[-1].reason):
            await self._at_rest(len(made) + 1)
            made.append(await self._run(len(made) + 1))
        return made

    async def _at_rest(self, number: int) -> None:
        seen = None
        async for seen in self._looks(self._patience):
            if seen and seen.drained(0):
                return
        if seen is None:
            raise NotMeasured(
                f"Prometheus has no {self._sight.name}: is the exporter scraped (-jsz=all, no -prefix), and are the "
                "recording rules loaded?"
            )
        raise NotMeasured(f"run {number} can't begin, the queue is not empty: {_state(seen)}")

    async def _run(self, number: int) -> Run:
        began = time.monotonic()
        last = await self._queue.publish(self._plan.messages, self._plan.size)
        published = said = time.monotonic() - began
        self._say(f"run {number}: {self._plan.messages} messages published in {published:.1f} s")
        peak, seen = 0, None
        async for seen in self._looks(self._plan.limit - published):
            seconds = time.monotonic() - began
            peak = max(peak, seen.backlog if seen else 0)
            if seen and seen.drained(last):
                self._say(f"run {number}: drained in {seconds:.1f} s")
                return Run(number, round(seconds, 3), round(published, 3), peak)
            if seconds - said >= _SAY_SECONDS:
                said = seconds
                self._say(f"run {number}: {seconds:.0f} s, {_state(seen)}")
        reason = f"after {self._plan.limit:g} s, {_state(seen)}"
        self._say(f"run {number}: not drained {reason}")
        return Run(number, round(time.monotonic() - began, 3), round(published, 3), peak, reason)

    async def _looks(self, seconds: float) -> AsyncIterator[Seen | None]:
        """What is seen, again and again, for so many seconds. At least once."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                yield await asyncio.to_thread(self._sight.look)
            except ConnectTimeout as error:
                self._say(str(error))
                yield None
            if time.monotonic() >= deadline:
                return
            await asyncio.sleep(_LOOK_SECONDS)


def _state(seen: Seen | None) -> str:
    if seen is None:
        return "Prometheus does not tell"
    idle = "" if seen.waiting else ", and no worker waits for messages"
    return f"backlog {seen.backlog}, ack pending {seen.ack_pending}{idle}"
