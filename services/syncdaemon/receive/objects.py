"""Large files are fetched from an object store, chunk by chunk. A fetch ends or fails; it never hangs.

The chunks (ADR-20) are read by direct gets, as fast as they can be written: while some are written, the next are on
their way. When a connection breaks, or an answer is cut, the chunks that were on their way are fetched again.
An object that breaks every connection is given up (`blame`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from syncdaemon.base.errors import LanePaused, LinkDown, Unsendable
from syncdaemon.link import Link
from syncdaemon.receive.blame import Attempts, Blame, Harmful
from syncdaemon.receive.pull.demand import Ask, Demand
from syncdaemon.stream.api import Api
from syncdaemon.stream.chunks import Batch, ChunkReader, Chunks, Unreadable, chunks
from syncdaemon.stream.object_format import Chunk, ObjectPlace
from syncdaemon.stream.stored import StoredMessage

_TRIES = 10  # in a row without a chunk, while the link is up
_PAUSE = 1.0  # seconds between tries
_CHUNKS = 256  # at most in one request


class Missing(Exception):
    """The object is not there, or not all of it. It may still come: a hub can have the message before the chunks."""


class Denied(Exception):
    """We may not read it."""


class Target(Protocol):
    """What an object is fetched for."""

    async def begin(self, chunks: Chunks) -> None:
        """All chunks are there, and will be fetched now. Called once."""

    async def write(self, pieces: list[bytes]) -> None:
        """Gets the next chunks, in order."""


class Fetcher:
    """Fetches objects over the link, any number at the same time."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._blame = Blame()

    async def fetch(self, place: ObjectPlace, target: Target) -> None:
        """Hands every chunk to `target`. Waits for the link as long as it takes.

        Raises Missing, Denied, Cut, Harmful, and what the target raises.
        """
        reader: _Reader | None = None
        vain, why, cuts = 0, "", Attempts(str(place))
        try:
            while vain < _TRIES:
                async with self._blame.turn() as begun:
                    session = await self._link.wait_up()
                    done = reader.done if reader else 0
                    try:
                        api = Api.over(session)
                        reader = reader or _Reader(await _chunks(api, place), target)
                        await reader.read(api, begun)
                        return
                    except LinkDown:
                        self._blame.ended(cuts, session, moved=reader is not None and reader.done > done)
                        continue
                    except PermissionError as error:
                        raise Denied(f"{place} may not be read: {error}") from None
                    except Unsendable as error:
                        raise Harmful(f"{place} can't be asked for: {error}") from None
                    except LanePaused as error:
                        vain = 0 if reader and reader.done > done else vain + 1
                        why = str(error)
                await asyncio.sleep(_PAUSE)
            raise Missing(f"{place}: {why}")
        finally:
            self._blame.forget(cuts)


async def _chunks(api: Api, place: ObjectPlace) -> Chunks:
    try:
        found = await chunks(api, place)
    except Unreadable as error:
        raise Missing(str(error)) from None
    if found is None:
        raise Missing(f"there is no object {place}")
    return found


class _Reader:
    """Reads the chunks of one object, over several sessions if need be: `done` of them are taken."""

    def __init__(self, chunks: Chunks, target: Target) -> None:
        self.done = 0
        self._chunks = chunks
        self._target = target
        self._begun = False
        self._next_seq = 1
        self._demand = Demand(_CHUNKS)

    async def read(self, api: Api, begun: Callable[[], None]) -> None:
        """Reads all that is left; `begun` is called when more of it is taken.

        Raises LanePaused where the server does not give it now, Missing, LinkDown.
        """
        if not self._chunks.number:
            await self._begin()
        if self.done >= self._chunks.number:
            return
        async with api.gets(self._chunks.stream) as conversation:
            reader = ChunkReader(api.session, conversation, self._chunks)
            asked = await self._ask(reader, 0)
            while self.done < self._chunks.number:
                batch = await reader.batch()
                self._look(batch)
                await self._begin()
                pieces = self._in_order(batch)
                self._demand.ended(asked, len(batch.pieces), batch.seconds, _filled(batch, asked))
                if self.done + len(pieces) < self._chunks.number:
                    asked = await self._ask(reader, len(pieces))  # so that the link is not idle meanwhile
                if pieces:
                    await self._target.write(pieces)
                self.done += len(pieces)
                begun()

    async def _ask(self, reader: ChunkReader, coming: int) -> Ask:
        """Asks for what comes behind the chunks that are taken, and behind those that are about to be."""
        ask = self._demand.next(0, 0, 0)
        assert ask is not None  # nothing is held
        ask = Ask(min(ask.messages, self._chunks.number - self.done - coming), ask.size)
        await reader.ask(self._next_seq, ask.messages, ask.size)
        return ask

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            await self._target.begin(self._chunks)

    def _look(self, batch: Batch) -> None:
        """Raises Missing where chunks are missing: then none is taken, however many are there.

        Raises LanePaused where nothing came that could be taken.
        """
        left = batch.pieces[-1].left if batch.pieces else batch.left
        if left is None:
            raise LanePaused(f"{self._chunks.subject}: no answer to a direct get")
        there = self.done + len(batch.pieces) + left
        if there < self._chunks.number:
            raise Missing(f"{self._chunks.subject}: only {there} of {self._chunks.number} chunks are there")
        if not batch.pieces:
            raise LanePaused(f"{self._chunks.subject}: {left} chunks are left, and none of them comes")

    def _in_order(self, batch: Batch) -> list[bytes]:
        """The chunks of a batch that come next in the object."""
        pieces: list[bytes] = []
        for piece in batch.pieces:
            number = _number(piece.message)
            if number is None or number == self.done + len(pieces):
                pieces.append(piece.message.data)
        self._next_seq = batch.pieces[-1].message.seq + 1
        return pieces[: self._chunks.number - self.done]


def _filled(batch: Batch, asked: Ask) -> bool:
    """Whether it was ended by its bytes, and there is more."""
    return bool(batch.left) and len(batch.pieces) < asked.messages


def _number(message: StoredMessage) -> int | None:
    """Which chunk of its object this is; None where it does not say.

    A hub that sources a site's bucket also has what the site took out and sent again: a number twice, or early.
    """
    chunk = Chunk.from_id(message.msg_id)
    return chunk.number if chunk else None
