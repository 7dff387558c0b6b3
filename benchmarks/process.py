"""Starting and ending what is measured: contenders, daemons, servers; and the disk that they work on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from benchmarks.measure import BenchmarkFailed, Result
from syncdaemon.dev.server import NatsServer, free_port
from syncdaemon.settings.values import Settings

ROOT = Path(__file__).parents[1]
SITE = "bench"
STREAM = "swarm_jobs"
SYNCS = {"default": "", "always": "sync_interval: always"}
"""When the server brings its messages to disk: what its `jetstream` block says of it."""

_START_SECONDS = 30.0
_STOP_SECONDS = 20.0
_REMOVERS = 16


def say(text: str) -> None:
    """A line of progress, which is no part of the report."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


@contextmanager
def place() -> Iterator[Path]:
    """A folder under $TMPDIR, or else the current directory, that is removed with all that is in it."""
    base = os.environ.get("TMPDIR") or os.getcwd()
    folder = Path(tempfile.mkdtemp(prefix=".bench-", dir=base)).resolve()
    try:
        yield folder
    finally:
        remove(folder)


def remove(root: Path) -> None:
    """Removes a folder. Files go many at once: a disk that is told of each freed block makes every deletion wait."""

    def unlink(paths: list[str]) -> None:
        for path in paths:
            os.unlink(path)

    with ThreadPoolExecutor(_REMOVERS) as pool:
        for folder, _, files in os.walk(root):
            paths = [os.path.join(folder, name) for name in files]
            list(pool.map(unlink, (paths[at : at + 100] for at in range(0, len(paths), 100))))
    shutil.rmtree(root)


@contextmanager
def server(folder: Path, sync: str = "default") -> Iterator[NatsServer]:
    """A real nats-server with an empty store in `folder`."""
    with NatsServer(folder / "nats", jetstream=SYNCS[sync]) as running:
        yield running


def settings(**given: str) -> Settings:
    """The daemon's settings: the defaults, but for site and stream and what is given by variable."""
    return Settings.load({"SITE": SITE, "SYNC_STREAM": STREAM, **given}, {}, {}).settings


def environment(**given: str) -> dict[str, str]:
    """The environment of a process of ours: no setting in it but these."""
    own = ("SYNC_", "NATS_", "SITE", "EDGE_MODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | given


def command(folder: Path, environ: Mapping[str, str], *arguments: str, within: float) -> str:
    """What a command of ours prints, run in `folder`. Raises BenchmarkFailed where it does not end well in time."""
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "syncdaemon", *arguments],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkFailed(f"syncdaemon {arguments[0]} was not done within {within:g} s") from None
    if ended.returncode:
        raise BenchmarkFailed(f"syncdaemon {arguments[0]} ended with {ended.returncode}: {ended.stdout}{ended.stderr}")
    return ended.stdout


def contend(module: str, job: Mapping[str, Any], within: float, program: Path | None = None) -> Result:
    """Runs a contender as a process of its own; what it says of itself. It is ended after `within` seconds.

    `program`: the `syncdaemon` of another version, `CHECKOUT/.venv/bin/syncdaemon`, whose contender it shall be.
    Raises BenchmarkFailed where it does not do its work.
    """
    python, root = (sys.executable, ROOT) if program is None else (program.parent / "python", program.parents[2])
    command = [python, "-m", f"benchmarks.{module}", json.dumps(job)]
    try:
        done = subprocess.run(
            command, cwd=root, env=environment(), stdout=subprocess.PIPE, text=True, timeout=within, check=False
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkFailed(f"{module} was not done within {within:g} s") from None
    if done.returncode:
        raise BenchmarkFailed(f"{module} ended with {done.returncode}")
    return Result.heard(done.stdout)


class DaemonProcess:
    """`syncdaemon run` with its directories in `folder`, running and connected from enter to exit.

    `http` is the address that it listens at; `program` is how `syncdaemon` is called.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        program: Sequence[str] = (sys.executable, "-m", "syncdaemon"),
        **settings: str,
    ) -> None:
        self.replay = folder / "replay"
        self.ledger = folder / "ledger"
        self._folder = folder
        self._program = program
        self.http = f"127.0.0.1:{free_port()}"
        own = {
            "SITE": SITE,
            "NATS_URL": url,
            "SYNC_REPLAY_DIR": str(self.replay),
            "SYNC_LEDGER_DIR": str(self.ledger),
            "SYNC_HTTP_ADDR": self.http,
        }
        self._env = environment(**{**own, **settings})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def status(self) -> dict[str, Any]:
        """What it says of itself. Raises OSError while it does not answer."""
        with urllib.request.urlopen(f"http://{self.http}/status", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def __enter__(self) -> Self:
        self.replay.mkdir(exist_ok=True)
        with (self._folder / "daemon.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self._program, "run"],
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_connected(self._process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_connected(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if self.status()["link"]["up"]:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        log = (self._folder / "daemon.log").read_text(errors="replace")
        raise BenchmarkFailed(f"the daemon did not connect within {_START_SECONDS:g} s: {log[-1000:]}")

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
