"""Three servers and a stream on all of them: its leader is killed, again and again, under load."""

from __future__ import annotations

import asyncio
import os
import time

import nats
import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.audit import audit
from tests.support.client import connect
from tests.support.cluster import make_cluster
from tests.support.daemon import MakeDaemon, eventually
from tests.support.matrix import Matrix
from tests.support.producers import producing
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]

ROUNDS = int(os.environ.get("ROUNDS", "1"))
STREAM = "swarm_jobs"


async def leader(urls: list[str]) -> str | None:
    """The name of the server that leads the stream, once the two others have all that it has."""
    try:
        client = await connect(urls, connect_timeout=2)
    except (OSError, nats.errors.Error):
        return None
    try:
        cluster = (await client.jetstream().stream_info(STREAM)).cluster
        replicas = (cluster and cluster.replicas) or []
        healthy = len(replicas) == 2 and all(replica.current and not replica.offline for replica in replicas)
        return cluster.leader if cluster and healthy else None
    except nats.errors.Error:
        return None
    finally:
        await client.close()


def test_a_leader_that_is_killed_costs_no_file(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, matrix: Matrix
) -> None:
    """The daemon goes on to a server that lives; what was acknowledged by two of three is there."""
    servers = make_cluster(make_nats_server)
    by_name = {server.name: server for server in servers}
    urls = [server.url for server in servers]

    def leading() -> NatsServer:
        for _ in range(600):
            if found := by_name.get(asyncio.run(leader(urls)) or ""):
                return found
            time.sleep(0.1)
        pytest.fail("the stream has no leader with both others beside it, for a minute")

    daemon = make_daemon(",".join(urls), SYNC_STREAM_REPLICAS="3", SYNC_HOLD_SECONDS="5")
    daemon.start()
    rounds, slowest = 3 * ROUNDS, 0.0
    with producing(daemon) as files:
        for _ in range(rounds):
            eventually(lambda: len(daemon.rows_so_far("published")) > 20, 60, "the delivery is under way")
            victim = leading()
            victim.kill()
            slowest = max(slowest, daemon.next_receipt(60))
            victim.start()
    eventually(lambda: not daemon.waiting(), 120, "all is delivered")
    assert daemon.stop() == 0
    found = audit(urls[0], STREAM, daemon.replay, daemon.ledger, files)
    matrix.add("leader of a stream on three servers killed", rounds, found, slowest)
    assert found.problems == []
