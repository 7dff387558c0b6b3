"""Messages under way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from syncdaemon.link import FRAME_BYTES, Session, frame
from syncdaemon.message import Message


class Flight:
    """The messages that go together, and their answers as they come; a sink of the session.

    `handed`: how many of them may have left, or a part of them; `landed` is done when all are answered, or lost.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.answers: list[tuple[bytes, bytes | None] | None] = [None] * len(messages)
        self.latencies: list[float] = []
        self.handed = 0
        self.landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._missing = len(messages)

    async def send(self, session: Session) -> None:
        """Sends all, a piece at a time, as the link takes them. Raises LinkDown where it goes in between."""
        while self.handed < len(self.messages):
            most = await session.room()
            await session.send(self._piece(session, most))

    def _piece(self, session: Session, most: int) -> list[bytes]:
        """The frames of the next messages: at least one, and no more than so many bytes together."""
        frames: list[bytes] = []
        size = 0
        for key in range(self.handed, len(self.messages)):
            message = self.messages[key]
            subject = message.subject.encode()
            length = message.size + len(subject) + FRAME_BYTES
            size += length
            if frames and size > most:
                break
            reply = session.expect(self, key, length)
            frames += frame(subject, reply, message.headers, message.body)
            self.handed = key + 1
        return frames

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        """The server's answer to one of them."""
        self.answers[key] = (data, headers)
        self.latencies.append(latency)
        self._missing -= 1
        if not self._missing and not self.landed.done():
            self.landed.set_result(None)

    def lost(self, reason: str) -> None:
        """No more answers will come."""
        if not self.landed.done():
            self.landed.set_result(None)
