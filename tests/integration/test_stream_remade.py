"""The stream is deleted and made anew, or set otherwise, while the connection of a running daemon stays up."""

from __future__ import annotations

import asyncio

import nats
import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.audit import File, audit
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import messages
from tests.support.owner import call

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STREAM = "swarm_jobs"
FILES = [(f"f{number:02}", b"evidence %d" % number) for number in range(50)]
LATER = [(f"later{number}", b"evidence of later %d" % number) for number in range(2)]


async def remake(url: str, name: str = STREAM, others: int = 0) -> None:
    """Deletes the stream and makes it as it was; so many messages of another site come first."""
    config = (await call(url, f"STREAM.INFO.{name}"))["config"]
    stays = {"name": "stays", "subjects": ["stays"]}
    await call(url, "STREAM.CREATE.stays", stays)  # without it the server removes the folder of all streams
    await call(url, f"STREAM.DELETE.{name}")
    await call(url, f"STREAM.CREATE.{name}", config)
    client = await nats.connect(url, allow_reconnect=False)
    try:
        for number in range(others):
            await client.jetstream().publish(f"edge.replay.other.{number}", b"of another site")
    finally:
        await client.close()


def deliver(daemon: DaemonProcess, files: list[tuple[str, bytes]]) -> None:
    """Drops them and waits until they are gone."""
    for name, data in files:
        daemon.drop(name, data)
    eventually(lambda: not daemon.waiting(), 60, "all is delivered")


def all_there(url: str) -> bool:
    """Whether the stream has the content of each file."""
    found = {one.data for one in asyncio.run(messages(url, STREAM))}
    return {data for _, data in FILES} <= found


def test_sequences_that_go_back_are_evidence(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """49, 50, 1, 2: the hold is checked, and the 50 contents come again."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    deliver(daemon, FILES)
    asyncio.run(remake(nats_server.url))

    deliver(daemon, LATER)
    eventually(lambda: all_there(nats_server.url), 30, "what was lost is there again")
    eventually(lambda: not daemon.waiting(), 30, "all is delivered")
    assert daemon.logged("sequence_went_back", at_least=1)
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0
    assert len(daemon.rows("held_lost")) == 50
    assert daemon.stop() == 0
    files = [File.of(name.encode(), data) for name, data in [*FILES, *LATER]]
    assert audit(nats_server.url, STREAM, daemon.replay, daemon.ledger, files).problems == []


def test_nothing_held_is_deleted_before_the_stream_is_looked_at(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """Sequences go on, because another site was quicker; nothing more is delivered; only the creation time tells."""
    daemon = make_daemon(nats_server.url, SYNC_HOLD_SECONDS="4")
    daemon.start()
    deliver(daemon, FILES)
    asyncio.run(remake(nats_server.url, others=60))

    eventually(lambda: len(daemon.rows_so_far("held_lost")) == 50, 30, "the hold is checked before it is emptied")
    eventually(lambda: all_there(nats_server.url), 30, "what was lost is there again")
    eventually(lambda: daemon.metric("syncdaemon_held_files") == 0, 30, "and then the hold is emptied")
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0
    assert daemon.stop() == 0
    assert all_there(nats_server.url)
