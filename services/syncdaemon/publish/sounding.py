"""Before the first larger files of a process: how fast is the link?

A file that takes the link for long goes in chunks, which can be resumed. So we have to know how fast the link is before
such a file leaves. On a thin link the small files before it tell that. Otherwise some kilobytes are sent that no stream
stores. With nothing to send, nothing is measured: on a metered link each of these kilobytes costs money.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf

from syncdaemon.base.model import Content, Later
from syncdaemon.link import Session
from syncdaemon.publish.lane import Lane
from syncdaemon.publish.message import Message

SMALL = 16 << 10  # bytes: at 32 kbit/s they take 4 s, and nothing overtakes a message meanwhile
_SIZES = (4 << 10, 16 << 10, 64 << 10)  # bytes: over 32 kbit/s the first take a second, or the next some seconds
_WATCHED_SECONDS = 3.0  # so long the small files before a larger one may tell how fast the link is
_TIMES = 8  # times as many bytes as were quick may go in one piece: they take few seconds even so
_SLOW_SECONDS = 0.2  # longer than a round trip: what comes next would take much longer
_THIN, _ENOUGH = 16_000, 8 << 10  # bytes a second; and bytes that were delivered by then: fewer tell nothing


class Sounding:
    """Measures the link once in a process, over the first connection on which that matters.

    `landing` waits until some of the messages under way are answered; it returns False at once where there are none.
    """

    def __init__(self, lane: Lane, landing: Callable[[], Awaitable[bool]]) -> None:
        self._lane = lane
        self._landing = landing
        self._done = False
        self._sizes: tuple[int, ...] = _SIZES  # still to be sent
        self._quick = 0  # bytes of the last that was quick
        self._measuring = asyncio.Lock()

    def sure(self, session: Session) -> bool:
        """Whether it is known how fast the link is: it was measured, or it is a thin one by what went over it."""
        window = session.window
        thin = window.capacity is not None and window.capacity <= _THIN and window.delivered >= _ENOUGH
        return self._done or thin

    def split(self, messages: Sequence[Message], session: Session) -> tuple[Sequence[Message], Sequence[Message]]:
        """The messages that may go at once, and those for which we have to know first how fast the link is."""
        if self.sure(session):
            return messages, ()
        larger = [message for message in messages if len(message.body) > SMALL]
        return [message for message in messages if len(message.body) <= SMALL], larger

    async def fitting(self, larger: Sequence[Message], session: Session) -> tuple[Sequence[Message], list[Later]]:
        """Those that may go in one piece, when it is known how fast the link is. The others are to be read again."""
        await self.measure(session, max(len(message.body) for message in larger))
        most = session.step.largest if self.sure(session) else None
        if most is None:
            return larger, []
        fitting = [message for message in larger if len(message.body) <= most]
        return fitting, [_again(message.content) for message in larger if len(message.body) > most]

    async def measure(self, session: Session, largest: float = inf) -> None:
        """Waits until it is known how fast the link is, as far as a file of `largest` bytes calls for that."""
        async with self._measuring:
            with suppress(TimeoutError):
                async with asyncio.timeout(_WATCHED_SECONDS):
                    while not self.sure(session) and await self._landing():
                        pass
            while self._sizes and largest > self._quick * _TIMES and not self.sure(session):
                if not await self._sound(session, self._sizes[0]):
                    return

    async def _sound(self, session: Session, size: int) -> bool:
        """Sends so many bytes. Returns whether that could be done."""
        began = time.monotonic()
        if not await self._lane.sound(session, size):
            return False
        trip = session.window.round_trip
        slow = time.monotonic() - began > trip + max(_SLOW_SECONDS, trip / 2)
        self._sizes = () if slow else self._sizes[1:]
        self._done, self._quick = not self._sizes, size
        return True


def _again(content: Content) -> Later:
    """It was not sent, so this was no attempt."""
    return Later(content._replace(attempts=content.attempts - 1), 0.0)
