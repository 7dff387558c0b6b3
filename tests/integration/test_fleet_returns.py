"""A hub is killed again and again under a fleet: all sites come back, and each file is at the hub once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.audit import Audit
from tests.support.crowd import Crowd
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import messages
from tests.support.matrix import Matrix
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

DAEMONS, SIMULATED, KILLS = 40, 1_000, 3
STREAM = "swarm_jobs"
AWAY_SECONDS = 2.0
FILES = 5  # of each daemon, between two kills


def dropped(daemon: DaemonProcess, number: int, kill: int) -> list[str]:
    """Files for this daemon; their digests."""
    contents = [b"site %d, after %d kills, file %d" % (number, kill, file) for file in range(FILES)]
    for file, data in enumerate(contents):
        daemon.drop(f"{kill}-{file}.bin", data)
    return [sha256(data).hexdigest() for data in contents]


def all_up(daemons: list[DaemonProcess]) -> bool:
    """Whether every real daemon says that its server answers."""
    with ThreadPoolExecutor(8) as pool:
        return all(pool.map(lambda daemon: daemon.metric("edge_link_status") == 1, daemons))


def start(make_daemon: MakeDaemon, server: NatsServer) -> list[DaemonProcess]:
    """Real daemons, each for a site of its own."""
    daemons = [make_daemon(server.url, f"site-{number}", SITE=f"site-{number}") for number in range(DAEMONS)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda daemon: daemon.start(within=120), daemons))
    return daemons


def test_a_fleet_comes_back_three_times_with_nothing_lost_and_nothing_doubled(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, matrix: Matrix
) -> None:
    """40 daemons as they are shipped beside 1,000 simulated sites with the same link; the hub dies under load."""
    server = make_nats_server()
    server.start()
    daemons = start(make_daemon, server)
    wanted: list[str] = []
    slowest = 0.0
    with Crowd(server.url, SIMULATED, pause=10.0) as crowd:
        eventually(lambda: crowd.up == SIMULATED, 60, "the simulated sites are connected")
        for kill in range(KILLS):
            for number, daemon in enumerate(daemons):
                wanted += dropped(daemon, number, kill)
            server.kill()
            time.sleep(AWAY_SECONDS)
            server.start()
            began = time.monotonic()
            eventually(lambda: crowd.up == SIMULATED and all_up(daemons), 60, "all sites are back")
            slowest = max(slowest, time.monotonic() - began)
        eventually(lambda: not any(daemon.waiting() for daemon in daemons), 60, "all is delivered")
    wanted += crowd.sent
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda daemon: daemon.stop(), daemons)) == {0}

    stored = Counter(sha256(message.data).hexdigest() for message in asyncio.run(messages(server.url, STREAM)))
    found = Audit(len(wanted), lost=len(set(wanted) - stored.keys()), doubled=stored.total() - len(stored))
    matrix.add(f"{SIMULATED + DAEMONS} sites, hub killed", KILLS, found, slowest)
    assert (found.lost, found.doubled) == (0, 0)
    assert len(stored) == len(wanted)
