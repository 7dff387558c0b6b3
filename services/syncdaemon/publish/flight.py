"""Messages under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from syncdaemon.link import Session
from syncdaemon.link.frame import FRAME_BYTES, frame
from syncdaemon.publish.message import Message
from syncdaemon.stream import verdict


class Flight:
    """The messages that go together, and their answers as they come; a sink of the session.

    `handed`: how many of them may have left, at least in part. `landed` is done when all are answered or lost.
    `began`: when the first was to be sent; `ended`: when the flight landed. `home`: whose acknowledgements count; None:
    those of any stream. `floor`: the last sequence that the stream had when the first message left.
    """

    def __init__(self, messages: Sequence[Message], home: verdict.Home | None = None) -> None:
        self.messages = messages
        self.home = home
        self.answers: list[verdict.Verdict | None] = [None] * len(messages)
        self.latencies: list[float] = []
        self.began = self.ended = 0.0
        self.floor = 0
        self.handed = 0
        self._next = 0  # the first message that is in no piece yet
        self.landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._missing = len(messages)

    async def send(self, session: Session) -> None:
        """Sends all, a piece at a time, as the link takes them. Raises LinkDown where the link goes down meanwhile."""
        self.began = time.monotonic()
        while self._next < len(self.messages):
            most = await session.room()
            await session.send(self._piece(session, most))

    def _piece(self, session: Session, most: int) -> list[bytes]:
        """The frames of the next messages."""
        frames: list[bytes] = []
        for key in self._take(most):
            message = self.messages[key]
            reply = session.expect(self, key, length(message))
            frames += frame(message.subject.encode(), reply, message.headers, message.body)
            self.handed = key + 1
        return frames

    def _take(self, most: int) -> range:
        """The next messages: at least one, and no more than so many bytes together."""
        first, size = self._next, length(self.messages[self._next])
        end = first + 1
        while end < len(self.messages) and (size := size + length(self.messages[end])) <= most:
            end += 1
        self._next = end
        return range(first, end)

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        """The server's answer to the message `key`."""
        self.answers[key] = verdict.judge(data, headers, self.home)
        self.latencies.append(latency)
        self._missing -= 1
        if not self._missing:
            self.land()

    def lost(self, reason: str) -> None:
        """No more answers will come."""
        self.land()

    def land(self) -> None:
        """The flight is over."""
        if not self.landed.done():
            self.ended = time.monotonic()
            self.landed.set_result(None)

    @property
    def whole(self) -> bool:
        """Whether every message has its answer."""
        return None not in self.answers

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


def length(message: Message) -> int:
    """About how many bytes of the link a message takes."""
    return message.size + len(message.subject) + FRAME_BYTES
