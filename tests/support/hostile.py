"""A server that speaks the client protocol as far as a daemon needs it, and then lies.

    with HostileServer(ack=lambda: b'{"stream":"OTHER","seq":1}') as server:
        daemon = make_daemon(server.url)        # publishes, and gets that for an answer

Everything is right that no argument makes wrong. The stream that it shows is the one of a daemon's defaults, with
nothing in it, and it stores nothing.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Self

from syncdaemon.dev.server import HOST
from tests.support.ports import own_port

INFO: dict[str, Any] = {
    "server_id": "HOSTILE",
    "server_name": "hostile",
    "version": "2.15.1",
    "proto": 1,
    "headers": True,
    "max_payload": 1 << 20,
}
STREAM: dict[str, Any] = {
    "config": {
        "name": "swarm_jobs",
        "subjects": ["edge.replay.*.*"],
        "retention": "limits",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "discard_new_per_subject": True,
        "max_msg_size": -1,
        "duplicate_window": 120_000_000_000,
    },
    "state": {"messages": 0, "bytes": 0, "first_seq": 1, "last_seq": 0, "consumer_count": 0},
    "created": "2026-01-01T00:00:00Z",
    "ts": "2026-01-02T00:00:00Z",
}
_REFUSED = {"error": {"code": 400, "err_code": 10060, "description": "expected stream does not match"}}
_NOT_FOUND = {"error": {"code": 404, "err_code": 10037, "description": "no message found"}}


def greeting(**changes: Any) -> bytes:
    """The first line of a server, with these fields instead."""
    return b"INFO " + json.dumps(INFO | changes).encode() + b"\r\n"


class HostileServer:
    """Runs in a thread of its own for as long as the body lasts.

    `greeting`: its first line; `then`: what it sends behind the answer to a client's second PING, which is the end of
    connecting; `stream`: what it shows of the stream; `ack`: its answer to a message of a file; `api`: to a call of the
    API, None for the right one. `connections` and `published` count what came.
    """

    def __init__(
        self,
        *,
        greeting: bytes = greeting(),
        then: Iterable[bytes] = (),
        stream: dict[str, Any] = STREAM,
        ack: Callable[[], bytes] = lambda: b'{"stream":"swarm_jobs","seq":1}',
        api: Callable[[str], bytes | None] = lambda subject: None,
    ) -> None:
        self._greeting, self._then, self._stream, self._ack, self._api = greeting, then, stream, ack, api
        self.connections = self.published = 0
        self.port = own_port()
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    @property
    def url(self) -> str:
        """Where a client connects to."""
        return f"nats://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        clients: set[asyncio.Task[None]] = set()

        def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            client = asyncio.ensure_future(self._talk(reader, writer))
            clients.add(client)
            client.add_done_callback(clients.discard)

        server = await asyncio.start_server(greet, HOST, self.port)
        self._listening.set()
        await self._stop.wait()
        server.close()
        for client in list(clients):
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        pings = 0
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                writer.write(self._greeting)
                while True:
                    verb, *words = (await reader.readuntil(b"\r\n")).split()
                    if verb == b"PING":
                        pings += 1
                        writer.write(b"PONG\r\n")
                        if pings == 2:
                            for piece in self._then:
                                writer.write(piece)
                                await writer.drain()
                    elif verb in (b"PUB", b"HPUB"):
                        data = await reader.readexactly(int(words[-1]) + 2)
                        if len(words) == (4 if verb == b"HPUB" else 3):
                            answer = self._answer(words[0].decode(), data)
                            writer.write(b"MSG %b 1 %d\r\n%b\r\n" % (words[1], len(answer), answer))
        finally:
            writer.transport.abort()

    def _answer(self, subject: str, data: bytes) -> bytes:
        if subject.startswith("$JS.API.") and (lie := self._api(subject)) is not None:
            return lie
        if subject.startswith("$JS.API.STREAM.INFO."):
            return json.dumps(self._stream).encode()
        if subject.startswith("$JS.API."):
            return json.dumps(_NOT_FOUND).encode()
        if b"Nats-Expected-Stream: no.stream\r\n" in data:
            return json.dumps(_REFUSED).encode()
        self.published += 1
        return self._ack()
