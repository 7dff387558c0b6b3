"""The messages that a worker holds: arrived, and not answered yet."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable

import structlog

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.receive.incoming import Arrival, Item
from syncdaemon.receive.origin import Origin
from syncdaemon.stream.pulled import delivery

log = structlog.get_logger(__name__)


class Unanswered:
    """One message. `reply` is that of its newest delivery."""

    __slots__ = ("beat", "item", "reply", "since")

    def __init__(self, item: Item, now: float) -> None:
        self.item = item
        self.reply = item.arrival.reply
        self.since = self.beat = now


class Hands:
    """Takes each message once: one that comes again while it is held is known.

    `delivered` is called for each delivery, with how often its message has been delivered by then.
    """

    def __init__(self, origin: Origin, delivered: Callable[[int], None]) -> None:
        self._origin, self._delivered = origin, delivered
        self._held: dict[tuple[int, int], Unanswered] = {}
        self._waiting: deque[Unanswered] = deque()
        self._said = OnceAMinute()
        self._some = asyncio.Event()
        self._fewer = asyncio.Event()
        self.bytes = 0
        self.objects = 0

    def __len__(self) -> int:
        return len(self._held)

    def take(self, arrival: Arrival) -> None:
        """A message has arrived."""
        try:
            known = delivery(arrival.reply)
        except ValueError as error:
            if self._said.due(time.monotonic()):
                log.error("unreadable_delivery", error=str(error), effect="the message is not taken")
            return
        self._delivered(known.times)
        key = known.seq, known.stored_ns
        if (held := self._held.get(key)) is not None:
            held.reply, held.beat = arrival.reply, time.monotonic()
            return
        held = Unanswered(Item(arrival, known, *self._origin.judge(arrival)), time.monotonic())
        self._held[key] = held
        self.bytes += len(arrival.data)
        self.objects += held.item.is_object
        self._waiting.append(held)
        self._some.set()

    async def next(self, most: int) -> list[Unanswered]:
        """What has arrived and waits, up to so many, oldest first; at least one."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def release(self, done: Iterable[Unanswered]) -> None:
        """These are answered."""
        for held in done:
            delivery = held.item.delivery
            del self._held[delivery.seq, delivery.stored_ns]
            self.bytes -= len(held.item.data)
            self.objects -= held.item.is_object
        self._fewer.set()

    async def fewer(self) -> None:
        """Waits until some more are answered."""
        self._fewer.clear()
        await self._fewer.wait()

    def all(self) -> list[Unanswered]:
        """Everything that is held."""
        return list(self._held.values())

    def due(self, seconds: float) -> list[Unanswered]:
        """What the server has heard nothing about for so many seconds. From now on it counts as reported."""
        now = time.monotonic()
        due = [held for held in self._held.values() if now - held.beat >= seconds]
        for held in due:
            held.beat = now
        return due
