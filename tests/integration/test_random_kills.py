"""Daemon and server killed at random times under load; afterwards an auditor that knows nothing of ours counts."""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.support.audit import audit
from tests.support.daemon import MakeDaemon, eventually
from tests.support.matrix import Matrix
from tests.support.producers import producing
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(7200)]

ROUNDS = int(os.environ.get("ROUNDS", "3"))
VICTIMS = ("daemon", "daemon", "daemon", "server")  # of one round, in any order


def test_nothing_is_lost_or_doubled_whoever_is_killed_and_when(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, matrix: Matrix
) -> None:
    """In each round the daemon is killed three times and the server once, at random instants."""
    seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"SEED={seed} ROUNDS={ROUNDS}")
    dice = random.Random(seed)
    server = make_nats_server()
    server.start()
    daemon = make_daemon(server.url, SYNC_HOLD_SECONDS="5")
    daemon.start()

    slowest = 0.0
    with producing(daemon) as files:
        for _ in range(ROUNDS):
            for victim in dice.sample(VICTIMS, len(VICTIMS)):
                time.sleep(dice.uniform(0.05, 1.5))  # the random instant itself
                if victim == "daemon":
                    daemon.kill()
                    daemon.launch()
                else:
                    server.kill()
                    server.start()
            slowest = max(slowest, daemon.next_receipt())
    eventually(lambda: not daemon.waiting(), 120, "everything is delivered")
    eventually(lambda: daemon.metric("replay_queue_depth") == 0, 20, "the queue is empty")
    assert daemon.stop() == 0

    found = audit(server.url, "swarm_jobs", daemon.replay, daemon.ledger, files)
    kills = {name: VICTIMS.count(name) * ROUNDS for name in VICTIMS}
    fault = f"under load, killed at random: the daemon {kills['daemon']} times, the server {kills['server']} times"
    matrix.add(fault, ROUNDS * len(VICTIMS), found, slowest)
    assert found.problems == []
