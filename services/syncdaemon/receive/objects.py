"""Large files: fetched from an object store, as a stream of chunks that ends, or fails, but never hangs.

The layout is ADR-20's: a meta message under the name, and the chunks under the nuid that it tells. They are read with a
consumer of our own, which lives for one fetch, and pulled as fast as they can be written. A connection that breaks
costs the chunks that were on their way.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

from syncdaemon.appetite import Appetite
from syncdaemon.errors import LanePaused, LinkDown
from syncdaemon.incoming import delivery
from syncdaemon.link import Conversation, Heard, Link, Session
from syncdaemon.receive.consumer import pull, pull_subject

_NO_MESSAGES = 404
_TRIES = 10  # in a row without a chunk, while the link is up
_PAUSE = 1.0  # seconds between them
_IDLE = 30  # seconds after which the server forgets a consumer that was left behind
_CHUNKS = 256  # at most in one pull


class Missing(Exception):
    """The object is not there, or not all of it. It may come: a hub can have the message before the chunks."""


class Denied(Exception):
    """We may not read it."""


class _Object(NamedTuple):
    stream: str
    subject: str  # of all its chunks
    chunks: int


Take = Callable[[list[bytes]], Awaitable[None]]
"""Gets the next chunks, in order."""


async def fetch(link: Link, bucket: str, name: str, take: Take) -> None:
    """Hands every chunk to `take`. Waits for the link as long as it takes.

    Raises Missing, Denied, and what `take` raises.
    """
    found: _Object | None = None
    reader: _Reader | None = None
    vain = 0
    while vain < _TRIES:
        session = await link.wait_up()
        try:
            found = found or await _meta(session, bucket, name)
            reader = reader or _Reader(found, take)
            before = reader.done
            await reader.read(session)
            return
        except LinkDown:
            continue
        except PermissionError as error:
            raise Denied(f"{bucket}/{name} may not be read: {error}") from None
        except LanePaused as error:
            vain = vain + 1 if reader is None or reader.done == before else 0
            why = str(error)
            await asyncio.sleep(_PAUSE)
    raise Missing(f"{bucket}/{name}: {why}")


async def _meta(session: Session, bucket: str, name: str) -> _Object:
    stream = f"OBJ_{bucket}"
    subject = f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
    answer = await session.request_json(f"$JS.API.STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
    if answer is None:
        raise LanePaused("JetStream is not available")
    if refusal := answer.get("error"):
        raise Missing(f"{bucket}/{name}: {refusal.get('description')}")
    try:
        info: dict[str, Any] = json.loads(base64.b64decode(answer["message"].get("data", "")))
        found = _Object(stream, f"$O.{bucket}.C.{info['nuid']}", int(info["chunks"]))
    except (ValueError, LookupError, TypeError) as error:
        raise Missing(f"{bucket}/{name}: its meta message can't be read ({error!r})") from None
    if info.get("deleted"):
        raise Missing(f"{bucket}/{name} was deleted")
    return found


class _Reader:
    """Reads the chunks of one object, over several sessions if need be: `done` of them are taken."""

    def __init__(self, found: _Object, take: Take) -> None:
        self.done = 0
        self._object = found
        self._take = take
        self._next_seq = 1
        self._arrived: list[Heard] = []

    async def read(self, session: Session) -> None:
        """All that is left. Raises LanePaused where the server has something in the way, Missing, LinkDown."""
        if self.done >= self._object.chunks:
            return
        name = f"receive-{secrets.token_hex(8)}"
        await self._make_consumer(session, name)
        self._arrived.clear()
        async with session.converse(pull_subject(self._object.stream, name)) as conversation:
            await self._pull(conversation)
        with suppress(PermissionError):  # then it is forgotten after a while
            await session.request_json(f"$JS.API.CONSUMER.DELETE.{self._object.stream}.{name}")

    async def _make_consumer(self, session: Session, name: str) -> None:
        stream, subject = self._object.stream, self._object.subject
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
        request = {"stream_name": stream, "config": config}
        answer = await session.request_json(f"$JS.API.CONSUMER.CREATE.{stream}.{name}.{subject}", request)
        if answer is None or "error" in answer:
            told = answer["error"].get("description") if answer else "JetStream is not available"
            raise LanePaused(f"{stream}: {told}")

    async def _pull(self, conversation: Conversation) -> None:
        appetite = Appetite(_CHUNKS)
        while (left := self._object.chunks - self.done) > 0:
            ask = appetite.next(0, 0, 0)
            assert ask is not None  # nothing is held
            ask = ask._replace(messages=min(ask.messages, left))
            pulled = await pull(conversation, ask, False, self._arrived.append)
            appetite.ended(ask, pulled.messages, pulled.seconds, pulled.too_large)
            if self._arrived:
                await self._hand_on()
            elif pulled.status is not None and pulled.status.code == _NO_MESSAGES:
                raise Missing(f"{self._object.subject}: only {self.done} of {self._object.chunks} chunks are there")
            elif not pulled.too_large:
                told = pulled.status.words if pulled.status else "no answer to a pull"
                raise LanePaused(f"{self._object.subject}: {told}")

    async def _hand_on(self) -> None:
        chunks, self._arrived[:] = list(self._arrived), []
        await self._take([chunk.data for chunk in chunks])
        self.done += len(chunks)
        self._next_seq = delivery(chunks[-1].reply).seq + 1
