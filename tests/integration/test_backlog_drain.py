"""`scripts/measure_backlog_drain.sh` on a real server, a real Prometheus and real workers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import nats
import pytest
from nats.js.api import ConsumerConfig

from scripts.backlog_drain.queue import SITE, JetStreamQueue
from syncdaemon.dev.server import HOST, NatsServer
from syncdaemon.settings.values import Settings
from tests.support.client import connect
from tests.support.daemon import eventually
from tests.support.jetstream import messages
from tests.support.ports import own_port
from tests.support.prometheus import need

pytestmark = [pytest.mark.integration, pytest.mark.lengthy, pytest.mark.timeout(600)]

SCRIPT = Path(__file__).parents[2] / "scripts/measure_backlog_drain.sh"


class Ended(NamedTuple):
    """What the script left."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        """The JSON report."""
        found: dict[str, Any] = json.loads((self.folder / "backlog_drain.json").read_text())
        return found


class Script:
    """The script, with its reports and all its temporary files in one folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "temporary"
        self.temporary.mkdir()

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        own = {"PYTHON": sys.executable, "TMPDIR": str(self.temporary)}
        return subprocess.Popen(
            [SCRIPT, *arguments, "--out", self.folder / "out"],
            env={**os.environ, **own, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # who runs the tests may ignore it
        )

    def __call__(self, *arguments: str, **env: str) -> Ended:
        process = self.start(*arguments, **env)
        out, err = process.communicate()
        return Ended(process.returncode, out, err, self.folder / "out")

    def left(self) -> list[str]:
        """Processes that still run with a file of ours, and files that are still there."""
        marks = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        ours = [mark.decode() for mark in marks if os.fsencode(self.temporary) in mark]
        return ours + [str(path) for path in self.temporary.iterdir()]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    need("prometheus")
    return Script(tmp_path)


def test_a_small_backlog_is_drained_by_local_workers(script: Script) -> None:
    """Progress on stderr, results on stdout, and a report in two forms; nothing is left running."""
    ended = script("--local", "--messages", "300", "--runs", "2")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert [bool(re.fullmatch(rf"run {n}: \d+\.\d s", line)) for n, line in enumerate(lines[:2], 1)] == [True, True]
    assert re.fullmatch(r"P95 \S+ s of 2 runs \(nearest rank\), at most 600 s; longest \S+ s, at most 1200 s", lines[2])
    assert "run 1: 300 messages published" in ended.err

    report = ended.report
    assert report["passed"]
    assert report["backlog"] == 300
    assert len(report["durations_seconds"]) == 2
    assert report["p95_seconds"] == max(report["durations_seconds"])
    assert re.match(r"[0-9a-f]{40}", report["commit"])
    assert "Backlog drain: passed" in (ended.folder / "backlog_drain.md").read_text()
    assert script.left() == []


@pytest.mark.lengthy
def test_three_runs_of_4000_meet_the_objective(script: Script) -> None:
    """What the script measures when nobody tells it otherwise."""
    ended = script("--local")
    assert ended.code == 0, ended.err
    assert ended.report["passed"]
    assert ended.report["backlog"] == 4000
    assert len(ended.report["durations_seconds"]) == 3
    assert script.left() == []


def test_without_workers_it_fails_and_says_why(script: Script) -> None:
    """Exit 1, no duration, no P95, and no second run."""
    ended = script("--local", "--workers", "0", "--messages", "50", "--run-limit", "8")
    assert ended.code == 1, ended.err
    assert "after 8 s, backlog 50, ack pending 0, and no worker waits for messages" in ended.out
    assert "P95 not known" in ended.out
    assert not ended.report["passed"]
    assert ended.report["durations_seconds"] == []
    assert ended.report["p95_seconds"] is None
    assert len(ended.report["runs"]) == 1
    assert "FAILED" in (ended.folder / "backlog_drain.md").read_text()
    assert script.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_takes_everything_down(script: Script, number: signal.Signals) -> None:
    """Server, exporter, Prometheus, workers and their files."""
    process = script.start("--local", "--workers", "1", "--messages", "50", "--run-limit", "300")
    assert process.stderr is not None
    while "published" not in (line := process.stderr.readline()):
        assert line, "it ended before it had published"
    assert len(script.left()) > 3
    process.send_signal(number)
    process.communicate()
    assert process.returncode != 0
    eventually(lambda: script.left() == [], what="all is taken down")


def test_standing_by_it_publishes_nothing(script: Script, nats_server: NatsServer) -> None:
    """EDGE_MODE=false is the daemon's word for it, and holds here too."""
    ended = script(EDGE_MODE="false", NATS_URL=nats_server.url)
    assert ended.code == 2
    assert ended.err.startswith("measure_backlog_drain: EDGE_MODE: false stands by")


def test_what_can_not_be_reached_is_named(script: Script, nats_server: NatsServer) -> None:
    """Exit 3 and one line, for the server and for Prometheus."""
    nowhere = f"{HOST}:{own_port()}"
    ended = script(NATS_URL=f"nats://edge:secret@{nowhere}")
    assert ended.code == 3
    assert ended.err.startswith(f"measure_backlog_drain: NATS_URL: no connection to nats://edge:********@{nowhere}: ")
    assert ended.err.count("\n") == 1

    ended = script("--prometheus", f"http://{nowhere}", "--run-limit", "1", NATS_URL=nats_server.url)
    assert ended.code == 3
    assert f"measure_backlog_drain: no Prometheus answers at http://{nowhere}" in ended.err


def queue(server: NatsServer) -> JetStreamQueue:
    """As the script makes it."""
    return JetStreamQueue(Settings.load({"SITE": SITE, "NATS_URL": server.url}, {}, {}).settings, "worker-staging")


def on_stream(server: NatsServer, ask: Callable[[nats.js.JetStreamContext], Any]) -> Any:
    """An answer of JetStream to a plain client."""

    async def asked() -> Any:
        client = await connect(server.url)
        try:
            return await ask(client.jetstream())
        finally:
            await client.close()

    return asyncio.run(asked())


def test_stream_and_consumer_are_made_where_they_are_missing_and_never_altered(nats_server: NatsServer) -> None:
    """Twice over: what the first call made, and what somebody else made."""
    ours = queue(nats_server)
    asyncio.run(ours.ensure())
    made = on_stream(nats_server, lambda js: js.consumer_info("swarm_jobs", "worker-staging"))
    assert made.config.ack_policy == "explicit"
    assert on_stream(nats_server, lambda js: js.stream_info("swarm_jobs")).config.max_msgs_per_subject == 1
    asyncio.run(ours.ensure())

    on_stream(nats_server, lambda js: js.delete_stream("swarm_jobs"))
    on_stream(nats_server, lambda js: js.add_stream(name="swarm_jobs", subjects=["edge.>"], max_msgs=77))
    theirs = ConsumerConfig(durable_name="worker-staging", ack_wait=7, max_ack_pending=5)
    on_stream(nats_server, lambda js: js.add_consumer("swarm_jobs", theirs))
    asyncio.run(ours.ensure())
    assert on_stream(nats_server, lambda js: js.stream_info("swarm_jobs")).config.max_msgs == 77
    found = on_stream(nats_server, lambda js: js.consumer_info("swarm_jobs", "worker-staging"))
    assert (found.config.ack_wait, found.config.max_ack_pending) == (7, 5)


def test_what_is_published_is_what_the_daemon_would_send(nats_server: NatsServer) -> None:
    """Every message has content, id and subject of its own, and the headers that a worker reads."""
    ours = queue(nats_server)
    asyncio.run(ours.ensure())
    last = asyncio.run(ours.publish(300, 512))
    stored = asyncio.run(messages(nats_server.url, "swarm_jobs"))
    assert len(stored) == last == 300
    assert len({message.data for message in stored}) == 300
    for message in stored:
        digest = message.headers["Nats-Msg-Id"]
        assert message.headers["Edge-Sha256"] == digest
        assert message.subject == f"edge.replay.{SITE}.{digest}"
        assert message.headers["Edge-Site"] == SITE
        assert message.headers["Edge-Size"] == str(len(message.data)) == "512"
        assert message.headers["Edge-Path"].endswith(".bin")
