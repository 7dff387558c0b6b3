"""The chunks of an object, read from its bucket without a consumer: by direct gets, many chunks each.

A reader needs one right for it, `DIRECT.GET` of the bucket's stream, and leaves nothing behind at the server.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import NamedTuple

from syncdaemon.base.errors import LanePaused
from syncdaemon.link import Conversation, Session
from syncdaemon.stream import direct
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.direct import End, Piece
from syncdaemon.stream.object_format import BucketNames, Meta, ObjectPlace
from syncdaemon.stream.stored import StoredMessage

_LOOK_SECONDS = 15.0  # without an answer for so long, and with nothing on its way: the rest is asked for again
_LOOKS = 40  # at most in a row: a chunk may be minutes on its way, and others may be before it
_COUNT, _SIZE = 256, 1 << 20  # of a request that is not sized by its caller


class Chunks(NamedTuple):
    """Where the content of an object lies: on one subject of a stream, in `number` messages, in order.

    `size`: how many bytes it has, as its meta tells.
    """

    stream: str
    subject: str
    number: int
    size: int

    @classmethod
    def of(cls, names: BucketNames, message: StoredMessage) -> Chunks | None:
        """Those of which a meta tells; None where it tells of none."""
        meta = Meta.decode(message.data, message.seq)
        return cls(names.stream, names.chunk_subject(meta.nuid), meta.chunks, meta.size) if meta.nuid else None


class Unreadable(LanePaused):
    """No server answers a direct get of the bucket."""


async def chunks(api: Api, place: ObjectPlace) -> Chunks | None:
    """Those of an object of the Object Store; None where the copy of the bucket that answers has no such object.

    Raises LinkDown; PermissionError where the server does not let us; LanePaused where it cannot now; Unreadable where
    nothing answers, because there is no bucket, it gives no direct gets, or the right to them is another account's.
    """
    names = place.names
    found = await api.newest(names.stream, names.meta_subject(place.name))
    if isinstance(found, ApiRefusal):
        raise _refused(found, names.stream)
    return Chunks.of(names, found) if found else None


def _refused(refusal: ApiRefusal, stream: str) -> LanePaused:
    if not refusal.unanswered:
        return refusal.paused(f"stream {stream}")
    why = "there is none, it has no allow_direct, no right to read it, or it is not available now"
    return Unreadable(f"no server answers a direct get of the stream {stream}: {why}")


class Batch(NamedTuple):
    """What one request brought, in order, in so many `seconds` from the first to the last.

    `left`: how many more there are behind it; None where the answer was cut, so that this is not known.
    """

    pieces: list[Piece]
    seconds: float
    left: int | None


class ChunkReader:
    """Asks for chunks over a conversation, one request after the other."""

    def __init__(self, session: Session, conversation: Conversation, chunks: Chunks) -> None:
        self._session, self._conversation, self._chunks = session, conversation, chunks
        self._seq = 0

    async def ask(self, seq: int, count: int, size: int) -> None:
        """Asks for the chunks from this sequence on: so many, and about so many bytes. Raises LinkDown."""
        self._seq = seq
        await self._conversation.ask(direct.several(self._chunks.subject, seq, count, size))

    async def batch(self) -> Batch:
        """All that comes of the newest request.

        Messages can be lost between two servers, and a server can stop in the middle of an answer. Then the batch ends
        with the last chunk before. Raises LinkDown, PermissionError, and LanePaused where the server refuses.
        """
        pieces: list[Piece] = []
        first = last = time.monotonic()
        while True:
            answer = await self._next()
            if isinstance(answer, ApiRefusal):
                raise _refused(answer, self._chunks.stream)
            if answer is None:
                return Batch(pieces, last - first, None)
            if isinstance(answer, End):
                return Batch(pieces, last - first, answer.left)
            if not self._follows(pieces, answer):
                return Batch(pieces, last - first, None)
            last = time.monotonic()
            first = last if not pieces else first
            pieces.append(answer)

    def _follows(self, pieces: list[Piece], piece: Piece) -> bool:
        """Whether nothing is missing between this chunk and those before it."""
        before = pieces[-1].message.seq if pieces else 0
        return piece.before == before and piece.message.seq >= max(self._seq, before + 1)

    async def _next(self) -> Piece | End | ApiRefusal | None:
        """The next answer; None where none comes. What is still on its way is waited for."""
        for _ in range(_LOOKS):
            try:
                heard = await self._conversation.next(_LOOK_SECONDS)
            except TimeoutError:
                if not self._session.arriving:
                    return None
                continue
            if heard.reply:
                raise LanePaused(f"{self._chunks.subject}: an answer to a direct get that wants an answer")
            return direct.piece_of(heard, self._chunks.stream, self._chunks.subject)
        return None


async def bodies(api: Api, chunks: Chunks) -> AsyncGenerator[bytes, None]:
    """What is in the chunks, one after another. Raises as `ChunkReader.batch`."""
    seq, left = 1, 1
    async with api.gets(chunks.stream) as conversation:
        reader = ChunkReader(api.session, conversation, chunks)
        while left:
            await reader.ask(seq, _COUNT, _SIZE)
            batch = await reader.batch()
            if not batch.pieces and batch.left != 0:
                raise LanePaused(f"{chunks.subject}: reading its chunks does not go on")
            for piece in batch.pieces:
                seq = piece.message.seq + 1
                yield piece.message.data
            left = batch.pieces[-1].left if batch.pieces else 0
