"""Edge mode, disconnect and reconnect: a real server stopped in the middle of the work, and started again.

Reads as the runbook's steps.
"""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import pairwise

import pytest

from tests.support.daemon import Gauge, MakeDaemon, eventually
from tests.support.jetstream import messages
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.alone]

FILES = 3_000


def monotonic_parts(curve: list[float]) -> list[str]:
    """The curve as a row of rises and falls."""
    parts: list[str] = []
    for before, after in pairwise(curve):
        part = "rises" if after > before else "falls"
        if not parts or parts[-1] != part:
            parts.append(part)
    return parts


@pytest.mark.parametrize("ending", ["stop", "kill", "freeze"])
def test_the_link_goes_down_and_up_and_the_queue_rises_and_falls_to_zero(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, ending: str
) -> None:
    """Gauge 1, 0, 1; the queue rises while the server is away, and only falls after its return."""
    server = make_nats_server()
    server.start()
    daemon = make_daemon(server.url)
    daemon.start()

    # 1. All is well: a first file passes.
    daemon.drop("before.bin", b"before")
    eventually(lambda: daemon.metric("syncdaemon_published_files_total") == 1, what="the first file passes")
    assert daemon.metric("edge_link_status") == 1

    with Gauge(daemon, "edge_link_status", "replay_queue_depth") as seen:
        # 2. The server goes; evidence goes on to arrive.
        getattr(server, ending)()
        producer = threading.Thread(target=lambda: [daemon.drop(f"f{i}", b"%d" % i * 50) for i in range(FILES)])
        producer.start()
        eventually(lambda: daemon.metric("edge_link_status") == 0, 6, "the gauge tells within 6 s")
        producer.join()
        eventually(lambda: daemon.metric("replay_queue_depth") == FILES, what="every file is counted")

        # 3. The server comes back; so does the daemon, by itself, and within 2 s.
        if ending == "freeze":
            server.thaw()
        else:
            server.start()
        back = time.monotonic()
        eventually(lambda: daemon.metric("syncdaemon_published_files_total") > 1, 2.5, "back to work within 2 s")
        assert time.monotonic() - back < 2.5
        eventually(lambda: daemon.metric("replay_queue_depth") == 0, 30, "the queue drains")

    # 4. The curves: 1 → 0 → 1, and up and down once.
    assert seen.curves["edge_link_status"] == [1, 0, 1]
    assert seen.curves["replay_queue_depth"][-1] == 0
    assert monotonic_parts(seen.curves["replay_queue_depth"]) == ["rises", "falls"]

    # 5. Nothing lost, nothing twice; the ledger tells of the outage.
    stored = asyncio.run(messages(server.url, "swarm_jobs"))
    assert len(stored) == FILES + 1
    assert len({message.subject for message in stored}) == FILES + 1
    eventually(lambda: len(daemon.rows_so_far("published")) == FILES + 1, what="every file is recorded")
    assert daemon.rows("duplicate") == []
    assert [row["up"] for row in daemon.rows("link")][:3] == [True, False, True]
    assert daemon.stop() == 0


def test_absent_at_start_and_away_for_20_seconds_in_the_middle_of_5000_files(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """The daemon waits for a server, and again; nothing is lost, nothing is twice."""
    files, away = 5_000, 20.0
    server = make_nats_server()
    daemon = make_daemon(server.url)
    daemon.start()

    def produce() -> None:
        for number in range(files):
            daemon.drop(f"f{number}", b"%d" % number * 50)
            time.sleep(0.001)  # so that there is a middle

    producer = threading.Thread(target=produce)
    producer.start()
    eventually(lambda: daemon.metric("replay_queue_depth") > 100, what="files wait for a server")
    assert daemon.metric("edge_link_status") == 0
    server.start()
    eventually(lambda: daemon.metric("syncdaemon_published_files_total") > 500, what="it came, and they go")
    server.stop()
    gone, stored_before = time.monotonic(), daemon.metric("syncdaemon_published_files_total")
    assert stored_before < files
    eventually(lambda: daemon.metric("edge_link_status") == 0, 6, "the gauge tells within 6 s")
    time.sleep(gone + away - time.monotonic())
    server.start()
    eventually(lambda: daemon.metric("syncdaemon_published_files_total") > stored_before, 2.5, "back within 2 s")
    producer.join()
    eventually(lambda: daemon.metric("replay_queue_depth") == 0, 30, "the queue drains")

    stored = asyncio.run(messages(server.url, "swarm_jobs"))
    assert len(stored) == len({message.subject for message in stored}) == files
    eventually(lambda: len(daemon.rows_so_far("published")) == files, what="every file is recorded")
    assert daemon.rows("duplicate") == []
    assert daemon.stop() == 0
