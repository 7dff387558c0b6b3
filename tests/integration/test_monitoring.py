"""What monitoring sees of a running daemon, and what a real Prometheus makes of it."""

from __future__ import annotations

import math
import os

import pytest

from syncdaemon.devserver import NatsServer
from tests.support.daemon import MakeDaemon, eventually

pytestmark = pytest.mark.integration


def test_the_room_on_the_ledgers_disk_is_told_beside_what_is_wanted(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """Two gauges, so that an alert needs no number of its own; without the folder NaN, and all else goes on."""
    daemon = make_daemon(nats_server.url, SYNC_MIN_FREE_BYTES="1Mi")
    daemon.start()
    disk = os.statvfs(daemon.ledger)
    assert daemon.metric("syncdaemon_ledger_free_bytes") == pytest.approx(disk.f_bavail * disk.f_frsize, rel=0.1)
    assert daemon.metric("syncdaemon_ledger_min_free_bytes") == 1 << 20

    eventually(lambda: daemon.metric("edge_link_status") == 1, what="the link is up")
    daemon.ledger.rename(daemon.ledger.with_name("taken-away"))
    assert math.isnan(daemon.metric("syncdaemon_ledger_free_bytes"))
    assert daemon.metric("edge_link_status") == 1
