"""Stored and not acknowledged, for longer than the stream remembers an id: the second copy never comes."""

from __future__ import annotations

import asyncio
import time
from itertools import starmap
from typing import Any

import nats
import pytest

from syncdaemon.devserver import NatsServer
from tests.support.audit import File, audit
from tests.support.daemon import MakeDaemon, eventually
from tests.support.jetstream import Stored, messages
from tests.support.matrix import Matrix
from tests.support.relay import MakeRelay

pytestmark = pytest.mark.integration

STREAM = "swarm_jobs"
WINDOW = 1.0  # seconds


async def make_stream(url: str, **config: Any) -> None:
    """A stream with the short window."""
    client = await nats.connect(url, allow_reconnect=False)
    try:
        await client.jetstream().add_stream(name=STREAM, duplicate_window=WINDOW, **config)
    finally:
        await client.close()


def stored(server: NatsServer) -> list[Stored]:
    """What the stream holds."""
    return asyncio.run(messages(server.url, STREAM))


def test_500_files_stored_and_not_acknowledged_are_stored_once_after_the_window(
    nats_server: NatsServer, make_daemon: MakeDaemon, make_relay: MakeRelay, matrix: Matrix
) -> None:
    """No acknowledgement gets through, the daemon is killed, the window passes: receipts name the first sequences."""
    asyncio.run(make_stream(nats_server.url, subjects=["edge.replay.*.*"]))
    relay = make_relay(nats_server, mute_after=b"Nats-Msg-Id")
    daemon = make_daemon(relay.url)
    files = [(b"%d/f%d" % (number % 7, number), b"evidence %d" % number) for number in range(500)]
    for name, data in files:
        daemon.drop(name, data)
    daemon.launch()
    eventually(lambda: len(stored(nats_server)) == 500, 30, "all are stored")
    assert not daemon.rows_so_far("published")
    daemon.kill()
    first = {message.headers["Edge-Sha256"]: message.seq for message in stored(nats_server)}
    forgotten = time.monotonic() + WINDOW + 0.2
    eventually(lambda: time.monotonic() > forgotten, what="the server forgets the ids")

    relay.mute_after = b""
    relay.reset()
    relay.restore()
    began = time.monotonic()
    daemon.start()
    eventually(lambda: not daemon.waiting(), 30, "all are delivered")
    recovery = time.monotonic() - began
    assert daemon.stop() == 0
    found = audit(nats_server.url, STREAM, daemon.replay, daemon.ledger, starmap(File.of, files))
    matrix.add("acks cut, daemon killed, window passed: subject per digest", 1, found, recovery)
    assert found.problems == []
    assert len(stored(nats_server)) == 500
    assert {row["sha256"]: row["stream_seq"] for row in daemon.rows("published")} == first
