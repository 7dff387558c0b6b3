"""A real `syncdaemon receive` process, seen from outside only; and messages for it, published with nats-py alone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from nats.js import JetStreamContext

from syncdaemon.dev.server import free_port
from tests.support.daemon import eventually

STREAM = "swarm_jobs"
_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)


class Receiver:
    """`folder` keeps its log; several may have one `target`."""

    def __init__(self, folder: Path, target: Path, url: str, *arguments: str, **settings: str) -> None:
        self.target = target
        self.port = free_port()
        self.log_path = folder / "receive.log"
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SYNC_", "NATS_"))},
            "NATS_URL": url,
            "SYNC_HTTP_ADDR": f"127.0.0.1:{self.port}",
            **settings,
        }
        self.command = [sys.executable, "-m", "syncdaemon", "receive", str(target), *arguments]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when the web side answers."""
        self.launch()
        eventually(self._live, 30, f"receive is live; its log: {self.log()[-2000:]}")

    def launch(self) -> None:
        """Starts the process, and does not wait for it."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=self.env, stdout=log, stderr=log)

    def _live(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"receive ended with {self.process.returncode}: {self.log()[-2000:]}")
        try:
            self.get("/livez")
        except (urllib.error.URLError, OSError):
            return False
        return True

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """SIGKILL: a crash."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        """All that it has logged."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its log lines of one event."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def get(self, path: str) -> str:
        """A page of its web side."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def metric(self, name: str, **labels: str) -> float:
        """The value of one sample now; 0 where there is none."""
        wanted = ",".join(f'{label}="{value}"' for label, value in labels.items())
        found = {(name, given): float(value) for name, given, value in _SAMPLE.findall(self.get("/metrics"))}
        return found.get((name, wanted), 0.0)

    def answer(self, path: str) -> tuple[int, str]:
        """The HTTP status of a page, and its text."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return int(answer.status), str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def status(self, path: str) -> int:
        """The HTTP status of a page."""
        return self.answer(path)[0]


def received(target: Path) -> dict[str, bytes]:
    """Every file below the sites' folders."""
    sites = [site for site in target.glob("*") if not site.name.startswith(".")]
    found = (path for site in sites for path in site.rglob("*") if path.is_file())
    return {str(path.relative_to(target)): path.read_bytes() for path in found}


def drafts(target: Path) -> list[Path]:
    """What is there of files that are not complete."""
    return [path for path in (target / ".incoming").rglob("*") if path.is_file() and path.name != "lock"]


async def make_stream(js: JetStreamContext, **config: Any) -> None:
    """The stream as the daemon makes it."""
    await js.add_stream(
        name=STREAM,
        subjects=["edge.replay.*.*"],
        max_msgs_per_subject=1,
        discard="new",
        discard_new_per_subject=True,
        **config,
    )


def headers(path: str | bytes, data: bytes, /, site: str = "edge-1", **changes: str | None) -> dict[str, str]:
    """The contract's headers for a file; `changes` with `_` for `-`, None for one that is left out."""
    fields: dict[str, str | None] = {
        "Nats-Msg-Id": hashlib.sha256(data).hexdigest(),
        "Edge-Site": site,
        "Edge-Path": quote_from_bytes(os.fsencode(path)),
        "Edge-Sha256": hashlib.sha256(data).hexdigest(),
        "Edge-Size": str(len(data)),
        "Edge-Mtime-Ns": "1700000000000000000",
    }
    fields |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in fields.items() if value is not None}


async def publish(js: JetStreamContext, fields: dict[str, str], body: bytes) -> int:
    """One message of a file; its sequence."""
    subject = f"edge.replay.{fields.get('Edge-Site', 'x')}.{hashlib.sha256(body + repr(fields).encode()).hexdigest()}"
    return (await js.publish(subject, body, headers=fields)).seq


MakeReceiver = Callable[..., Receiver]
"""Takes the server's URL, options of `receive` and settings by variable; the process is not running yet."""


@pytest.fixture
def make_receiver(tmp_path: Path) -> Iterator[MakeReceiver]:
    """Receivers that end with the test; `target` names the directory that they receive into."""
    made: list[Receiver] = []

    def make(url: str, *arguments: str, target: Path | None = None, **settings: str) -> Receiver:
        place = tmp_path / f"receiver{len(made)}"
        place.mkdir()
        receiver = Receiver(place, target or tmp_path / "received", url, *arguments, **settings)
        made.append(receiver)
        return receiver

    yield make
    for receiver in made:
        receiver.kill()
