"""Large files are fetched from an object store, chunk by chunk. A fetch ends or fails; it never hangs.

The chunks (ADR-20) are read with a consumer of our own, which lives for one connection, and pulled as fast as they can
be written. When a connection breaks, the chunks that were on their way are fetched again.
An object that breaks every connection is given up (`blame`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from syncdaemon.base.errors import LanePaused, LinkDown, Unsendable
from syncdaemon.link import Conversation, Heard, Link
from syncdaemon.receive.blame import Attempts, Blame, Harmful
from syncdaemon.receive.pull.consumer import pull
from syncdaemon.receive.pull.demand import Ask, Demand
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.fetch import Chunks, chunks
from syncdaemon.stream.object_format import Chunk, ObjectPlace
from syncdaemon.stream.pulled import delivery
from syncdaemon.stream.stored import header_fields

_TRIES = 10  # in a row without a chunk, while the link is up
_PAUSE = 1.0  # seconds between tries
_IDLE = 30  # seconds after which the server forgets a consumer that was left behind
_CHUNKS = 256  # at most in one pull


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
                        api = Api(session)
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
    found = await chunks(api, place)
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
        self._arrived: list[Heard] = []

    async def read(self, api: Api, begun: Callable[[], None]) -> None:
        """Reads all that is left; `begun` is called when more of it is taken.

        Raises LanePaused where the server does not give it now, Missing, LinkDown.
        """
        if not self._chunks.number:
            await self._begin()
        if self.done >= self._chunks.number:
            return
        name = f"receive-{secrets.token_hex(8)}"
        pending = await self._make_consumer(api, name)
        self._look(self.done + pending)
        await self._begin()
        self._arrived.clear()
        async with api.pulls(self._chunks.stream, name) as conversation:
            await self._pull(conversation, api.session.largest, begun)
        with suppress(PermissionError, LanePaused):  # then it is forgotten after a while
            await api.delete_consumer(self._chunks.stream, name)

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            await self._target.begin(self._chunks)

    def _look(self, there: int) -> None:
        """Raises Missing where chunks are missing: then none is fetched, however many are there."""
        if there < self._chunks.number:
            raise Missing(f"{self._chunks.subject}: only {there} of {self._chunks.number} chunks are there")

    async def _make_consumer(self, api: Api, name: str) -> int:
        """How many messages it has to give."""
        stream, subject = self._chunks.stream, self._chunks.subject
        config = {
            "name": name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._next_seq,
            "filter_subject": subject,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": int(_IDLE * 1e9),
        }
        answer = await api.create_consumer(stream, config, tail=subject)
        if isinstance(answer, ApiRefusal):
            raise answer.paused(stream)
        return answer.pending

    async def _pull(self, conversation: Conversation, largest: int, begun: Callable[[], None]) -> None:
        demand = Demand(_CHUNKS)
        while (left := self._chunks.number - self.done) > 0:
            ask = demand.next(0, 0, 0)
            assert ask is not None  # nothing is held
            ask = Ask(min(ask.messages, left), ask.size or largest)
            pulled = await pull(conversation, ask, 0, self._arrived.append)
            demand.ended(ask, pulled.messages, pulled.seconds, pulled.too_large)
            if self._arrived:
                await self._hand_on()
                begun()
            elif pulled.status is not None and pulled.status.no_messages:
                self._look(self.done)
            elif not pulled.too_large or pulled.blocked(ask, largest):
                why = pulled.status.words if pulled.status else "no answer to a pull"
                raise LanePaused(f"{self._chunks.subject}: {why}")

    async def _hand_on(self) -> None:
        arrived, self._arrived[:] = list(self._arrived), []
        try:
            last = delivery(arrived[-1].reply)
        except ValueError as error:
            raise LanePaused(f"{self._chunks.subject}: a chunk without its sequence: {error}") from None
        pieces: list[bytes] = []
        for heard in arrived:
            number = _number(heard)
            if number is None or number == self.done + len(pieces):
                pieces.append(heard.data)
        if pieces:
            await self._target.write(pieces)
        self.done += len(pieces)
        self._next_seq = last.seq + 1


def _number(heard: Heard) -> int | None:
    """Which chunk of its object this is; None where it does not say.

    A hub that sources a site's bucket also has what the site took out and sent again: a number twice, or early.
    """
    chunk = Chunk.from_id(header_fields(heard.headers or b"").get("Nats-Msg-Id", ""))
    return chunk.number if chunk else None
