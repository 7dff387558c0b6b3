"""A command of ours as a child process: started, waited for, read, and ended by its own id."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from nats.js.errors import NotFoundError

from syncdaemon.dev.server import HOST
from tests.support.ports import own_port

PROGRAM = (sys.executable, "-m", "syncdaemon")

_AUTHORITIES = os.environ.get("SSL_CERT_FILE")  # a test may name its own later
_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)


def eventually(check: Callable[[], object], within: float = 20.0, what: str = "") -> None:
    """Returns as soon as `check` is true; fails with `what` when it is not within so many seconds.

    A stream that is asked for and is not there yet holds nothing so far: `check` is asked again. An assertion about it
    outside of this function fails.
    """
    deadline = time.monotonic() + within
    while not _holds(check):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within:g} s: {what or check}")
        time.sleep(0.02)


def _holds(check: Callable[[], object]) -> bool:
    try:
        return bool(check())
    except NotFoundError:
        return False


def clean_environment() -> dict[str, str]:
    """The environment of this process without any setting of ours, and without the world's certificate authorities.

    No test has a server that one of these vouches for, and to load them takes a tenth of a daemon's start.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SYNC_", "NATS_"))}
    if kept.get("SSL_CERT_FILE") == _AUTHORITIES:
        kept["SSL_CERT_FILE"] = os.devnull
    return kept


class Process:
    """A command whose output goes to one file, over any number of starts.

    `command` and `env` may be changed until it is launched; it runs in the folder of its log.
    """

    def __init__(self, command: list[str], env: dict[str, str], log_path: Path) -> None:
        self.command, self.env, self.log_path = command, env, log_path
        self.stderr: int | None = None  # a descriptor: standard error goes there and not to the log
        self._child: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Starts the process, and does not wait for it."""
        with self.log_path.open("ab") as log:
            errors = log if self.stderr is None else self.stderr
            self._child = subprocess.Popen(
                self.command, env=self.env, stdout=log, stderr=errors, cwd=self.log_path.parent
            )

    def launched(self, ready: Callable[[], bool], within: float) -> None:
        """Starts the process and waits until it is ready; fails with its log when it ends before, or is too late."""
        self.launch()
        deadline = time.monotonic() + within
        while not ready():
            if self.process.poll() is not None:
                pytest.fail(f"{self} ended with {self.process.returncode}; its log: {self.log()[-2000:]}")
            if time.monotonic() > deadline:
                pytest.fail(f"{self} is not ready within {within:g} s; its log: {self.log()[-2000:]}")
            time.sleep(0.02)

    def __str__(self) -> str:
        return " ".join(self.command)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The child of the last launch, alive or not."""
        assert self._child is not None, f"{self} was not launched"
        return self._child

    @property
    def pid(self) -> int:
        return self.process.pid

    def ended(self, within: float) -> int:
        """Waits for its end; its exit code."""
        return self.process.wait(within)

    def stop(self, within: float = 40.0) -> int:
        """SIGTERM, and its exit code. A daemon takes up to 20 s where the disk of its ledger is full."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended(within)

    def kill(self) -> None:
        """SIGKILL: a crash. Nothing happens to a process that has ended, or was never launched."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def log(self) -> str:
        """All that it has printed."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def logged(self, event: str, at_least: int = 0, within: float = 10.0) -> list[dict[str, Any]]:
        """Its log lines of one event. Waits for so many of them: a thread writes them a moment after what they tell."""
        deadline = time.monotonic() + within
        while True:
            whole = self.log().rpartition("\n")[0].splitlines()
            lines = (json.loads(line) for line in whole if line.startswith("{"))
            found = [line for line in lines if line["event"] == event]
            if len(found) >= at_least:
                return found
            if time.monotonic() > deadline:
                pytest.fail(f"not within {within:g} s: {at_least} lines of {event}; the log: {self.log()[-1500:]}")
            time.sleep(0.02)


class WebProcess(Process):
    """`syncdaemon` with a command that answers over HTTP, at a port of its own; `settings` by variable."""

    def __init__(self, arguments: list[str], log_path: Path, url: str, settings: Mapping[str, str]) -> None:
        self.port = own_port()
        own = {"NATS_URL": url, "SYNC_HTTP_ADDR": f"{HOST}:{self.port}"}
        super().__init__([*PROGRAM, *arguments], {**clean_environment(), **own, **settings}, log_path)

    def start(self, path: str = "/livez", within: float = 30.0) -> None:
        """Returns when this page is there."""
        self.launched(lambda: self._answers(path), within)

    def _answers(self, path: str) -> bool:
        try:
            self.get(path)
        except OSError:
            return False
        return True

    def get(self, path: str) -> str:
        """A page of its web side. Raises OSError where it does not answer, or with a status that tells of trouble."""
        with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of a page of its web side, also where it says that something is wrong."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


def parse_metrics(text: str) -> dict[str, float]:
    """Every sample of a page, by name; where it has more labels than the site, by `name{labels}` without the site."""
    found: dict[str, float] = {}
    for name, labels, value in _SAMPLE.findall(text):
        rest = ",".join(label for label in labels.split(",") if label and not label.startswith("site="))
        found[f"{name}{{{rest}}}" if rest else name] = float(value)
    return found
