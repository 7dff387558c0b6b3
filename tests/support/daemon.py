"""A real daemon process, seen from outside only: its metrics, its status, its ledger, its exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from syncdaemon.dev.server import free_port
from tests.support.jetstream import ledger_rows

_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)


def eventually(check: Callable[[], object], within: float = 20.0, what: str = "") -> None:
    """Returns as soon as `check` is true; fails with `what` when it is not within so many seconds."""
    deadline = time.monotonic() + within
    while not check():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within:g} s: {what or check}")
        time.sleep(0.02)


def parse_metrics(text: str) -> dict[str, float]:
    """Every sample of a page, by name; where it has more labels than the site, by `name{labels}` without the site."""
    found: dict[str, float] = {}
    for name, labels, value in _SAMPLE.findall(text):
        rest = ",".join(label for label in labels.split(",") if label and not label.startswith("site="))
        found[f"{name}{{{rest}}}" if rest else name] = float(value)
    return found


class Measured(Protocol):
    """A daemon, however it runs, whose metrics can be read."""

    def metrics(self) -> dict[str, float]: ...


class DaemonProcess:
    """`syncdaemon run` as a child process, with its replay and ledger directories under one folder."""

    def __init__(self, folder: Path, url: str, **settings: str) -> None:
        self.replay = folder / "replay"
        self.ledger = folder / "ledger"
        self.replay.mkdir(exist_ok=True)
        self.port = free_port()
        self.log_path = folder / "daemon.log"
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SYNC_", "NATS_"))},
            "SITE": "test-site",
            "NATS_URL": url,
            "SYNC_REPLAY_DIR": str(self.replay),
            "SYNC_LEDGER_DIR": str(self.ledger),
            "SYNC_HTTP_ADDR": f"127.0.0.1:{self.port}",
            **settings,
        }
        self.command = [sys.executable, "-m", "syncdaemon", "run"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when the web side answers: scanned, and the ledger writable."""
        self.launch()
        eventually(self._ready, 20, f"the daemon is ready; its log: {self.log()[-2000:]}")

    def launch(self) -> None:
        """Starts the process, and does not wait for it."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=self.env, stdout=log, stderr=log, cwd=self.replay.parent)

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"the daemon ended with {self.process.returncode}: {self.log()[-2000:]}")
        try:
            self.get("/readyz")
        except (urllib.error.URLError, OSError):
            return False
        return True

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)  # twice ten seconds, where the ledger's disk is full, and then some

    def kill(self) -> None:
        """SIGKILL: a crash."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        """All that it has logged."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def get(self, path: str) -> str:
        """A page of its web side."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of a page of its web side, also where it says that something is wrong."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def ailment(self, check: str) -> str:
        """What a check of its health finds wrong; empty where it is well."""
        found = json.loads(self.page("/healthz")[1])["checks"][check]
        return "" if found["ok"] else str(found["detail"])

    def logged(self, event: str) -> list[dict[str, object]]:
        """Its log lines of one event."""
        lines = (json.loads(line) for line in self.log().splitlines() if line.startswith("{"))
        return [line for line in lines if line["event"] == event]

    def metrics(self) -> dict[str, float]:
        """Every sample now."""
        return parse_metrics(self.get("/metrics"))

    def metric(self, name: str) -> float:
        """The value of one sample now."""
        return self.metrics()[name]

    def drop(self, name: str | bytes, data: bytes) -> Path:
        """Drops a file the way a producer should: a hidden name, then a rename."""
        name = os.fsdecode(name)
        target = self.replay / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f".{time.monotonic_ns()}.part"
        temporary.write_bytes(data)
        temporary.rename(target)
        return target

    def rows(self, *events: str) -> list[dict[str, object]]:
        """The ledger's rows of these events."""
        return [row for row in ledger_rows(self.ledger) if row["event"] in events]

    def rows_so_far(self, event: str) -> list[bytes]:
        """The ledger's finished lines of one event, while somebody may still write; not parsed."""
        wanted = b'"event":"%b"' % event.encode()
        files = sorted(self.ledger.glob("evidence-*.jsonl"))
        return [line for path in files for line in path.read_bytes().splitlines() if wanted in line]

    def next_receipt(self, within: float = 30.0) -> float:
        """Waits until there is one receipt more than now; the seconds that this took."""
        began, before = time.monotonic(), len(self.rows_so_far("published"))
        eventually(lambda: len(self.rows_so_far("published")) > before, within, "there is one more receipt")
        return time.monotonic() - began

    def waiting(self) -> list[Path]:
        """The files in the replay directory that are not the daemon's own."""
        found: list[Path] = []
        for folder, folders, names in os.walk(self.replay):
            folders[:] = [name for name in folders if name != ".syncdaemon"]
            found += [Path(folder, name) for name in names]
        return found


class Gauge:
    """Samples a metric of a daemon until it is left, each change once: the curve that Prometheus would draw."""

    def __init__(self, daemon: Measured, *names: str) -> None:
        self.curves: dict[str, list[float]] = {name: [] for name in names}
        self._daemon = daemon
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            self._sample()
        self._sample()

    def _sample(self) -> None:
        try:
            found = self._daemon.metrics()
        except (urllib.error.URLError, OSError):
            return
        for name, curve in self.curves.items():
            if not curve or curve[-1] != found[name]:
                curve.append(found[name])

    def __enter__(self) -> Gauge:
        self._thread.start()
        eventually(lambda: all(self.curves.values()), what="the first sample")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


MakeDaemon = Callable[..., DaemonProcess]
"""Takes the server's URL and settings by variable; the daemon is not running yet."""


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[MakeDaemon]:
    """Daemons that end with the test; `folder` names where one keeps its things."""
    made: list[DaemonProcess] = []

    def make(url: str, folder: str = "edge", **settings: str) -> DaemonProcess:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        daemon = DaemonProcess(place, url, **settings)
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        daemon.kill()
