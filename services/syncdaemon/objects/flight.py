"""The chunks of an upload that are under way: as many as the window lets, in order, over one session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from syncdaemon import pace, verdict
from syncdaemon.chunks import Chunk, chunk_subject
from syncdaemon.errors import LinkDown
from syncdaemon.link import Session, frame


class Flight:
    """Sends chunks from number `index` on, behind the one at sequence `after`, and hears what became of them.

    `next`: every chunk before it is stored, the last one at `seq`. `beyond`: chunks stored behind a gap, by number.
    `trouble`: the first answer that was none of a stored chunk; nothing more is to be sent then. `cut`: why the
    connection is gone, and what became of some chunks is not known.
    """

    def __init__(
        self, session: Session, window: pace.Window, index: int, after: int, stored: Callable[[int], None]
    ) -> None:
        self.next = index
        self.seq = after
        self.beyond: dict[int, int] = {}
        self.trouble: verdict.Verdict | None = None
        self.cut = ""
        self._session = session
        self._window = window
        self._stored = stored
        self._pending: dict[int, int] = {}
        self._stir = asyncio.Event()

    async def room(self, size: int) -> bool:
        """Waits until a chunk of this size may go; False: none may any more."""
        while not self.over and not self._window.fits(1, size):
            await self._something()
        return not self.over

    async def send(self, chunk: Chunk, digest: str, data: bytes) -> None:
        """Sends the next chunk.

        Where none is under way it carries the sequence that the one before it has: should anything else have come
        between, it is refused. While some are, nobody knows that sequence yet; then the order of the connection
        holds them together, and the ids where an older connection brings something late.
        """
        headers = chunk.headers(digest, None if self._pending else self.seq)
        self._pending[chunk.number] = len(data)
        self._window.take(1, len(data))
        try:
            reply = self._session.expect(self, chunk.number)
            await self._session.send(frame(chunk_subject(chunk.nuid).encode(), reply, headers, data))
        except LinkDown as error:
            self.lost(str(error))

    async def landed(self) -> None:
        """Waits until all that was sent is answered, or lost."""
        while self._pending:
            await self._something()

    @property
    def over(self) -> bool:
        """Whether nothing more is to be sent."""
        return self.trouble is not None or bool(self.cut)

    async def _something(self) -> None:
        self._stir.clear()
        await self._stir.wait()

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        """The server's answer to a chunk."""
        size = self._pending.pop(key, None)
        if size is None:
            return
        self._window.give(1, size)
        judged = verdict.judge(data, headers)
        if isinstance(judged, verdict.Stored) and not judged.duplicate:
            self._stored(size)
            self.beyond[key] = judged.seq
            self._close_up()
        else:
            self.trouble = self.trouble or judged
        self._stir.set()

    def _close_up(self) -> None:
        while seq := self.beyond.get(self.next):
            if seq < self.seq:
                self.trouble = verdict.Again("upload_out_of_order", f"chunk {self.next} is at {seq}", 1.0)
                return
            del self.beyond[self.next]
            self.next, self.seq = self.next + 1, seq

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        self.cut = self.cut or reason
        for size in self._pending.values():
            self._window.give(1, size)
        self._pending.clear()
        self._stir.set()
