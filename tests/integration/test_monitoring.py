"""What monitoring sees of a running daemon, and what a real Prometheus makes of it.

The rules are those that are deployed, but every time in them is 60 times shorter: a wait of five minutes is one of five
seconds here. promtool tests them with their own times.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scripts.backlog_drain import local
from scripts.prometheus import Api
from syncdaemon.daemon.levels import SETTLED_SECONDS
from syncdaemon.dev.server import HOST, NatsServer
from tests.deploy.test_dashboard import queries
from tests.support import needs
from tests.support.certificates import Certificates
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.logins import credentials
from tests.support.prometheus import need, quicker
from tests.support.promql import series
from tests.support.server import MakeNatsServer
from tests.support.shell import Shell

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

RULES = quicker(local.RULES.read_text(), 60)
QUEUE = '{stream="swarm_jobs",consumer="worker-staging"}'
OF_THE_DISK = {"ReplayDiskFilling", "LedgerDiskFilling", "LedgerDiskLow"}
# Series that are there only once something has gone wrong.
OF_TROUBLE = {"syncdaemon_refused_total", "syncdaemon_publish_errors_total", "nats_worker_failed_total", "ALERTS"}
# Series of what this rig does not have: large files, TLS and a login.
OF_OTHERS = {"syncdaemon_bucket_bytes", "syncdaemon_credentials_expire_timestamp_seconds"}


def test_the_room_on_the_ledgers_disk_is_told_beside_what_is_wanted(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """Two gauges, so that an alert needs no number of its own; without the folder NaN, and all else goes on."""
    daemon = make_daemon(nats_server.url, SYNC_MIN_FREE_BYTES="1Mi")
    daemon.start()
    disk = os.statvfs(daemon.ledger)
    assert daemon.metric("syncdaemon_ledger_free_bytes") == pytest.approx(disk.f_bavail * disk.f_frsize, rel=0.1)
    assert daemon.metric("syncdaemon_ledger_min_free_bytes") == 1 << 20

    eventually(lambda: daemon.metric("edge_link_status") == 1, what="the link is up")
    daemon.ledger.rename(daemon.ledger.with_name("taken-away"))
    assert math.isnan(daemon.metric("syncdaemon_ledger_free_bytes"))
    assert daemon.metric("edge_link_status") == 1


def test_the_room_on_the_replay_directorys_disk_is_told(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """By the directory that was opened at the start, and so also while its name is another's."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    disk = os.statvfs(daemon.replay)
    assert daemon.metric("syncdaemon_replay_free_bytes") == pytest.approx(disk.f_bavail * disk.f_frsize, rel=0.1)


