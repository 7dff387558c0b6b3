"""What the client does with each thing that its server sends."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from syncdaemon.link.inbound import Delivered, Garbage, Inbound, Word, info_of, most_of

_PASSES = "permissions violation"  # the one error of a server (-ERR) after which nats-server goes on

Answered = Callable[[int, bytes, bytes | None], None]
"""Gets an answer's token, its body, and its header block."""


class Heeding(Protocol):
    """What the parser calls, by nats-py's names: the client."""

    @property
    def max_payload(self) -> int: ...
    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None: ...
    async def _process_ping(self) -> None: ...
    async def _process_pong(self) -> None: ...
    async def _process_info(self, info: dict[str, Any]) -> None: ...
    async def _process_err(self, err_msg: str) -> None: ...


class Parser:
    """In the place of nats-py's parser, which waits for whatever size a server announces, and for a line without end.

    Plain answers to our inbox, which are nearly all that ever comes, take a short cut. Everything else is read by
    `Inbound`. Whatever goes wrong raises Garbage: another error would end nats-py's read loop, and not the connection.
    """

    def __init__(self, client: Heeding, answered: Answered) -> None:
        self.inbound = Inbound(most_of(client.max_payload))
        self.answer: re.Pattern[bytes] | None = None
        self._client = client
        self._answered = answered
        self._over = False

    @property
    def arriving(self) -> int:
        """Bytes of a line or a message that has not come to its end yet."""
        return self.inbound.waiting

    async def parse(self, data: bytes = b"") -> None:
        """Takes the next bytes; after an error of the server that ends the connection it takes none. Raises Garbage."""
        try:
            await self._parse(data)
        except Garbage:
            raise
        except Exception as error:
            raise Garbage(f"what the server sent can't be worked with: {error!r}") from error

    async def _parse(self, data: bytes) -> None:
        if self._over:
            return
        if self.answer is not None:
            if lacking := self.inbound.lacking:  # then the rest of these bytes can take the short cut again
                await self._read(data[:lacking])
                data = data[lacking:]
            if not self.inbound.begun:
                data = self._take_answers(self.inbound.take() + data if self.inbound.waiting else data, self.answer)
        if data:
            await self._read(data)

    async def _read(self, data: bytes) -> None:
        pinged = False
        for event in self.inbound.read(data):
            if isinstance(event, Delivered):
                await self._client._process_msg(*event)
            elif event.verb == b"PING":
                pinged = True
            elif await self._heed(event):
                return
        if pinged:  # one answer for as many as came at once
            await self._client._process_ping()

    async def _heed(self, word: Word) -> bool:
        """What the server says itself; whether the connection is over with that."""
        if word.verb == b"PONG":
            await self._client._process_pong()
        elif word.verb == b"INFO":
            await self._client._process_info(info_of(word.rest))
            self.inbound.most = most_of(self._client.max_payload)
        elif word.verb == b"-ERR":
            text = word.rest.decode(errors="replace").strip("'").lower()
            self._over = _PASSES not in text
            await self._client._process_err(f"'{text}'")
        return self._over

    def _take_answers(self, data: bytes, answer: re.Pattern[bytes]) -> bytes:
        """Consumes whole answers from the front of `data`; what is left."""
        at = 0
        while match := answer.match(data, at):
            start = match.end()
            end = start + int(match[2])
            if not data.startswith(b"\r\n", end):  # not all of it is there yet; or it is garbage, as `Inbound` says
                break
            self._answered(int(match[1]), data[start:end], None)
            at = end + 2
        return data[at:] if at else data
