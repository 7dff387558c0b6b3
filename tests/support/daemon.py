"""A real daemon process, seen from outside only: its metrics, its status, its ledger, its exit code."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.jetstream import ledger_rows
from tests.support.process import WebProcess, eventually, parse_metrics

__all__ = ["DaemonProcess", "Gauge", "MakeDaemon", "Measured", "eventually", "make_daemon", "parse_metrics"]


class Measured(Protocol):
    """A daemon, however it runs, whose metrics can be read."""

    def metrics(self) -> dict[str, float]: ...


class DaemonProcess(WebProcess):
    """`syncdaemon run` as a child process, with its replay and ledger directories under one folder."""

    def __init__(self, folder: Path, url: str, **settings: str) -> None:
        self.replay = folder / "replay"
        self.ledger = folder / "ledger"
        self.replay.mkdir(exist_ok=True)
        own = {"SITE": "test-site", "SYNC_REPLAY_DIR": str(self.replay), "SYNC_LEDGER_DIR": str(self.ledger)}
        super().__init__(["run"], folder / "daemon.log", url, own | settings)

    def start(self, path: str = "/readyz", within: float = 20.0) -> None:
        """Returns when the web side says that it is ready: scanned, and the ledger writable."""
        super().start(path, within)

    def ailment(self, check: str) -> str:
        """What a check of its health finds wrong; empty where it is well."""
        found = json.loads(self.page("/healthz")[1])["checks"][check]
        return "" if found["ok"] else str(found["detail"])

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

    def rows_so_far(self, *events: str) -> list[bytes]:
        """The ledger's finished lines of these events, while somebody may still write; not parsed."""
        wanted = [b'"event":"%b"' % event.encode() for event in events]
        files = sorted(self.ledger.glob("evidence-*.jsonl"))
        lines = (line for path in files for line in path.read_bytes().splitlines(keepends=True))
        return [line for line in lines if line.endswith(b"\n") and any(event in line for event in wanted)]

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
