"""The connections that tests make leave no socket behind, whatever ends them."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import nats
import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.client import connect
from tests.support.leaf import fake_leaf
from tests.support.server import MakeNatsServer

pytestmark = pytest.mark.integration

LOGIN = 'authorization { user: "someone", password: "else" }\n'
INFO = b'INFO {"server_id":"x","version":"2.15.1","max_payload":1024,"headers":true}\r\n'
ROOT = Path(__file__).parents[2]


def left_open(attempt: Callable[[], Awaitable[object]]) -> list[str]:
    """What the collector finds open once this has failed or ended, and its loop with it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with suppress(Exception):
            asyncio.run(_quiet(attempt))
        gc.collect()
    return [str(one.message) for one in said if issubclass(one.category, ResourceWarning)]


async def _quiet(attempt: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(10):
        await attempt()


async def ignore(error: Exception) -> None:
    """The errors are what is tried."""


@pytest.fixture
def closed_server(make_nats_server: MakeNatsServer) -> NatsServer:
    """It lets in only whoever has the password."""
    server = make_nats_server(config=LOGIN)
    server.start()
    return server


def test_a_refused_login_leaves_no_socket(closed_server: NatsServer) -> None:
    """With nats-py's own function it does; when this fails, `tests.support.client` is not needed any more."""
    assert left_open(lambda: nats.connect(closed_server.url, allow_reconnect=False, error_cb=ignore)) != []
    assert left_open(lambda: connect(closed_server.url, error_cb=ignore)) == []


@pytest.mark.parametrize("said", [b"", INFO, INFO + b"-ERR 'Authorization Violation'\r\n"])
def test_a_server_that_goes_away_leaves_no_socket(said: bytes) -> None:
    """Before its greeting, behind it, and with a reason."""

    async def attempt() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(said)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with suppress(ConnectionError, ValueError):
                async with fake_leaf(port):
                    pass
            await connect(f"nats://127.0.0.1:{port}", error_cb=ignore, max_reconnect_attempts=1, reconnect_time_wait=0)

    assert left_open(attempt) == []


def test_a_server_that_ends_leaves_no_socket(nats_server: NatsServer) -> None:
    """Its client is closed behind it."""

    async def attempt() -> None:
        client = await connect(nats_server.url, error_cb=ignore)
        await asyncio.to_thread(nats_server.kill)
        await client.close()

    assert left_open(attempt) == []


def test_tests_and_benchmarks_connect_by_this_function_alone() -> None:
    """No other file calls nats-py's, but for those of the manifests, which connect over TLS and run by themselves."""
    calls = "nats" + ".connect("
    files = [path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    files = [path for path in files if ROOT / "tests" / "deploy" not in path.parents]
    assert [str(path) for path in files if calls in path.read_text() and path != Path(__file__)] == []
