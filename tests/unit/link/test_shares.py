"""Messages and chunks on a full link: half of it each, and all of it for one alone."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from syncdaemon.link.shares import Shares

CHUNK, PIECE = 1000, 100


class Wire:
    """Takes one thing at a time, and a moment for it."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.shares = Shares()
        self.sent: list[int] = []
        self._turn = asyncio.Lock()

    async def send(self, size: int, bulk: bool) -> None:
        """As the gate and a session do it."""
        async with self.shares.turn(bulk, self.lost), self._turn:
            await asyncio.sleep(0)
        self.shares.sent(size)
        self.sent.append(size)

    async def send_all(self, count: int, size: int, bulk: bool) -> None:
        """One after another."""
        for _ in range(count):
            await self.send(size, bulk)


async def test_messages_send_as_much_as_the_chunks_between_them() -> None:
    """However small they are."""
    wire = Wire()
    async with asyncio.timeout(10):
        await asyncio.gather(wire.send_all(20, CHUNK, bulk=True), wire.send_all(300, PIECE, bulk=False))
    chunks = [place for place, size in enumerate(wire.sent) if size == CHUNK]
    between = [after - before - 1 for before, after in pairwise(chunks)]
    assert between == pytest.approx([CHUNK // PIECE] * len(between), abs=1)


@pytest.mark.parametrize(("count", "size", "bulk"), [(20, CHUNK, True), (200, PIECE, False)])
async def test_one_alone_waits_for_nobody(count: int, size: int, bulk: bool) -> None:
    """A file without small ones beside it, and small ones without a file."""
    wire = Wire()
    async with asyncio.timeout(10):
        await wire.send_all(count, size, bulk)
    assert wire.sent == [size] * count


async def test_a_chunk_does_not_wait_for_messages_that_are_no_more() -> None:
    """They were given up, or all sent."""
    wire = Wire()
    await wire.send(CHUNK, bulk=True)
    await wire._turn.acquire()
    messages = asyncio.create_task(wire.send(PIECE, bulk=False))
    await asyncio.sleep(0)
    chunk = asyncio.create_task(wire.send(CHUNK, bulk=True))
    await asyncio.sleep(0)
    messages.cancel()
    wire._turn.release()
    async with asyncio.timeout(10):
        await chunk
    assert wire.sent == [CHUNK, CHUNK]


async def test_a_chunk_does_not_wait_beyond_the_connection() -> None:
    """Its end lets it go on to where that shows."""
    wire = Wire()
    await wire.send(CHUNK, bulk=True)
    await wire._turn.acquire()
    messages = asyncio.create_task(wire.send(PIECE, bulk=False))
    await asyncio.sleep(0)
    chunk = asyncio.create_task(wire.send(CHUNK, bulk=True))
    await asyncio.sleep(0)
    wire.lost.set_result("cut")
    await asyncio.sleep(0.01)
    wire._turn.release()
    async with asyncio.timeout(10):
        await asyncio.gather(chunk, messages)
    assert sorted(wire.sent) == [PIECE, CHUNK, CHUNK]
