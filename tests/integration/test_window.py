"""Stored and not acknowledged, for longer than the stream remembers an id: the second copy never comes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from itertools import starmap
from typing import Any, NamedTuple

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.audit import File, audit
from tests.support.client import connect
from tests.support.clock import Clock
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import Stored, messages
from tests.support.matrix import Matrix
from tests.support.relay import MakeRelay

# How many messages are in flight depends on the speed that the daemon has measured: nothing else may slow it down.
pytestmark = [pytest.mark.integration, pytest.mark.alone]

STREAM = "swarm_jobs"
WINDOW = 1.0  # seconds


async def make_stream(url: str, **config: Any) -> None:
    """A stream with the short window."""
    client = await connect(url)
    try:
        await client.jetstream().add_stream(name=STREAM, duplicate_window=WINDOW, **config)
    finally:
        await client.close()


def stored(server: NatsServer) -> list[Stored]:
    """What the stream holds."""
    return asyncio.run(messages(server.url, STREAM))


class Kind(NamedTuple):
    """A kind of stream: its configuration, and the subject that files are published to."""

    stream: dict[str, Any]
    subject: str


PER_DIGEST = Kind({"subjects": ["edge.replay.*.*"]}, "edge.replay.{site}.{sha256}")
PLAIN = Kind({"subjects": ["plain.>"]}, "plain.{site}")
WORK_QUEUE = Kind({"subjects": ["plain.>"], "retention": "workqueue"}, "plain.{site}")
FILES = [(b"all/%d/f%d" % (number % 7, number), b"evidence %d" % number) for number in range(500)]
FIRST = (b"first", bytes(256 << 10))  # delivered before: then the daemon knows how much the link takes


class Cut(NamedTuple):
    """A daemon that was killed with all that it had sent stored, and nothing acknowledged; the window has passed."""

    daemon: DaemonProcess
    stored: dict[str, int]  # by digest: the sequence


@pytest.fixture
def cut(nats_server: NatsServer, make_daemon: MakeDaemon, make_relay: MakeRelay) -> Callable[..., Cut]:
    """Makes one, on a kind of stream, with the first file delivered and `count` others stored."""

    def make(kind: Kind, count: int, **settings: str) -> Cut:
        asyncio.run(make_stream(nats_server.url, **kind.stream))
        relay = make_relay(nats_server)
        daemon = make_daemon(relay.url, SYNC_SUBJECT=kind.subject, **settings)
        daemon.drop(*FIRST)
        daemon.launch()
        eventually(lambda: daemon.rows_so_far("published") and not daemon.waiting(), 30, "the first is delivered")
        relay.mute_after = b"Nats-Msg-Id"
        for name, data in FILES:
            path = daemon.replay.parent / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        quiet = time.monotonic() + 1.0
        eventually(lambda: time.monotonic() > quiet, what="all are complete")
        (daemon.replay.parent / "all").rename(daemon.replay / "all")  # at once, or they are many small batches
        eventually(lambda: len(stored(nats_server)) == 1 + count, 30, f"{count} are stored")
        assert len(daemon.rows_so_far("published")) == 1
        daemon.kill()
        forgotten = time.monotonic() + WINDOW + 0.2
        eventually(lambda: time.monotonic() > forgotten, what="the server forgets the ids")
        relay.mute_after = b""
        relay.reset()
        relay.restore()
        return Cut(daemon, {message.headers["Edge-Sha256"]: message.seq for message in stored(nats_server)})

    return make


def delivered(daemon: DaemonProcess) -> float:
    """The next daemon delivers all that is left; the seconds that this takes it."""
    began = time.monotonic()
    daemon.start()
    eventually(lambda: not daemon.waiting(), 60, "all are delivered")
    took = time.monotonic() - began
    assert daemon.stop() == 0
    return took


@pytest.mark.matrix
@pytest.mark.parametrize("kind", [PER_DIGEST, PLAIN], ids=["subject per digest", "plain subject"])
def test_500_files_stored_and_not_acknowledged_are_stored_once_after_the_window(
    nats_server: NatsServer, cut: Callable[..., Cut], matrix: Matrix, kind: Kind
) -> None:
    """No acknowledgement gets through, the daemon is killed, the window passes: receipts name the first sequences."""
    daemon, first = cut(kind, 500)
    recovery = delivered(daemon)
    found = audit(nats_server.url, STREAM, daemon.replay, daemon.ledger, starmap(File.of, [FIRST, *FILES]))
    what = "subject per digest" if kind is PER_DIGEST else "plain subject"
    matrix.add(f"acks cut, daemon killed, window passed: {what}", 1, found, recovery)
    assert found.problems == []
    assert len(stored(nats_server)) == 501
    assert {row["sha256"]: row["stream_seq"] for row in daemon.rows("published")} == first


def test_on_a_work_queue_the_limit_is_said_and_kept(nats_server: NatsServer, cut: Callable[..., Cut]) -> None:
    """Nobody can tell there what was stored: at most 64 files are in flight, so at most 64 are stored twice."""
    daemon, _ = cut(WORK_QUEUE, 64)
    delivered(daemon)
    found = audit(nats_server.url, STREAM, daemon.replay, daemon.ledger, starmap(File.of, [FIRST, *FILES]))
    assert found.lost == 0
    assert found.doubled <= 64
    assert len(daemon.rows("published", "duplicate")) == 501
    assert [line["horizon_seconds"] for line in daemon.logged("weaker_promise", at_least=2)] == [WINDOW, WINDOW]


@pytest.mark.slow
@pytest.mark.parametrize("step", [-3_600, 3 * 86_400], ids=["back", "forwards"])
def test_a_clock_that_is_set_meanwhile_makes_no_second_copy(
    nats_server: NatsServer, cut: Callable[..., Cut], clock: Clock, step: int
) -> None:
    """The next daemon does not take an attempt for young because its clock was set back."""
    daemon, first = cut(PLAIN, 500, **clock.environment)
    clock.set(step)
    delivered(daemon)
    files = starmap(File.of, [FIRST, *FILES])
    assert audit(nats_server.url, STREAM, daemon.replay, daemon.ledger, files).problems == []
    assert {row["sha256"]: row["stream_seq"] for row in daemon.rows("published")} == first
