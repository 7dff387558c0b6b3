"""The event stream on real connections: it ends for those who do not read, who are too many, and at the stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from syncdaemon.dev.server import HOST
from syncdaemon.web import callers, live
from syncdaemon.web.live import MOST_OF_ONE
from syncdaemon.web.server import Web
from syncdaemon.web.views import Check, Views

pytestmark = pytest.mark.integration

ASK = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
FOREIGN = b"GET /events HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n"


class Changing:
    """A state that is another one at each look, `size` characters large."""

    def __init__(self, size: int) -> None:
        self._size, self._looks = size, 0

    async def look(self) -> dict[str, Any]:
        self._looks += 1
        return {"text": f"{self._looks} ".ljust(self._size, "x")}


@asynccontextmanager
async def served(size: int = 100) -> AsyncIterator[Web]:
    views = Views(bytes, lambda: {"one": Check(True, "")}, frozenset(), dict, Changing(size).look)
    web = Web(HOST, 0, views)
    await web.start()
    try:
        yield web
    finally:
        await web.stop()


def connected(web: Web, sent: bytes = ASK) -> socket.socket:
    """One that takes little at a time. The caller reads it, or does not."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect((HOST, web.port))
    one.sendall(sent)
    one.setblocking(False)
    return one


async def read_until(one: socket.socket, wanted: bytes, within: float = 30.0) -> bytes:
    """What came, up to what is wanted or the end."""
    found = b""
    async with asyncio.timeout(within):
        while wanted not in found:
            piece = await asyncio.get_running_loop().sock_recv(one, 65_536)
            if not piece:
                return found
            found += piece
    return found


async def head_of(one: socket.socket) -> bytes:
    """The first line of an answer; what follows is not read."""
    found = b""
    async with asyncio.timeout(30):
        while not found.endswith(b"\r\n"):
            found += await asyncio.get_running_loop().sock_recv(one, 1)
    return found


async def place_is_free(web: Web) -> None:
    """Returns as soon as another one may look."""
    async with asyncio.timeout(30):
        while True:
            with connected(web) as one:
                if b"200 OK" in await head_of(one):
                    return
            await asyncio.sleep(0.05)


async def test_events_come_as_they_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_EVERY", 0.02)
    async with served() as web:
        with connected(web) as one:
            head = await read_until(one, b"\r\n\r\n")
            assert b"200 OK" in head
            assert b"text/event-stream" in head
            assert b'"whole":true' in head + await read_until(one, b'"whole":true')
            await read_until(one, b'"whole":false')


async def test_a_page_of_another_site_gets_none() -> None:
    async with served() as web:
        with connected(web, FOREIGN) as one:
            assert b"403" in await read_until(one, b"\r\n")


async def test_a_stream_that_is_not_read_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And its place is free again: what it did not take is kept nowhere but in the kernel."""
    monkeypatch.setattr(live, "_EVERY", 0.01)
    monkeypatch.setattr(callers, "ANSWER_SECONDS", 1.0)
    async with served(size=20_000) as web:
        lazy = [connected(web) for _ in range(MOST_OF_ONE)]
        for one in lazy:
            await head_of(one)
        with connected(web) as refused:
            assert b"503" in await head_of(refused)
        await place_is_free(web)
        for one in lazy:
            one.close()


async def test_places_are_given_back_when_browsers_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_EVERY", 0.02)
    async with served() as web:
        for _ in range(3):
            some = [connected(web) for _ in range(MOST_OF_ONE)]
            for one in some:
                await read_until(one, b'"whole":true')
            with connected(web) as one_more:
                assert b"503" in await read_until(one_more, b"\r\n")
            for one in some:
                one.close()
            await place_is_free(web)


async def test_the_stop_does_not_wait_for_those_who_look() -> None:
    async with served() as web:
        with connected(web) as one:
            await read_until(one, b'"whole":true')
            await web.stop()
            async with asyncio.timeout(30):
                while await asyncio.get_running_loop().sock_recv(one, 65_536):
                    pass
