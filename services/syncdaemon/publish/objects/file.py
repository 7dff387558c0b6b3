"""The file of an upload, read in a thread, a few chunks ahead of what is sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any

from syncdaemon.publish.objects.flight import ChunkFlight
from syncdaemon.publish.objects.source import Piece, Source

_READ_BYTES = 1 << 20  # read at once
_READ_CHUNKS = 32
_READS_AHEAD = 2  # so many reads are done or under way while what was read before is sent
_PASS_BYTES = 64 << 20  # read at once where nothing is sent

InThread = Callable[..., asyncio.Future[Any]]
"""Calls a function with arguments in the thread, at once, whether or not the result is awaited."""


class UploadFile:
    """Reads a source in chunks of `size` bytes. Raises what the source raises: Changed, OSError."""

    def __init__(self, source: Source, size: int, in_thread: InThread) -> None:
        self._source = source
        self._size = size
        self._in_thread = in_thread

    async def go_to(self, offset: int) -> bool:
        """Reads on towards `offset`, for the digest of what lies before it. Whether it is reached."""
        there: bool = await self._in_thread(self._source.go_to, offset, _PASS_BYTES)
        return there

    @property
    def so_far(self) -> str:
        """Half the digest of what was read up to here, in hexadecimal."""
        return self._source.so_far

    def is_whole(self, digest: str) -> bool:
        """Whether all of the file was read, and has this digest."""
        return self._source.is_whole(digest)

    async def check(self) -> None:
        """Raises Changed where the file is not that version any more."""
        await self._in_thread(self._source.check)

    async def ahead(self, flight: ChunkFlight) -> AsyncGenerator[list[Piece], None]:
        """All chunks from the flight's next on, a few at a time. The next ones are read meanwhile."""
        reads = deque(self._read(flight) for _ in range(_READS_AHEAD))
        try:
            while pieces := await reads.popleft():
                reads.append(self._read(flight))
                yield pieces
        finally:
            for read in reads:
                if not read.cancel():
                    read.exception()  # the read before it has raised the same

    def _read(self, flight: ChunkFlight) -> asyncio.Future[list[Piece]]:
        count = max(1, min(_READ_CHUNKS, _READ_BYTES // self._size))
        needed = flight.next * self._size
        return self._in_thread(self._source.chunks, self._size, count, needed)
