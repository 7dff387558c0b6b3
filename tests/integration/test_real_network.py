"""Two hosts and a real network between them: packets that vanish, resets, a thin line, a poor one."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.audit import Audit, File, audit
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.matrix import Matrix
from tests.support.network import HUB, Direction, Network
from tests.support.producers import producing
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PORT = 4222
ROUNDS = int(os.environ.get("ROUNDS", "1"))
MakeNetwork = Callable[..., Network]


class Site:
    """A server on the hub and a daemon on the edge, both running and connected."""

    def __init__(self, network: Network, server: NatsServer, daemon: DaemonProcess) -> None:
        self.network, self.server, self.daemon = network, server, daemon
        with network.hub:
            server.start()
        with network.edge:
            daemon.start()
            eventually(lambda: daemon.metric("edge_link_status") == 1, what="the link is up")

    def audit(self, files: list[File]) -> Audit:
        """After the delivery of these."""
        with self.network.hub:
            return audit(self.server.url, "swarm_jobs", self.daemon.replay, self.daemon.ledger, files)

    def finish(self, within: float = 60.0) -> None:
        """All is delivered, and the daemon ends in good order."""
        eventually(lambda: not self.daemon.waiting(), within, "all is delivered")
        assert self.daemon.stop() == 0


MakeSite = Callable[[Network], Site]


@pytest.fixture
def make_site(make_nats_server: MakeNatsServer, make_daemon: MakeDaemon) -> MakeSite:
    """On a network."""

    def make(network: Network) -> Site:
        server = make_nats_server(port=PORT, config=f'listen: "0.0.0.0:{PORT}"')
        return Site(network, server, make_daemon(f"nats://{HUB}:{PORT}", SYNC_HOLD_SECONDS="5"))

    return make


def seconds_until(check: Callable[[], object], within: float) -> float:
    """How long it takes until `check` is true."""
    began = time.monotonic()
    eventually(check, within, "in time")
    return time.monotonic() - began


@pytest.mark.parametrize("direction", ["both", "to hub", "to edge"])
def test_a_black_hole_shows_within_6_seconds_and_its_end_within_2(
    make_network: MakeNetwork, make_site: MakeSite, direction: Direction
) -> None:
    """On a link at work; what was sent into it, and what was stored and not answered, is there once in the end."""
    site = make_site(make_network())
    network, daemon = site.network, site.daemon
    with network.edge, producing(daemon, 2) as files:
        eventually(lambda: len(daemon.rows_so_far("published")) > 20, what="the link is at work")
        network.black_hole(direction)
        noticed = seconds_until(lambda: daemon.metric("edge_link_status") == 0, 20)
        network.restore()
        back = seconds_until(lambda: daemon.metric("edge_link_status") == 1, 20)
    site.finish()
    assert site.audit(files).problems == []
    assert noticed < 6.0
    assert back < 2.0


def faults(network: Network) -> dict[str, Callable[[], None]]:
    """What is done to the network, by the words of the matrix."""
    return {
        "black hole in both directions": network.black_hole,
        "black hole towards the server": lambda: network.black_hole("to hub"),
        "acknowledgements vanish": lambda: network.black_hole("to edge"),
        "every connection reset, new ones refused": network.reset,
        "cable out": network.unplug,
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nothing_is_lost_or_doubled_on_a_bad_network(
    make_network: MakeNetwork, make_site: MakeSite, matrix: Matrix
) -> None:
    """Each fault in its turn, for some seconds, under load; the producers do not know of it."""
    site = make_site(make_network())
    network, daemon = site.network, site.daemon
    seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"SEED={seed} ROUNDS={ROUNDS}")
    dice = random.Random(seed)
    slowest = dict.fromkeys(faults(network), 0.0)
    delivered = Counter[str]()
    with network.edge, producing(daemon) as files:
        for _ in range(ROUNDS):
            for name, strike in faults(network).items():
                before = len(daemon.rows_so_far("published"))
                daemon.next_receipt(60)
                strike()
                time.sleep(dice.uniform(0.1, 7.0))  # how long the fault lasts
                network.restore()
                network.plug()
                slowest[name] = max(slowest[name], daemon.next_receipt(60))
                delivered[name] += len(daemon.rows_so_far("published")) - before
    site.finish(120)
    found = site.audit(files)
    for name, seconds in slowest.items():
        matrix.add(name, ROUNDS, replace(found, files=delivered[name]), seconds)
    assert found.problems == []


@contextmanager
def steady(daemon: DaemonProcess) -> Iterator[None]:
    """No connection ends in this time."""
    before = daemon.metric("syncdaemon_link_reconnects_total")
    yield
    assert daemon.metric("syncdaemon_link_reconnects_total") == before


@pytest.mark.slow
def test_a_thin_line_is_slow_and_not_dead(make_network: MakeNetwork, make_site: MakeSite, matrix: Matrix) -> None:
    """At 1 Mbit/s 2 MB take 16 seconds; the link counts as up all the time, and it is filled."""
    site = make_site(make_network())
    network, daemon = site.network, site.daemon
    network.rate(1_000)
    files = [(b"f%d" % number, os.urandom(400_000)) for number in range(5)]
    with network.edge, steady(daemon):
        for name, data in files:
            daemon.drop(name, data)
        took = seconds_until(lambda: len(daemon.rows_so_far("published")) == len(files), 100)
        assert daemon.metric("edge_link_status") == 1
    site.finish()
    found = site.audit([File.of(name, data) for name, data in files])
    matrix.add("1 Mbit/s", 1, found, took)
    assert found.problems == []
    assert took > 12, "the line was thin"
    assert took < 40, "and used"


@pytest.mark.slow
def test_a_poor_line_delivers_all_the_same(make_network: MakeNetwork, make_site: MakeSite, matrix: Matrix) -> None:
    """600 ms there and back, packets out of order and 2 % of them lost: TCP and patience do it."""
    site = make_site(make_network(line=True))
    network, daemon = site.network, site.daemon
    network.quality(delay=0.3, jitter=0.05, loss=0.02)
    files = [(b"f%d" % number, os.urandom(number * 50)) for number in range(100)]
    for name, data in files:
        daemon.drop(name, data)
    took = seconds_until(lambda: not daemon.waiting(), 100)
    site.finish()
    found = site.audit([File.of(name, data) for name, data in files])
    matrix.add("300±50 ms each way, 2 % of the packets lost", 1, found, took)
    assert found.problems == []
