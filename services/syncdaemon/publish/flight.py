"""Messages under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from syncdaemon.link import Session, frame
from syncdaemon.message import Message

_SEND_BYTES = 128 << 10  # handed to the connection at once, before it is asked whether it is full


class Flight:
    """The messages that go together, and their answers as they come; a sink of the session.

    `handed`: whether any of their bytes may have left; `landed` is done when all are answered, or lost; `began` and
    `ended`: when the first was sent, and when that was.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.answers: list[tuple[bytes, bytes | None] | None] = [None] * len(messages)
        self.latencies: list[float] = []
        self.size = sum(len(message.body) for message in messages)
        self.began = self.ended = 0.0
        self.handed = False
        self.landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._missing = len(messages)

    async def send(self, session: Session) -> None:
        """Sends all. Raises LinkDown where the connection goes in between."""
        self.began = time.monotonic()
        frames: list[bytes] = []
        size = 0
        for key, message in enumerate(self.messages):
            reply = session.expect(self, key)
            frames += frame(message.subject.encode(), reply, message.headers, message.body)
            size += message.size
            if size >= _SEND_BYTES:
                self.handed = True
                await session.send(frames)
                frames, size = [], 0
        if frames:
            self.handed = True
            await session.send(frames)

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        """The server's answer to one of them."""
        self.answers[key] = (data, headers)
        self.latencies.append(latency)
        self._missing -= 1
        if not self._missing:
            self.land()

    def lost(self, reason: str) -> None:
        """No more answers will come."""
        self.land()

    def land(self) -> None:
        """It is over."""
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
