"""The web side as it stands: started, asked in right and in wrong ways, stopped."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import ClassVar

import pytest
from aiohttp import ClientSession
from structlog.testing import capture_logs

from syncdaemon.base.errors import SettingsError
from syncdaemon.web.server import Web
from syncdaemon.web.views import Check, Views
from tests.support.callers import Answered, get, said
from tests.support.client import hang_up, opened

pytestmark = pytest.mark.integration

HOST = "127.0.0.1"
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


def views(metrics: Callable[[], bytes] = bytes) -> Views:
    return Views(metrics, lambda: {"it": Check(True, "")}, frozenset({"it"}), dict)


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    web = Web(HOST, 0, views())
    await web.start()
    yield web
    await web.stop()


@pytest.fixture(autouse=True)
async def none_is_left() -> AsyncIterator[None]:
    """Every connection that a test has opened is closed behind it, also where the test fails."""
    yield
    while Waiting.all:
        await hang_up(Waiting.all.pop().writer)


async def heard(web: Web, sent: bytes) -> bytes:
    """All that comes back until the connection is closed, or for a second."""
    return await asyncio.to_thread(said, (HOST, web.port), sent, 1.0)


async def asked(web: Web, path: str, method: str = "GET", **fields: str) -> Answered:
    return await asyncio.to_thread(get, (HOST, web.port), path, method, **fields)


async def test_every_page_answers_and_nothing_in_it_is_deprecated(web: Web) -> None:
    """Run by pytest, a warning of the library is an error."""
    async with ClientSession() as client:
        for page in ("metrics", "livez", "readyz", "healthz", "status"):
            async with client.get(f"http://127.0.0.1:{web.port}/{page}") as answer:
                assert answer.status == 200, page


async def test_no_answer_says_what_serves_it(web: Web) -> None:
    """Nor does a refusal: neither a version nor a library."""
    requests = (
        b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"DELETE /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /status?token=x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"no request\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"\x00\x01\x02",
    )
    for request in requests:
        answer = (await heard(web, request)).lower()
        assert answer.startswith(b"http/1."), request
        for word in (b"aiohttp", b"python", b"traceback", b"token=x", b"no request\r\n"):
            assert word not in answer, request
        assert b"x-content-type-options: nosniff" in answer
        assert b"access-control-" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
async def test_pages_can_only_be_read(web: Web, method: str) -> None:
    for page in ("/metrics", "/livez", "/status"):
        answer = await asked(web, page, method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_head_is_get_without_the_body(web: Web) -> None:
    answer = await asked(web, "/livez", "HEAD")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "3", b"")


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%5c..%5cetc/passwd",
        "/metrics/../status",
        "//etc/passwd",
        "/livez/",
    ],
)
async def test_no_path_leads_anywhere_else(web: Web, path: str) -> None:
    assert (await asked(web, path)).status == 404


SMUGGLED = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(SMUGGLED),
        b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(SMUGGLED),
        b"Content-Length: +%d\r\n" % len(SMUGGLED),
        b"Content-Length: -1\r\n",
        b"Content-Length: 1e3\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"X: y\nTransfer-Encoding: chunked\r\n",
        b" folded: header\r\n",
        b"X\x00: y\r\n",
    ],
)
async def test_a_request_that_can_be_read_in_two_ways_is_refused(web: Web, headers: bytes) -> None:
    """What stands in its body is never answered as a second request (RFC 9112, 6.3)."""
    answers = _STATUS.findall(await heard(web, b"POST /livez HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n" + SMUGGLED))
    assert answers in ([b"400"], [b"405"])


async def test_requests_one_after_the_other_are_answered_in_order(web: Web) -> None:
    """More than wait in memory at a time."""
    paths = [(b"/livez", b"200"), (b"/nothing", b"404"), (b"/status", b"403")] * 100
    sent = b"".join(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path, _ in paths)
    answers = _STATUS.findall(await heard(web, sent))
    assert answers == [status for _, status in paths]


async def test_a_body_is_not_waited_for(web: Web) -> None:
    """The answer comes, and the connection is closed behind it."""
    began = time.monotonic()
    answer = await heard(web, b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    assert _STATUS.findall(answer) == [b"200"]
    assert time.monotonic() - began < 0.9


async def test_a_request_in_pieces_is_one(web: Web) -> None:
    sent = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with opened(web.port) as (reader, writer):
        for byte in sent:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert _STATUS.findall(await reader.read()) == [b"200", b"200"]


async def test_garbage_is_not_logged(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    """A stranger who sends it could fill the disk."""
    with capture_logs() as logged, caplog.at_level(logging.DEBUG, "aiohttp"):
        for request in (b"no request\r\n\r\n", b"\x16\x03\x01", b"GET / HTTP/1.1\r\nbad header\r\n\r\n") * 3:
            await heard(web, request)
    assert logged == []
    assert caplog.records == []


async def test_a_page_that_fails_is_logged_once_and_says_nothing() -> None:
    def metrics() -> bytes:
        raise RuntimeError("/secret/path")

    web = Web(HOST, 0, views(metrics))
    await web.start()
    try:
        with capture_logs() as logged:
            for _ in range(3):
                answer = await asked(web, "/metrics")
                assert answer.status == 500
                assert b"secret" not in answer.body
        assert [line["event"] for line in logged] == ["http_page_failed"]
        assert (await asked(web, "/livez")).status == 200
    finally:
        await web.stop()


async def test_pages_that_cost_time_leave_most_of_it_to_the_delivery() -> None:
    """Whoever asks for them without end gets a quarter of the loop's time, and probes pass by."""
    made = 0

    def metrics() -> bytes:
        nonlocal made
        made += 1
        time.sleep(0.02)
        return b""

    web = Web(HOST, 0, views(metrics))
    await web.start()
    try:
        many = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20
        flood = [asyncio.create_task(asyncio.to_thread(said, (HOST, web.port), many, 1.5)) for _ in range(4)]
        await asyncio.sleep(0.2)
        assert (await asked(web, "/livez")).status == 200
        before, began = made, time.monotonic()
        await asyncio.sleep(1.0)
        assert made - before <= (time.monotonic() - began) / 0.08 + 2
        await asyncio.gather(*flood)
    finally:
        await web.stop()


