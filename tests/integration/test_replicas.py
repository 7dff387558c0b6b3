"""The replicas of stream and bucket change while a daemon runs, on a cluster of three real servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.audit import File, audit
from tests.support.cluster import make_cluster
from tests.support.daemon import MakeDaemon, eventually
from tests.support.owner import call
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.lengthy, pytest.mark.timeout(300)]

STREAM, BUCKET = "swarm_jobs", "OBJ_edge_replay_test-site"


def described(url: str, stream: str) -> dict[str, Any]:
    """What a server of the cluster says of a stream; nothing while none can say it."""
    try:
        return asyncio.run(call(url, f"STREAM.INFO.{stream}"))
    except (AssertionError, OSError, TimeoutError):
        return {}


def set_replicas(url: str, count: int) -> None:
    """Of stream and bucket; returns when all replicas are there and have what the leader has."""
    for stream in (STREAM, BUCKET):
        config = described(url, stream)["config"]
        asyncio.run(call(url, f"STREAM.UPDATE.{stream}", config | {"num_replicas": count}))

    def settled() -> bool:
        for stream in (STREAM, BUCKET):
            found = described(url, stream).get("cluster", {})
            others = found.get("replicas") or []
            if not found.get("leader") or len(others) != count - 1 or not all(one.get("current") for one in others):
                return False
        return True

    eventually(settled, 60, f"{count} replicas are there")


def test_files_go_on_from_one_replica_to_three_and_back(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """Small files, a large one and a second copy between the changes: all there once, none counts as lost.

    The change of a setting is said. What another leader may lack is looked for, and found.
    """
    servers = make_cluster(make_nats_server)
    daemon = make_daemon(",".join(server.url for server in servers), SYNC_HOLD_SECONDS="60")
    daemon.start()
    files: list[tuple[str, bytes]] = []

    def deliver(named: str) -> None:
        new = [(f"{named}-{number}", f"{named} {number}".encode()) for number in range(40)]
        new += [(f"{named}-large", named.encode() * (1 << 19)), (f"{named}-copy", new[0][1])]
        for name, data in new:
            daemon.drop(name, data)
        files.extend(new)
        eventually(lambda: not daemon.waiting(), 90, f"all is delivered, {named}")

    deliver("one")
    for count in (3, 1, 3):
        set_replicas(servers[0].url, count)
        deliver(f"with-{count}-{len(files)}")
    said = "num_replicas=3 (was 1)"
    eventually(lambda: any(said in line["changes"] for line in daemon.logged("stream_changed")), 60, "it is said")

    assert daemon.metric("syncdaemon_quarantined_files") == 0
    assert daemon.stop() == 0
    assert daemon.rows("held_lost", "refused") == []
    sent = [File.of(name.encode(), data) for name, data in files]
    assert audit(servers[0].url, STREAM, daemon.replay, daemon.ledger, sent).problems == []


def test_a_cluster_that_is_not_complete_yet_is_waited_for(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """One server of three answers no question to JetStream: that is no wrong setting, with which a start would end."""
    servers = make_cluster(make_nats_server, running=1)
    daemon = make_daemon(servers[0].url)
    daemon.drop("early", b"early")
    daemon.start()
    eventually(lambda: "STREAM.INFO" in daemon.ailment("lane"), 30, "health says why it waits")
    assert len(daemon.waiting()) == 1
    for server in servers[1:]:
        server.start()
    eventually(lambda: not daemon.waiting(), 60, "it is delivered")
    assert daemon.stop() == 0
