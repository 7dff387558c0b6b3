"""What goes next on a full link: messages, or the chunks of a large file. Each gets half of it, if it wants so much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Shares:
    """Lets a chunk wait until the messages that wait as well have sent as many bytes as the chunk before it."""

    def __init__(self) -> None:
        self._messages = 0  # how many senders of messages wait or send now
        self._bulk = False  # whether it is a chunk that leaves next
        self._owed = 0  # bytes that messages may send before the next chunk
        self._even: asyncio.Future[None] | None = None

    @asynccontextmanager
    async def turn(self, bulk: bool, lost: asyncio.Future[str]) -> AsyncIterator[None]:
        """The body waits for room. The next call of `sent` counts for what had this turn. `lost` ends every wait."""
        if bulk:
            while self._owed > 0 and self._messages and not lost.done():
                self._even = asyncio.get_running_loop().create_future()
                await asyncio.wait((self._even, lost), return_when=asyncio.FIRST_COMPLETED)
        else:
            self._messages += 1
        try:
            yield
            self._bulk = bulk
        finally:
            if not bulk:
                self._messages -= 1
                self._look()

    def sent(self, size: int) -> None:
        """So many bytes leave."""
        if self._bulk:
            self._owed = size
        else:
            self._owed -= size
            self._look()

    def _look(self) -> None:
        if self._even is not None and not self._even.done() and (self._owed <= 0 or not self._messages):
            self._even.set_result(None)
