"""SYNC_BWLIMIT, against a real server: what leaves in ten seconds, and what is told of it."""

from __future__ import annotations

import json
import time

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import MakeDaemon, eventually
from tests.support.relay import MakeRelay

pytestmark = pytest.mark.integration


@pytest.mark.alone
@pytest.mark.lengthy
@pytest.mark.parametrize(("limit", "size"), [(200_000, 20_000), (5_000_000, 4_000)])
def test_ten_seconds_carry_what_the_limit_says(
    nats_server: NatsServer, make_daemon: MakeDaemon, make_relay: MakeRelay, limit: int, size: int
) -> None:
    """Within 5 %: all that goes to the server counts, the headers of the messages included."""
    relay = make_relay(nats_server)
    daemon = make_daemon(relay.url, SYNC_BWLIMIT=str(limit))
    for number in range(13 * limit // size):
        (daemon.replay / f"{number:05}").write_bytes(number.to_bytes(4) + bytes(size - 4))
    daemon.start()
    eventually(lambda: relay.sent > limit, what="it is at work")
    assert daemon.metric("syncdaemon_bwlimit_bytes_per_second") == limit
    assert json.loads(daemon.get("/status"))["bwlimit_bytes_per_second"] == limit

    began, before = time.monotonic(), relay.sent
    time.sleep(10)
    rate = (relay.sent - before) / (time.monotonic() - began)

    assert daemon.metric("replay_queue_depth") > 0
    assert 0.95 <= rate / limit <= 1.05
    assert daemon.metric("edge_link_status") == 1
    assert daemon.stop() == 0


def test_no_limit_is_told_as_infinite(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """As the horizon is, where any outage may last."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    assert daemon.metric("syncdaemon_bwlimit_bytes_per_second") == float("inf")
    assert json.loads(daemon.get("/status"))["bwlimit_bytes_per_second"] == "off"
    assert daemon.stop() == 0
