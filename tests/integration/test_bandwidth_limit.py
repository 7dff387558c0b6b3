"""SYNC_BWLIMIT, against a real server: what leaves in ten seconds, and what is told of it."""

from __future__ import annotations

import json
import time

import pytest

from syncdaemon.devserver import NatsServer
from tests.support.daemon import MakeDaemon, eventually

pytestmark = pytest.mark.integration

LIMIT = 200_000
SIZE = 20_000


def test_ten_seconds_carry_what_the_limit_says(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """The headers of the messages included; a busy machine may make it a little less, nothing makes it more."""
    daemon = make_daemon(nats_server.url, SYNC_BWLIMIT=str(LIMIT))
    for number in range(12 * LIMIT // SIZE + 20):
        (daemon.replay / f"{number:04}").write_bytes(number.to_bytes(4) + bytes(SIZE - 4))
    daemon.start()
    eventually(lambda: daemon.metric("syncdaemon_published_bytes_total") > LIMIT, what="it is at work")
    assert daemon.metric("syncdaemon_bwlimit_bytes_per_second") == LIMIT
    assert json.loads(daemon.get("/status"))["bwlimit_bytes_per_second"] == LIMIT

    began, before = time.monotonic(), daemon.metric("syncdaemon_published_bytes_total")
    time.sleep(10)
    sent = daemon.metric("syncdaemon_published_bytes_total") - before
    took = time.monotonic() - began

    assert 0.9 <= sent / took / LIMIT <= 1.05
    assert daemon.metric("edge_link_status") == 1
    assert daemon.stop() == 0


def test_no_limit_is_told_as_infinite(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """As the horizon is, where any outage may last."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    assert daemon.metric("syncdaemon_bwlimit_bytes_per_second") == float("inf")
    assert json.loads(daemon.get("/status"))["bwlimit_bytes_per_second"] == "off"
    assert daemon.stop() == 0
