"""The frames of a server: what our parser hands on is the same however the network cuts the bytes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import nats.errors

from syncdaemon.link.client import Client
from tests.fuzz import mutate
from tests.fuzz.surface import Case, Surface

INBOX, LISTENED = 1, 2
PREFIX = b"_INBOX.fuzz."
INFO: dict[str, Any] = {
    "server_id": "NABC",
    "server_name": "hub",
    "version": "2.15.1",
    "proto": 1,
    "headers": True,
    "max_payload": 1_048_576,
    "jetstream": True,
    "connect_urls": ["10.0.0.1:4222"],
    "domain": "hub",
    "cluster": "c",
}
WORDS = (b"'Permissions Violation for Publish to \"a\"'", b"'Stale Connection'", b"'Maximum Payload Violation'", b"''")

Heard = tuple[Any, ...]


class Listening(Client):
    """Our client without a connection: it writes down what the parser hands on."""

    def __init__(self) -> None:
        super().__init__(self._answer, self._pong)
        self.heard: list[Heard] = []
        self._inbox_sid, self._token_at = INBOX, len(PREFIX)
        self._ps.answer = re.compile(rb"MSG %b([0-9]{1,15}) %d ([0-9]{1,10})\r\n" % (re.escape(PREFIX), INBOX))
        self._listeners[LISTENED] = self._listened
        self._setup_server_pool(["nats://127.0.0.1:4222"])
        self._current_server = self._server_pool[0]
        self.options["dont_randomize"] = True

    def _answer(self, token: int, data: bytes, headers: bytes | None) -> None:
        assert isinstance(token, int)
        self.heard.append(("answer", token, data, headers))

    def _listened(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.heard.append(("message", subject, reply, data, headers))

    def _pong(self) -> None:
        self.heard.append(("pong",))

    async def _process_err(self, err_msg: str) -> None:
        self.heard.append(("error", err_msg))

    async def _process_ping(self) -> None:
        """Not written down: one answer is enough for as many as come at once."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        await super()._process_info(info, initial_connection)
        self.heard.append(("info", self._max_payload, self.server, self.cluster))


def frame(random: Random) -> bytes:
    """One frame as a server sends it."""
    body = random.choice((b"", b'{"stream":"swarm_jobs","seq":7}', random.randbytes(20), b"PING\r\n"))
    head = random.choice((b"NATS/1.0\r\nNats-Msg-Id: a\r\n\r\n", b"NATS/1.0 503\r\n\r\n", b"NATS/1.0 100 Idle\r\n\r\n"))
    token = b"%d" % random.choice((1, 2, 77, 10**12))
    to = random.choice((b"%b%b %d" % (PREFIX, token, INBOX), b"edge.replay.a.b %d $JS.ACK.s.w.1.2.3.4.5" % LISTENED))
    match random.randrange(9):
        case 0:
            return b"PING\r\n"
        case 1:
            return b"PONG\r\n"
        case 2:
            return b"+OK\r\n"
        case 3:
            return b"-ERR %b\r\n" % random.choice(WORDS)
        case 4:
            written = mutate.spelled(random, INFO) if random.random() < 0.5 else json.dumps(INFO).encode()
            return b"INFO %b\r\n" % written.replace(b"\r", b"").replace(b"\n", b"")
        case 5 | 6:
            return b"HMSG %b %d %d\r\n%b%b\r\n" % (to, len(head), len(head) + len(body), head, body)
        case _:
            return b"MSG %b %d\r\n%b\r\n" % (to, len(body), body)


@contextmanager
def ready() -> Iterator[Case]:
    loop = asyncio.new_event_loop()

    def listen(parts: list[bytes]) -> tuple[list[Heard], bool]:
        """What was handed on, and whether the connection was given up. Any other error is a failure."""
        client, given_up = Listening(), False

        async def read() -> None:
            for part in parts:
                await client._ps.parse(part)

        try:
            loop.run_until_complete(read())
        except (nats.errors.Error, OSError):
            given_up = True
        # As the rest of the link takes it: a number of bytes, and words.
        assert type(client._max_payload) is int
        assert {type(word) for word in client.server.values()} == {str}
        return client.heard, given_up

    def case(random: Random) -> None:
        whole = b"".join(frame(random) for _ in range(random.choice((1, 2, 3, 6))))
        if random.random() < 0.7:
            whole = mutate.data(random, whole)
        at_once, cut = listen([whole]), listen(list(mutate.pieces(random, whole)))
        # Cut, it may be given up later, or not yet: what is handed on until then is the same.
        shorter = min(len(at_once[0]), len(cut[0]))
        assert at_once[0][:shorter] == cut[0][:shorter], (whole, at_once, cut)
        if not (at_once[1] or cut[1]):
            assert at_once == cut, (whole, at_once, cut)

    try:
        yield case
    finally:
        loop.close()


SURFACE = Surface("frames", "the protocol's frames, cut into pieces", ready)
