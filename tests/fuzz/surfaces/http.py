"""The HTTP side: any bytes on a socket of the real server. It answers, or closes; and goes on for everybody else."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random

from aiohttp.http_exceptions import HttpProcessingError

from syncdaemon.web.server import Web
from syncdaemon.web.views import Check, Views
from tests.fuzz import mutate
from tests.fuzz.surface import Case, Surface

PAGES = (
    "/metrics",
    "/livez",
    "/readyz",
    "/healthz",
    "/status",
    "/",
    "/../etc/passwd",
    "/status/%2e%2e",
    "*",
    "//livez",
)
METHODS = ("GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PRI", "get", "")
HEADERS = (
    *("Host: localhost", "Connection: keep-alive", "Connection: close", "Content-Length: 0", "Content-Length: 5"),
    *(
        "Content-Length: -1",
        "Content-Length: 5\r\nContent-Length: 6",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
    ),
    *("Transfer-Encoding: chunked\r\nContent-Length: 3", "Upgrade: websocket", "Origin: http://evil", " folded: x"),
    *(
        "Authorization: Basic \x00",
        "Authorization: Bearer x",
        "Range: bytes=0-1",
        "Accept-Encoding: gzip, zstd",
        "X: y" * 3000,
    ),
)
_PIPELINED = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
_LAST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: a reset at the end, so that no port is kept
_ANSWER = re.compile(rb"HTTP/\d\.\d ([1-5]\d\d) ")
_TURNS = 25  # of the loop, which server and client have in common: by then all that can be answered is
_EVERY = 200  # cases between two looks at whether others are still served


class Complaints(logging.Handler):
    """Keeps what the server's library says of errors that are not the client's."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not isinstance((record.exc_info or (None, None))[1], HttpProcessingError):
            self.said.append(self.format(record))


def request(random: Random) -> bytes:
    """One request, or what is almost one."""
    lines = [f"{random.choice(METHODS)} {random.choice(PAGES)} HTTP/{random.choice(('1.1', '1.1', '1.0', '2.0', '9'))}"]
    lines += random.sample(HEADERS, random.choice((0, 1, 2, 4)))
    body = random.choice(("", "", "hello", "5\r\nhello\r\n0\r\n\r\n", "fffffffff\r\n", "0\r\n\r\n"))
    whole = "\r\n".join([*lines, "", body]).encode("latin-1")
    if random.random() < 0.2:
        whole += _PIPELINED * random.choice((1, 3))
    return mutate.data(random, whole) if random.random() < 0.7 else whole


@contextmanager
def ready() -> Iterator[Case]:
    loop, complaints = asyncio.new_event_loop(), Complaints()
    views = Views(lambda: b"a 1\n", lambda: {"it": Check(True, "fine")}, frozenset({"it"}), lambda: {"site": "edge-1"})
    web = loop.run_until_complete(_made(views))
    loop.set_exception_handler(lambda _, context: complaints.said.append(repr(context)))
    logging.getLogger().addHandler(complaints)
    calls = 0

    def case(random: Random) -> None:
        nonlocal calls
        sent = request(random)
        parts = list(mutate.pieces(random, sent))[:20] if random.random() < 0.2 else [sent]
        answer = loop.run_until_complete(_exchange(loop, web.port, parts))
        found = _ANSWER.match(answer)
        assert found or not answer, (sent, answer)
        assert found is None or found[1] != b"500", (sent, answer)
        assert b"root:" not in answer
        calls += 1
        if calls % _EVERY == 0:
            served = loop.run_until_complete(_exchange(loop, web.port, [_LAST], seconds=10))
            assert served.startswith(b"HTTP/1.1 200 "), served
        assert complaints.said == [], (sent, complaints.said)

    try:
        yield case
    finally:
        loop.run_until_complete(web.stop())
        logging.getLogger().removeHandler(complaints)
        loop.close()


async def _made(views: Views) -> Web:
    web = Web("127.0.0.1", 0, views)
    await web.start()
    return web


async def _exchange(loop: asyncio.AbstractEventLoop, port: int, parts: list[bytes], seconds: float = 0) -> bytes:
    """Sends these bytes; what comes back at once, or, with `seconds`, until the server closes."""
    answer: list[bytes] = []
    with socket.socket() as client:
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        with suppress(OSError):
            await loop.sock_connect(client, ("127.0.0.1", port))
            for part in parts:
                await loop.sock_sendall(client, part)
            if seconds:
                async with asyncio.timeout(seconds):
                    while data := await loop.sock_recv(client, 65536):
                        answer.append(data)
            for _ in range(_TURNS):
                await asyncio.sleep(0)
                with suppress(BlockingIOError):
                    answer.append(client.recv(65536))
    return b"".join(answer)


SURFACE = Surface("http", "bytes on a socket of the web server", ready)
