"""The stream's settings change while a daemon runs, each with a real server: right without a restart."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Any

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.audit import File, audit
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import messages, read_object
from tests.support.owner import call

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STREAM = "swarm_jobs"
WINDOW = 120.0


def change(url: str, **settings: Any) -> None:
    """The owner of the stream sets it otherwise."""

    async def update() -> None:
        config = (await call(url, f"STREAM.INFO.{STREAM}"))["config"]
        await call(url, f"STREAM.UPDATE.{STREAM}", config | settings)

    asyncio.run(update())


def running(server: NatsServer, make_daemon: MakeDaemon, **settings: str) -> DaemonProcess:
    """A daemon that has delivered a file."""
    daemon = make_daemon(server.url, **settings)
    daemon.drop("first", b"first")
    daemon.start()
    eventually(lambda: not daemon.waiting(), what="the first file is delivered")
    return daemon


def horizon_is(daemon: DaemonProcess, seconds: float) -> bool:
    """Whether the metric has this value."""
    return daemon.metric("syncdaemon_dedupe_horizon_seconds") == seconds


def none_is_lost(server: NatsServer, daemon: DaemonProcess, *files: tuple[str, bytes]) -> None:
    """All is in the stream once, nothing was refused, and the connection stayed up."""
    eventually(lambda: not daemon.waiting(), 45, "all is delivered")
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0
    assert daemon.metric("syncdaemon_quarantined_files") == 0
    assert daemon.stop() == 0
    sent = [File.of(name.encode(), data) for name, data in [("first", b"first"), *files]]
    assert audit(server.url, STREAM, daemon.replay, daemon.ledger, sent).problems == []


def test_a_lowered_max_msg_size_makes_objects_at_once(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Files of 5 kB were messages until then; none is refused."""
    daemon = running(nats_server, make_daemon)
    change(nats_server.url, max_msg_size=2_000)
    files = [(f"f{number}", b"%d" % number * 5_000) for number in range(3)]
    for name, data in files:
        daemon.drop(name, data)
    eventually(lambda: not daemon.waiting(), 10, "all is delivered, or refused")
    assert daemon.rows("refused") == []
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0
    stored = [one.headers["Edge-Object"] for one in asyncio.run(messages(nats_server.url, STREAM))[1:]]
    for where in stored:
        bucket, _, name = where.partition("/")
        assert asyncio.run(read_object(nats_server.url, bucket, name)) == name
    assert len(stored) == 3
    assert daemon.stop() == 0


def test_one_that_throws_away_forgets(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """`discard: old` with a limit in count: any outage before, the duplicate window after."""
    daemon = running(nats_server, make_daemon)
    assert daemon.metric("syncdaemon_dedupe_horizon_seconds") == math.inf
    change(nats_server.url, discard="old", discard_new_per_subject=False, max_msgs=5)
    eventually(lambda: daemon.metric("syncdaemon_dedupe_horizon_seconds") == WINDOW, 30, "it is the window")
    assert "max_msgs" in daemon.logged("weaker_promise", at_least=1)[-1]["meaning"]
    assert "discard=old (was new)" in daemon.logged("stream_changed", at_least=1)[-1]["changes"]
    assert daemon.stop() == 0


@pytest.mark.lengthy
@pytest.mark.parametrize(
    ("changed", "back", "paused"),
    [
        ({"subjects": ["elsewhere"]}, {"subjects": ["edge.replay.*.*"]}, "SYNC_SUBJECT"),
        ({"max_bytes": 10}, {"max_bytes": -1}, "stream_full"),
        ({"max_msgs": 1}, {"max_msgs": -1}, "stream_full"),
        ({"no_ack": True}, {"no_ack": False}, "no_ack"),
    ],
    ids=["subjects", "max_bytes", "max_msgs", "no_ack"],
)
def test_what_takes_no_message_is_waited_for(
    nats_server: NatsServer, make_daemon: MakeDaemon, changed: dict[str, Any], back: dict[str, Any], paused: str
) -> None:
    """Status says why, and all is delivered as soon as the stream takes messages again."""
    daemon = running(nats_server, make_daemon)
    change(nats_server.url, **changed)
    daemon.drop("second", b"second")
    eventually(lambda: paused in daemon.ailment("lane"), 40, "health says why it waits")
    assert len(daemon.waiting()) == 1
    change(nats_server.url, **back)
    eventually(lambda: not daemon.waiting(), 45, "it is delivered")
    assert daemon.metric("syncdaemon_quarantined_files") == 0
    assert daemon.stop() == 0
    sent = [File.of(name.encode(), name.encode()) for name in ("first", "second")]
    assert audit(nats_server.url, STREAM, daemon.replay, daemon.ledger, sent).problems == []


@pytest.mark.lengthy
def test_a_sealed_stream_is_said_and_the_files_stay(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Nothing is refused: another stream can be named."""
    daemon = running(nats_server, make_daemon)
    change(nats_server.url, sealed=True)
    daemon.drop("second", b"second")
    eventually(lambda: "sealed" in daemon.ailment("lane"), 20, "health says that it is sealed")
    assert len(daemon.waiting()) == 1
    assert daemon.metric("syncdaemon_quarantined_files") == 0
    assert daemon.stop() == 0


@pytest.mark.lengthy
@pytest.mark.parametrize(
    "changed",
    [
        {"allow_atomic": False},
        {"allow_direct": False},
        {"deny_delete": True},
        {"max_age": 3_600_000_000_000},
        {"duplicate_window": 1_000_000_000},
        {"discard_new_per_subject": False, "max_msgs_per_subject": -1},
        {"allow_rollup_hdrs": True},
        {"max_msg_size": 100_000},
        {"compression": "s2"},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_what_changes_no_answer_changes_no_delivery(
    nats_server: NatsServer, make_daemon: MakeDaemon, changed: dict[str, Any]
) -> None:
    """A batch, a second copy and a large file all come right, and what was set is said."""
    daemon = running(nats_server, make_daemon)
    change(nats_server.url, **changed)
    files = [(f"f{number:02}", b"evidence %d" % number) for number in range(40)]
    files += [("copy", b"first"), ("large", bytes(2 << 20))]
    for name, data in files:
        daemon.drop(name, data)
    none_is_lost(nats_server, daemon, *files)


@pytest.mark.lengthy
def test_a_max_age_is_the_horizon_at_once(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """And none again when it is taken away."""
    daemon = running(nats_server, make_daemon)
    for age, horizon in ((3_600, 3_600.0), (0, math.inf)):
        change(nats_server.url, max_age=age * 1_000_000_000)
        eventually(partial(horizon_is, daemon, horizon), 45, "it is seen")
    assert daemon.stop() == 0
