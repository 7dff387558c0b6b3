"""`verify --stream` at a hub, whose stream has a site's messages by a source, with sequences of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from nats.js.api import StreamConfig, StreamSource

from syncdaemon.dev.server import NatsServer
from syncdaemon.ledger import Ledger
from tests.integration.test_verify_stream import SITE, STREAM, Books, digest, problems, verified
from tests.support.client import connect
from tests.support.daemon import eventually
from tests.support.shell import Shell

pytestmark = [pytest.mark.integration, pytest.mark.lengthy]

NAMES = [f"file{number}" for number in range(8)]


def at_the_site(shell: Shell, url: str, act: Callable[[Books], Awaitable[None]]) -> None:
    """A site's stream and ledger as `act` makes them, and the hub's stream, which sources from it."""

    async def make() -> None:
        ledger = Ledger(shell.ledger, SITE)
        ledger.open()
        client = await connect(url)
        books = Books(client, ledger)
        await books.js.add_stream(StreamConfig(name="site", subjects=["edge.replay.>"]))
        for number in range(40):
            await books.put(f"other{number}", b"other%d" % number, site="another")
        await act(books)
        sources = [StreamSource(name="site", filter_subject="edge.replay.>")]
        await books.js.add_stream(StreamConfig(name=STREAM, sources=sources))
        await client.close()
        await ledger.close()

    async def stored(name: str) -> int:
        client = await connect(url)
        count = (await client.jetstream().stream_info(name)).state.messages
        await client.close()
        return count

    asyncio.run(make())
    wanted = asyncio.run(stored("site"))
    eventually(lambda: asyncio.run(stored(STREAM)) == wanted, what="the hub has all")


async def file(books: Books, name: str, row: int = 1_000, body: bytes | None = None, **headers: str) -> None:
    """Message and receipt; the sequence that the row names is never that of the message at the hub."""
    seq = await books.put(name, name.encode(), body=body, **headers)
    await books.receipt(name, name.encode(), seq + row)


@pytest.mark.parametrize("more", [(), ("--content",)])
def test_all_receipts_have_their_messages_at_the_hub(
    shell: Shell, nats_server: NatsServer, more: tuple[str, ...]
) -> None:
    """Though not one has the sequence that its row names."""

    async def act(books: Books) -> None:
        for name in NAMES:
            await file(books, name)

    at_the_site(shell, nats_server.url, act)
    ended = verified(shell, nats_server.url, 0, *more)
    assert f"stream {STREAM}: ok, {len(NAMES)} receipts, {len(NAMES)} messages" in ended.out


def test_every_disagreement_is_listed_at_the_hub_too(shell: Shell, nats_server: NatsServer) -> None:
    """What is lost in the middle, altered, or unknown; what the hub has not got yet is counted and no problem."""

    async def act(books: Books) -> None:
        await file(books, "first")
        await books.receipt("lost", b"lost", 1_042)
        await file(books, "altered", Edge_Sha256=digest(b"something else"))
        await books.put("unknown", b"unknown")
        await file(books, "last")
        await books.receipt("later", b"later", 3_000)

    at_the_site(shell, nats_server.url, act)
    ended = verified(shell, nats_server.url, 1)
    assert {(what, path) for what, _, path in problems(ended)} == {
        ("lost", "lost"),
        ("altered", "altered"),
        ("unknown", "unknown"),
    }
    assert "not ok, 5 receipts, 1 not here yet, 4 messages" in ended.out


def test_a_content_that_was_altered_is_found_at_the_hub(shell: Shell, nats_server: NatsServer) -> None:
    """Its headers are as they were."""

    async def act(books: Books) -> None:
        await file(books, "good")
        await file(books, "bad", body=b"BAD")
        await file(books, "last")

    at_the_site(shell, nats_server.url, act)
    assert [found[::2] for found in problems(verified(shell, nats_server.url, 1, "--content"))] == [("altered", "bad")]