class Waiting:
    """A connection that is held open until the test ends."""

    all: ClassVar[list[Waiting]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.all.append(self)

    @classmethod
    async def of(cls, web: Web, sent: bytes = b"") -> Waiting:
        """Opened, and these bytes sent."""
        made = cls(*await asyncio.open_connection(HOST, web.port))
        made.writer.write(sent)
        return made

    async def closed(self) -> bool:
        """Whether the other side has closed it, a moment from now; what it has sent before is read."""
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(0.05):
                await self.reader.read()
            return True
        return False


HALF = b"GET /livez HTT"
WHOLE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("sent", [HALF, WHOLE])
async def test_the_oldest_makes_room(web: Web, sent: bytes) -> None:
    """For every newcomer one, and no other; whether it has been answered does not matter."""
    held = []
    for _ in range(64):
        held.append(await Waiting.of(web, sent))
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.2)
    newcomers = [await Waiting.of(web, HALF) for _ in range(3)]
    await asyncio.sleep(0.2)
    assert [await one.closed() for one in held[:6]] == [True] * 3 + [False] * 3
    assert not any([await one.closed() for one in newcomers])


async def test_an_answer_under_way_is_not_cut_for_a_newcomer() -> None:
    """Its client is slow, and older than all others."""
    body = b"x" * 20_000_000
    web = Web(HOST, 0, views(lambda: body))
    await web.start()
    try:
        slow = await Waiting.of(web, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await asyncio.sleep(0.3)
        for _ in range(200):
            await Waiting.of(web, HALF)
        await asyncio.sleep(0.2)
        assert (await slow.reader.read()).endswith(body)
    finally:
        await web.stop()


async def test_answers_that_are_not_taken_leave_newcomers_their_places() -> None:
    """All places are in the middle of an answer; then the oldest of these makes room."""
    web = Web(HOST, 0, views(lambda: b"x" * 10_000_000))
    await web.start()
    try:
        for _ in range(64):
            await Waiting.of(web, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(3):
            assert (await asked(web, "/livez")).status == 200
    finally:
        await web.stop()


async def test_busy_connections_do_not_push_out_newcomers(web: Web) -> None:
    """They ask again and again, and others come in between: each newcomer has its answer."""
    busy = [await Waiting.of(web, WHOLE * 50) for _ in range(63)]
    for _ in range(5):
        for one in busy:
            one.writer.write(WHOLE * 50)
        crowd = [await Waiting.of(web, HALF) for _ in range(20)]
        assert (await asked(web, "/livez")).status == 200
        for one in crowd:
            one.writer.close()


async def test_every_address_of_a_name_is_listened_on() -> None:
    web = Web("localhost", 0, views())
    await web.start()
    try:
        assert (await asked(web, "/livez")).status == 200
    finally:
        await web.stop()


async def test_an_address_that_is_taken_is_said_in_one_line(web: Web) -> None:
    with pytest.raises(SettingsError, match=f"SYNC_HTTP_ADDR: can't listen on {HOST}:{web.port} .*; name a free"):
        await Web(HOST, web.port, views()).start()


async def test_the_end_does_not_wait_for_those_who_say_nothing() -> None:
    """Nor for half a request, nor for a client that does not take its answer."""
    web = Web(HOST, 0, views(lambda: b"x" * 10_000_000))
    await web.start()
    for sent in (b"", b"GET /livez HTT", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 10):
        await Waiting.of(web, sent)
    await asyncio.sleep(0.3)
    began = time.monotonic()
    await web.stop()
    assert time.monotonic() - began < 5.0
