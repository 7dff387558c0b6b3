"""The chunks of an upload that are under way: as many as the window lets, in order, over one session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from syncdaemon.base.errors import LinkDown
from syncdaemon.link import Session
from syncdaemon.link.frame import FRAME_BYTES, Buffer, frame
from syncdaemon.stream import verdict
from syncdaemon.stream.object_format import BucketNames, Chunk

MAX_BYTES = 16 << 20
"""Of chunks in flight. So much is sent twice after a cut, at most; on a long and fast link, twice what fills it."""


class ChunkFlight:
    """Sends chunks from `number` on, after the one at sequence `after`, and collects their answers.

    `next`: every chunk before it is stored, the last one at `seq`. `trouble`: the first answer that does not say that
    the chunk was just stored; then nothing more may be sent. `domain`: of the bucket's JetStream, None where it is not
    known. `cut`: why the connection is gone; what became of the
    chunks in flight is not known then.
    """

    def __init__(
        self,
        session: Session,
        names: BucketNames,
        number: int,
        after: int,
        stored: Callable[[int], None],
        *,
        domain: str | None = None,
    ) -> None:
        self.next = number
        self.seq = after
        self.trouble: verdict.Verdict | None = None
        self.cut = ""
        self._session = session
        self._names = names
        self._home = verdict.Home(names.stream, domain)
        self._stored = stored
        self._beyond: dict[
            int, int
        ] = {}  # sequences of chunks that are stored after one without an answer yet, or not stored
        self._refused: list[int] = []
        self._repeated: list[int] = []
        self._pending: dict[int, int] = {}  # chunks in flight, by number: their bytes
        self._bytes = 0
        self._granted = 0  # bytes that may still leave with the next `flush`
        self._frames: list[Buffer] = []
        self._stir = asyncio.Event()

    async def room(self, size: int) -> bool:
        """Waits until a chunk of this size may go at once. Sends what was added before. False: none may go any more."""
        if size <= self._granted and self._bytes + size <= self._most:
            return not self.over
        await self.flush()
        while not self.over and self._pending and self._bytes + size > self._most:
            await self._something()
        if not self.over:
            try:
                self._granted = await self._session.room(bulk=True)
            except LinkDown as error:
                self.lost(str(error))
        return not self.over

    @property
    def _most(self) -> float:
        window = self._session.window
        return max(MAX_BYTES, 2 * window.on_the_way)

    def add(self, chunk: Chunk, digest: str, data: memoryview) -> None:
        """Takes the next chunk, for which there is `room`. It goes with the next `flush`; await nothing in between.

        Where no chunk is under way, this one carries the sequence of the chunk before it: the server refuses it if
        anything else came between. While some are under way, that sequence is not known yet. Then the connection keeps
        the chunks in order, and their ids refuse what an older connection may still bring late.
        """
        headers = chunk.headers(self._names, digest, None if self._pending else self.seq)
        self._pending[chunk.number] = len(data)
        self._bytes += len(data)
        subject = self._names.chunk_subject(chunk.nuid).encode()
        size = len(subject) + len(headers) + len(data) + FRAME_BYTES
        self._granted -= size
        self._frames += frame(subject, self._session.expect(self, chunk.number, size), headers, data)

    async def flush(self) -> None:
        """Sends what was added. Several chunks at once cost both ends less than one by one."""
        frames, self._frames, self._granted = self._frames, [], 0
        if not frames:
            return
        try:
            await self._session.send(frames)
        except LinkDown as error:
            self.lost(str(error))

    async def landed(self) -> None:
        """Sends what was added, and waits until all is answered or lost."""
        await self.flush()
        while self._pending:
            await self._something()

    @property
    def strays(self) -> list[int]:
        """The sequences of chunks that are stored after one that is not. They have to go, so that no gap stays.

        Complete only when all chunks are answered: not before that do we see whether a chunk is there of which the
        server says that it had it before.
        """
        missing = self._refused if self.cut else self._refused + self._repeated
        return [seq for number, seq in self._beyond.items() if missing and number > min(missing)]

    @property
    def repeated(self) -> bool:
        """Whether the trouble is that the server had the chunk before."""
        return isinstance(self.trouble, verdict.Stored)

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
        self._bytes -= size
        judged = verdict.judge(data, headers, self._home)
        if isinstance(judged, verdict.Stored) and not judged.duplicate:
            self._stored(size)
            self._beyond[key] = judged.seq
            self._close_up()
        else:
            self.trouble = self.trouble or judged
            (self._repeated if isinstance(judged, verdict.Stored) else self._refused).append(key)
        self._stir.set()

    def _close_up(self) -> None:
        while seq := self._beyond.get(self.next):
            if seq < self.seq:
                self.trouble = verdict.Again("upload_out_of_order", f"chunk {self.next} is at {seq}", 1.0)
                return
            del self._beyond[self.next]
            self.next, self.seq = self.next + 1, seq

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        self.cut = self.cut or reason
        self._pending.clear()
        self._stir.set()
