"""From a site's disk to a worker's confirmed acknowledgement: how long it took, as the worker measured it."""

from __future__ import annotations

import os

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import MakeDaemon, eventually
from tests.support.receiver import MakeReceiver

pytestmark = pytest.mark.integration

LAST_YEAR = 1_700_000_000
NAMES = ("edge_end_to_end_latency_seconds", "edge_hub_latency_seconds")


def test_a_file_with_an_old_mtime_was_not_on_its_way_since_then(
    nats_server: NatsServer, make_daemon: MakeDaemon, make_receiver: MakeReceiver
) -> None:
    """A message and an object; the header tells when each arrived. A file that was just made needs none."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    receiver = make_receiver(nats_server.url)
    receiver.start()
    for name, data in (("small", b"x"), ("large", os.urandom(2 << 20))):
        hidden = daemon.replay / f".{name}"
        hidden.write_bytes(data)
        os.utime(hidden, (LAST_YEAR, LAST_YEAR))
        hidden.rename(daemon.replay / name)
    daemon.drop("fresh", b"y")

    eventually(lambda: receiver.metric("nats_worker_processed_total") == 3, what="all are received", within=60)
    for name in NAMES:
        assert receiver.metric(f"{name}_count") == 3
        assert 0 < receiver.metric(f"{name}_sum") < 3 * 600
        assert receiver.metric(f"{name.removesuffix('_seconds')}_negative_total") == 0
