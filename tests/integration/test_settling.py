"""What the daemon says of files that are not complete: how many there are, which one came first, and why."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.users import MakeSite

pytestmark = pytest.mark.integration

WEEK = 7 * 86_400


def status(daemon: DaemonProcess) -> dict[str, Any]:
    """Its status, as JSON."""
    found: dict[str, Any] = json.loads(daemon.get("/status"))
    return found


def why(daemon: DaemonProcess, path: str) -> str:
    """Why this file is not complete, where it is the one that came first of those; else empty."""
    oldest = status(daemon)["oldest_settling_file"]
    return str(oldest["reason"]) if oldest and oldest["path"] == path else ""


def test_a_file_that_a_recorder_holds_open_is_settling_and_not_ready(
    nats_server: NatsServer, make_site: MakeSite
) -> None:
    """Of another user, as it is deployed. Another file passes; status and log name the one that does not, with why."""
    site = make_site(nats_server.url, SYNC_LOG_LEVEL="debug", SYNC_SETTLE_IN_PLACE_SECONDS="1")
    daemon = site.daemon
    daemon.start()
    eventually(lambda: status(daemon)["complete_by"]["others"] == "close", 5, "its watch is on")
    recorder = site.produce("file = open('rec%ord', 'wb', buffering=0); file.write(b'part'); sys.stdin.read(1)")
    eventually(lambda: why(daemon, "rec%25ord") == "a writer has it open", 10, "status names the file")
    site.produced("append('.f', b'whole'); os.rename('.f', 'other')")
    eventually(lambda: daemon.waiting() == [site.replay / "rec%ord"], 10, "the other file passes")

    def counted() -> tuple[float, ...]:
        found = daemon.metrics()
        names = ("replay_queue_depth", "syncdaemon_ready_files", "syncdaemon_settling_files")
        return tuple(found[name] for name in names)

    eventually(lambda: counted() == (1, 0, 1), 10, "one file is settling")
    assert daemon.metric("syncdaemon_oldest_file_age_seconds") == 0
    said = daemon.logged("oldest_settling_file", at_least=1)[0]
    assert (said["level"], said["path"], said["reason"]) == ("debug", "rec%25ord", "a writer has it open")
    recorder.communicate(b"!")
    eventually(lambda: counted() == (0, 0, 0), 10, "it is delivered")
    assert status(daemon)["oldest_settling_file"] is None


def test_why_a_file_is_not_complete(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Too young, still changing, or open."""
    daemon = make_daemon(nats_server.url, SYNC_SETTLE_SECONDS="2")
    daemon.start()
    with daemon.drop("f", b"1").open("ab", buffering=0) as file:
        eventually(lambda: why(daemon, "f") == "too young", 5, "it has just come")

        def changes() -> bool:
            file.write(b"more")
            return why(daemon, "f") == "still changing"

        eventually(changes, 10, "it changes all the time")
        eventually(lambda: why(daemon, "f") == "a writer has it open", 10, "it is quiet and open")
    eventually(lambda: not daemon.waiting(), 10, "it is delivered")


def test_files_of_a_standby_are_ready(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """They are complete; the metric `edge_mode` says why they wait."""
    daemon = make_daemon(nats_server.url, EDGE_MODE="false")
    daemon.start()
    daemon.drop("f", b"1")
    eventually(lambda: daemon.metric("syncdaemon_ready_files") == 1, 10, "it is counted")
    found = daemon.metrics()
    assert (found["syncdaemon_edge_mode"], found["syncdaemon_paused"]) == (0, 0)
    assert found["syncdaemon_settling_files"] == 0


def test_last_weeks_file_is_not_a_week_late(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Ages and latencies count from its arrival, also where a scan finds it, or a file that came before the daemon."""
    daemon = make_daemon(nats_server.url, EDGE_MODE="false")
    old = time.time() - WEEK

    def drop(name: str) -> None:
        (daemon.replay / ".part").write_bytes(name.encode())
        os.utime(daemon.replay / ".part", (old, old))
        (daemon.replay / ".part").rename(daemon.replay / name)

    drop("before")
    daemon.start()
    drop("after")
    eventually(lambda: daemon.metric("syncdaemon_ready_files") == 2, 10, "both are counted")
    assert 0 < daemon.metric("syncdaemon_oldest_file_age_seconds") < 60
    daemon.kill()
    daemon.env["EDGE_MODE"] = "true"
    daemon.start()
    eventually(lambda: not daemon.waiting(), 20, "both are delivered")
    found = daemon.metrics()
    assert found["syncdaemon_delivery_latency_seconds_count"] == 2
    assert 0 < found["syncdaemon_delivery_latency_seconds_sum"] < 120
    assert [str(row["mtime_ns"])[:10] for row in daemon.rows("published")] == [str(int(old))] * 2
