"""The clock of the edge is set, forwards and back, under a running daemon and between two of them."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import starmap

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.audit import File, audit
from tests.support.clock import Clock
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DAY = 86_400


def days(daemon: DaemonProcess) -> list[int]:
    """The days of its rows, as they were written, each change once; today is 0."""
    today = int(time.time() // DAY)
    found: list[int] = []
    for path in sorted(daemon.ledger.glob("evidence-*.jsonl")):
        for line in path.read_text().splitlines():
            stamp = line.partition('"ts":"')[2][:10]
            day = int(time.mktime(time.strptime(stamp + " UTC", "%Y-%m-%d %Z")) // DAY) - today
            if not found or found[-1] != day:
                found.append(day)
    return found


@pytest.mark.parametrize("step", [3 * DAY, -2 * DAY], ids=["forwards", "back"])
def test_a_clock_that_is_set_under_the_daemon_costs_nothing(
    nats_server: NatsServer, make_daemon: MakeDaemon, clock: Clock, step: int
) -> None:
    """Delivery goes on, the hold lasts as long as ever, the chain holds; rows carry the time that the clock showed."""
    daemon = make_daemon(nats_server.url, SYNC_HOLD_SECONDS="3600", SYNC_RESCAN_SECONDS="1", **clock.prompt_environment)
    daemon.start()
    files = []
    for number, seconds in enumerate([0, step, 0, 10 * step]):
        clock.set(seconds)
        for name in (b"%d/a" % number, b"%d/b" % number):
            daemon.drop(name, name * 10)
            files.append((name, name * 10))
        eventually(lambda: not daemon.waiting(), 30, "what came after the step is delivered")
    eventually(lambda: daemon.metric("syncdaemon_held_files") == len(files), what="all are held")
    assert daemon.metric("edge_link_status") == 1
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0
    assert daemon.stop() == 0
    found = audit(nats_server.url, "swarm_jobs", daemon.replay, daemon.ledger, starmap(File.of, files))
    assert found.problems == []
    assert step // DAY in days(daemon)


def test_a_clock_that_is_wrong_at_one_start_and_right_at_the_next(
    nats_server: NatsServer, make_daemon: MakeDaemon, clock: Clock
) -> None:
    """1970 on a machine without a battery, then today, then a day back: one chain, and every file once."""
    daemon = make_daemon(nats_server.url, SYNC_HOLD_SECONDS="3600", **clock.environment)
    files = []
    for number, seconds in enumerate([-time.time() + DAY / 2, 0, -DAY, 2 * DAY, 0]):
        clock.set(seconds)
        for name in (b"%d/a" % number, b"%d/b" % number):
            daemon.drop(name, name * 10)
            files.append((name, name * 10))
        daemon.start()
        eventually(lambda: not daemon.waiting(), 30, "all is delivered")
        (daemon.kill if number % 2 else daemon.stop)()
    found = audit(nats_server.url, "swarm_jobs", daemon.replay, daemon.ledger, starmap(File.of, files))
    assert found.problems == []
    assert len(list(daemon.ledger.glob("evidence-test-site-19700101.jsonl"))) == 1
    assert days(daemon)[1:] == [0, -1, 2, 0]
    verified = subprocess.run([sys.executable, "-m", "syncdaemon", "verify"], env=daemon.env, capture_output=True)
    assert verified.returncode == 0, verified.stderr