@pytest.fixture
def few_inodes(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for megabytes, and for a hundred files."""
    place = tmp_path / "few"
    place.mkdir()
    needs.root()
    mount = [needs.program("mount"), "-t", "tmpfs", "-o", "size=16m,nr_inodes=100", "none", str(place)]
    subprocess.run(mount, check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_disk_without_an_inode_is_full(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, shell: Shell, few_inodes: Path
) -> None:
    """Health, metric and doctor say so, though megabytes are free; and the delivery goes on, which makes room."""
    server = make_nats_server()
    daemon = make_daemon(server.url, SYNC_REPLAY_DIR=str(few_inodes), SYNC_HOLD_SECONDS="0")
    daemon.start()
    assert daemon.ailment("disks") == ""
    assert 0 < daemon.metric("syncdaemon_replay_free_bytes") < 100 * 4096
    found = shell("doctor", "--json", NATS_URL=server.url, SYNC_REPLAY_DIR=str(few_inodes))
    assert "takes " in said_of(found.out, "replay_dir_inodes")
    for number in range(200):
        try:
            (few_inodes / f"f{number}").write_bytes(b"%d" % number)
        except OSError:
            break
    else:
        pytest.fail("the disk takes all files")
    assert os.statvfs(few_inodes).f_bavail > 1_000

    assert daemon.ailment("disks") == "the disk of SYNC_REPLAY_DIR: no inode is free, so no further file can be made"
    assert daemon.metric("syncdaemon_replay_free_bytes") == 0
    found = shell("doctor", "--json", NATS_URL=server.url, SYNC_REPLAY_DIR=str(few_inodes))
    assert "no inode is free" in said_of(found.out, "replay_dir")
    server.start()
    eventually(lambda: not list(few_inodes.glob("f*")), 30, "all is delivered")
    assert daemon.ailment("disks") == ""
    assert daemon.stop() == 0


def said_of(findings: str, check: str) -> str:
    """What doctor says of a check."""
    return next(str(one["said"]) for one in json.loads(findings) if one["check"] == check)


def test_for_how_many_days_the_ledger_has_room(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """At the rate of its files, as they are on disk."""
    daemon = make_daemon(nats_server.url, SYNC_MIN_FREE_BYTES="1Mi")
    daemon.ledger.mkdir()
    today = datetime.now(UTC).date()
    (daemon.ledger / f"evidence-test-site-{today - timedelta(1):%Y%m%d}.jsonl").write_bytes(b"")
    daemon.start()
    (daemon.ledger / f"evidence-test-site-{today - timedelta(3):%Y%m%d}.jsonl").write_bytes(bytes(7 << 20))
    free = daemon.metric("syncdaemon_ledger_free_bytes") - (1 << 20)
    assert daemon.metric("syncdaemon_ledger_days_left") == pytest.approx(free / (1 << 20), rel=0.1)
    daemon.ledger.rename(daemon.ledger.with_name("taken-away"))
    assert math.isnan(daemon.metric("syncdaemon_ledger_days_left"))


@pytest.mark.parametrize("limited", [True, False])
def test_how_full_the_stream_and_the_bucket_are(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, limited: bool
) -> None:
    """With the most that they take; no limit is +Inf. Before there is a bucket, nothing is said of one."""
    server = make_nats_server()
    server.start()
    daemon = make_daemon(server.url, **({"SYNC_STREAM_MAX_BYTES": "64Mi"} if limited else {}))
    for number in range(3):
        daemon.drop(f"{number}.bin", b"evidence %d" % number)
    daemon.start()
    eventually(lambda: daemon.metric("syncdaemon_published_files_total") == 3, what="all are delivered")
    eventually(lambda: daemon.metrics().get("syncdaemon_stream_messages") == 3, what="the stream was looked at")
    levels = daemon.metrics()
    assert levels["syncdaemon_stream_bytes"] > 3 * len(b"evidence 0")
    assert levels["syncdaemon_stream_max_bytes"] == (64 << 20 if limited else math.inf)
    assert levels["syncdaemon_stream_max_messages"] == math.inf
    assert "syncdaemon_bucket_bytes" not in levels

    daemon.drop("large.bin", bytes(2 << 20))
    eventually(lambda: daemon.metric("syncdaemon_published_files_total") == 4, what="the large one is delivered")
    server.kill()
    server.start()
    eventually(lambda: daemon.metrics().get("syncdaemon_bucket_bytes", 0) > 2 << 20, what="the bucket was looked at")
    assert daemon.metric("syncdaemon_bucket_max_bytes") == math.inf
    assert daemon.metric("syncdaemon_stream_messages") == 4


def test_a_stream_that_may_not_be_looked_at_has_no_level(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """Files are delivered all the same."""
    rights = "permissions: {publish: {deny: '$JS.API.STREAM.INFO.>'}}"
    users = f"{{user: edge, password: secret, {rights}}}, {{user: maker, password: secret}}"
    server = make_nats_server(config=f"authorization {{ users: [{users}] }}")
    server.start()
    first = make_daemon(server.url, "first", NATS_USER="maker", NATS_PASSWORD="secret")
    first.start()
    eventually(lambda: first.metrics().get("syncdaemon_stream_messages") == 0, what="the stream is there")
    first.stop()
    daemon = make_daemon(server.url, NATS_USER="edge", NATS_PASSWORD="secret")
    daemon.drop("a.bin", b"evidence")
    daemon.start()
    eventually(lambda: daemon.metric("syncdaemon_published_files_total") == 1, what="it is delivered")
    time.sleep(SETTLED_SECONDS + 1)
    assert "syncdaemon_stream_messages" not in daemon.metrics()
    assert daemon.metric("edge_link_status") == 1


def test_when_the_login_ends(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, certificates: Certificates, tmp_path: Path
) -> None:
    """The JWT, our certificate and the server's; a file that is renewed counts at once, without a restart."""
    server = make_nats_server(config=certificates.mutual())
    server.start()
    creds = tmp_path / "site.creds"
    creds.write_bytes(credentials({"exp": 2_000_000_000}))
    daemon = make_daemon(
        server.url.replace("nats://", "tls://"),
        NATS_TLS_CA=str(certificates.ca),
        NATS_TLS_CERT=str(certificates.client_cert),
        NATS_TLS_KEY=str(certificates.client_key),
        NATS_CREDS=str(creds),
    )
    daemon.start()
    name = "syncdaemon_credentials_expire_timestamp_seconds"
    eventually(lambda: f'{name}{{kind="server_certificate"}}' in daemon.metrics(), what="the server was met")
    ends = daemon.metrics()
    assert ends[f'{name}{{kind="jwt"}}'] == 2_000_000_000
    in_two_days = pytest.approx(time.time() + 2 * 86_400, abs=3_600)
    assert ends[f'{name}{{kind="client_certificate"}}'] == in_two_days
    assert ends[f'{name}{{kind="server_certificate"}}'] == in_two_days

    server.kill()
    creds.write_bytes(credentials({"exp": 2_100_000_000}))
    assert daemon.metric(f'{name}{{kind="jwt"}}') == 2_100_000_000
    assert daemon.metric(f'{name}{{kind="server_certificate"}}') == in_two_days
    creds.unlink()
    assert f'{name}{{kind="jwt"}}' not in daemon.metrics()


def test_without_files_that_end_nothing_is_said_of_an_end(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(nats_server.url)
    daemon.start()
    eventually(lambda: daemon.metric("edge_link_status") == 1, what="the link is up")
    assert "syncdaemon_credentials_expire_timestamp_seconds" not in " ".join(daemon.metrics())


class Alert:
    """Notes the states of one alert until it is left, each change once."""

    def __init__(self, api: Api, name: str) -> None:
        self.states: list[str] = []
        self._api, self._name = api, name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            state = alerts(self._api)[self._name]
            if self.states[-1:] != [state]:
                self.states.append(state)

    def __enter__(self) -> Alert:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def alerts(api: Api) -> dict[str, str]:
    """Every alert's state: inactive, pending or firing; of one with two severities, the worse of its two states."""
    states = ("inactive", "pending", "firing")
    found: dict[str, str] = {}
    for rule in api.rules():
        if rule["type"] == "alerting":
            found[rule["name"]] = max(found.get(rule["name"], "inactive"), rule["state"], key=states.index)
    return found


def fires(api: Api, name: str, within: float = 90.0) -> None:
    """Waits until it does."""
    eventually(lambda: alerts(api)[name] == "firing", within, f"{name} fires")


def rests(api: Api, within: float = 90.0) -> None:
    """Waits until no alert fires or is about to. How this machine's disk fills is not the test's matter."""

    def states() -> set[str]:
        return {state for name, state in alerts(api).items() if name not in OF_THE_DISK}

    eventually(lambda: states() == {"inactive"}, within, "no alert is left")


class Edge:
    """A daemon and everything that watches it."""

    def __init__(self, rig: local.Rig, daemon: DaemonProcess) -> None:
        self.rig, self.daemon = rig, daemon
        self.api = rig.prometheus.api
        self.dropped = 0

    def drop(self, count: int) -> None:
        """Drops so many files more."""
        for number in range(self.dropped, self.dropped + count):
            self.daemon.drop(f"{number:06}.bin", b"evidence %d" % number)
        self.dropped += count

    def workers(self, number: signal.Signals) -> None:
        """SIGSTOP pauses them, SIGCONT lets them go on."""
        for worker in self.rig.workers:
            worker.send_signal(number)


@pytest.fixture
def edge(make_daemon: MakeDaemon) -> Iterator[Edge]:
    """A daemon on a rig with two workers, up and scraped, and its first files delivered."""
    need("prometheus")
    daemon = make_daemon("nats://chosen-below:4222", SITE="harbour-3")
    with ExitStack() as ending:
        others = {"syncdaemon": [f"{HOST}:{daemon.port}"]}
        rig = ending.enter_context(local.rig(2, RULES, others, "500ms"))
        daemon.env["NATS_URL"] = rig.nats.url
        daemon.start()
        edge = Edge(rig, daemon)
        edge.drop(10)
        eventually(lambda: edge.api.value("count(up == 1)") == 4, 60, "daemon, exporter and workers are scraped")
        eventually(lambda: edge.api.value(f"jetstream_backlog{QUEUE}") == 0, 60, "the queue is recorded")
        yield edge


@pytest.mark.lengthy
def test_the_objective_is_at_risk_while_workers_pause_and_not_after_it(edge: Edge) -> None:
    """A real backlog, from files at the edge; the rules see it grow, stand still, shrink and end."""
    eventually(lambda: edge.api.value("sum(nats_worker_processed_total)") == 10, 60, "the first files are received")
    rests(edge.api)
    assert [rule["name"] for rule in edge.api.rules() if rule["health"] != "ok"] == []

    with Alert(edge.api, "NATSBacklogDrainSLOAtRisk") as objective:
        edge.workers(signal.SIGSTOP)
        while (edge.api.value(f"jetstream_backlog{QUEUE}") or 0) < 4200:
            edge.drop(1000)
        fires(edge.api, "NATSBacklogDrainSLOAtRisk")
        fires(edge.api, "SustainedNATSBacklogCritical")
        assert edge.api.value(f"jetstream_backlog_drain_estimate_minutes{QUEUE}") == math.inf

        edge.workers(signal.SIGCONT)
        unanswered = {query for _, query in queries() if not series(query) & (OF_TROUBLE | OF_OTHERS)}
        deadline = time.monotonic() + 90
        while edge.api.value(f"jetstream_backlog{QUEUE}") or unanswered:
            unanswered -= {query for query in unanswered if edge.api.query(query)}
            assert time.monotonic() < deadline, unanswered
        rests(edge.api)

    assert objective.states == ["inactive", "pending", "firing", "inactive"]
    assert edge.api.value(f"jetstream_backlog_drain_estimate_minutes{QUEUE}") == 0
    eventually(lambda: edge.api.value(f"jetstream_ack_pending{QUEUE}") == 0, 90, "everything is acknowledged")
    received = [path for path in edge.rig.folder.glob("received-*/harbour-3/*") if path.is_file()]
    assert {path.name for path in received} == {f"{number:06}.bin" for number in range(edge.dropped)}
    assert all(path.read_bytes() == b"evidence %d" % int(path.stem) for path in received)


@pytest.mark.lengthy
def test_a_server_and_an_exporter_that_are_gone_are_told_apart(edge: Edge) -> None:
    """Without the server the edge has no link and the exporter's page is empty; without the exporter `up` is 0."""
    rests(edge.api)
    edge.rig.nats.kill()
    fires(edge.api, "EdgeLinkDown")
    fires(edge.api, "NATSBacklogUnknown")
    assert alerts(edge.api)["NATSExporterDown"] == "inactive"
    assert edge.api.query(f"jetstream_backlog{QUEUE}") == []
    edge.rig.nats.start()
    rests(edge.api)

    edge.rig.exporter.terminate()
    fires(edge.api, "NATSExporterDown")
    assert alerts(edge.api)["EdgeLinkDown"] == "inactive"

    edge.daemon.kill()
    fires(edge.api, "EdgeDaemonDown")


@pytest.mark.lengthy
def test_a_file_that_a_recorder_holds_open_and_a_standby_page_nobody(edge: Edge) -> None:
    """The first is not complete, and the second was asked for; for the second there is a warning after a day."""
    rests(edge.api)
    with Alert(edge.api, "ReplayQueueStalled") as stalled:
        with (edge.daemon.replay / "recording.bin").open("wb") as recording:
            recording.write(b"still")
            recording.flush()
            eventually(lambda: edge.api.value("min_over_time(replay_queue_depth[20s])") == 1, 90, "it waits for long")
            assert edge.api.value("syncdaemon_settling_files") == 1
            assert edge.api.value("edge_link_status") == 1
        eventually(lambda: edge.api.value("replay_queue_depth") == 0, 90, "it is complete, and delivered")

        edge.daemon.stop()
        edge.daemon.env["EDGE_MODE"] = "false"
        edge.daemon.start()
        edge.drop(3)
        eventually(lambda: edge.api.value("min_over_time(replay_queue_depth[20s])") == 3, 90, "they wait for long")
        assert alerts(edge.api)["DeliveryPaused"] == "pending"
    assert stalled.states == ["inactive"]
