"""Edge mode, store and forward: evidence outlives an absent server, and is replayed once on its return.

Reads as the runbook's steps, on a real nats-server and a real daemon process.
"""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys

import pytest

from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import messages
from tests.support.server import MakeNatsServer

pytestmark = pytest.mark.integration

EVIDENCE = {f"2026/11/camera-{number:03}.bin": b"frame %d " % number * 300 for number in range(200)}


def drop_evidence(daemon: DaemonProcess) -> None:
    for name, data in EVIDENCE.items():
        daemon.drop(name, data)


def test_evidence_persists_while_the_server_is_away_and_is_replayed_once(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """Nothing leaves the folder while there is no server; all of it arrives, once, when there is one."""
    server = make_nats_server()

    # 1. The edge is up, the hub is not.
    daemon = make_daemon(server.url)
    daemon.start()
    assert daemon.metric("edge_link_status") == 0

    # 2. Evidence is dropped. It is counted, and it stays.
    drop_evidence(daemon)
    eventually(lambda: daemon.metric("replay_queue_depth") == len(EVIDENCE), what="every file is counted")
    assert len(daemon.waiting()) == len(EVIDENCE)
    assert daemon.rows("published") == []

    # 3. The hub comes. The queue drains to 0.
    server.start()
    eventually(lambda: daemon.metric("edge_link_status") == 1, 5, "the link is up")
    eventually(lambda: daemon.metric("replay_queue_depth") == 0, what="the queue drains")
    eventually(lambda: not daemon.waiting(), what="the files are let go of")

    # 4. Every file is in the stream exactly once, byte for byte, under its digest.
    stored = asyncio.run(messages(server.url, "swarm_jobs"))
    assert sorted(message.data for message in stored) == sorted(EVIDENCE.values())
    for message in stored:
        digest = hashlib.sha256(message.data).hexdigest()
        assert message.subject == f"edge.replay.test-site.{digest}"
        assert message.headers["Nats-Msg-Id"] == message.headers["Edge-Sha256"] == digest
        assert message.headers["Edge-Size"] == str(len(message.data))
        assert EVIDENCE[message.headers["Edge-Path"]] == message.data

    # 5. Every file has its receipt in the ledger, and the metrics agree.
    receipts = {row["path"]: row for row in daemon.rows("published")}
    assert set(receipts) == set(EVIDENCE)
    assert {row["stream_seq"] for row in receipts.values()} == {message.seq for message in stored}
    assert daemon.metric("syncdaemon_published_files_total") == len(EVIDENCE)
    assert daemon.metric("syncdaemon_duplicates_total") == 0
    assert daemon.stop() == 0

    # 6. The ledger holds together, from its first row to its last.
    verified = subprocess.run([sys.executable, "-m", "syncdaemon", "verify"], env=daemon.env, capture_output=True)
    assert verified.returncode == 0, verified.stderr
    events = [row["event"] for row in daemon.rows("open", "published", "link", "close")]
    assert events[0] == "open"
    assert events[-1] == "close"
    assert "link" in events


def test_evidence_that_was_delivered_before_is_not_stored_again(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """The same content under another name, and after a restart, past the stream's duplicate window: a duplicate."""
    server = make_nats_server()
    server.start()
    daemon = make_daemon(server.url)
    daemon.start()
    daemon.drop("first.txt", b"one and the same")
    eventually(lambda: daemon.rows("published"), what="the first is recorded")
    assert daemon.stop() == 0

    # The server forgets its ids: the window does not outlive this, the stream's subjects do.
    server.kill()
    server.start()
    daemon.start()
    daemon.drop("second.txt", b"one and the same")
    eventually(lambda: daemon.rows("duplicate"), what="the second is recorded as a duplicate")

    (duplicate,) = daemon.rows("duplicate")
    (published,) = daemon.rows("published")
    assert duplicate["path"] == "second.txt"
    assert duplicate["stream_seq"] == published["stream_seq"]
    assert len(asyncio.run(messages(server.url, "swarm_jobs"))) == 1
    eventually(lambda: not daemon.waiting(), what="both files are let go of")
