"""A simulated year of one site: `python -m benchmarks.year`, as root.

A real daemon delivers the files of a year to a real nats-server that has the memory of the profile `edge` and the
limits of its stream. The daemon's days are libfaketime's. The clock of a server that is written in Go can't be moved,
so the age of messages is scaled together with the rate: the stream holds as many as at one file a second for seven
days. At the end the program says what grew, and with what it compares that; it ends with 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from benchmarks.measure import Memory
from benchmarks.process import ROOT, place, say
from benchmarks.report import megabytes, table
from tests.support.cgroup import MemoryLimit
from tests.support.client import connect
from tests.support.clock import READ_AGAIN, Clock
from tests.support.daemon import DaemonProcess
from tests.support.server import new_server

DAY, DAYS = 86_400, 365
HELD = 7 * DAY  # messages: one a second for the seven days of the profile's max_age
_MOST_GROWTH = 1.25  # of the last quarter's memory over that of the second one
_SLACK = 16 << 20  # bytes that any process may grow by
_PATIENCE = 300.0  # seconds in which the files of a step are delivered
_BODY = 100


class Limits(NamedTuple):
    """Those of the profile `edge`: bytes of memory, GOMEMLIMIT as text, messages, bytes of the volumes."""

    memory: int
    go: str
    messages: int
    store: int = 8 << 30
    ledger: int = 2 << 30


def of_the_profile() -> Limits:
    """From the manifests, as text: no Kustomize is needed for it."""
    manifest = (ROOT / "k8s/base/nats/statefulset.yaml").read_text()
    settings = (ROOT / "k8s/profiles/edge/edge.env").read_text()
    memory = re.search(r"limits:\n(?: +.*\n)*? +memory: (\d+)Mi", manifest)
    go, messages = re.search(r"value: (\d+MiB)", manifest), re.search(r"SYNC_STREAM_MAX_MSGS=(\d+)", settings)
    if memory is None or go is None or messages is None:
        raise ValueError("the manifests of the profile edge have not the limits that are looked for")
    return Limits(int(memory[1]) << 20, go[1], int(messages[1]))


class Sample(NamedTuple):
    """After a step: files so far, messages in the stream, and bytes."""

    day: int
    files: int
    messages: int
    daemon: int
    server: int
    store: int
    ledger: int


class Year:
    """`files` in `steps` equal parts, at most `rate` a second; the stream holds at most about `held` of them."""

    def __init__(self, folder: Path, *, files: int, steps: int, rate: float, held: int, limits: Limits) -> None:
        self._folder, self._limits, self._steps, self._rate = folder, limits, steps, rate
        self._per_step = files // steps
        self.files = self._per_step * steps
        self._age = held / rate
        self.samples: list[Sample] = []
        self.problems: list[str] = []
        self._made = 0

    def run(self) -> None:
        """All of it. `samples` and `problems` say what happened."""
        with ExitStack() as ending:
            limit = MemoryLimit(self._limits.memory)
            ending.callback(limit.remove)
            os.environ["GOMEMLIMIT"] = self._limits.go
            ending.callback(os.environ.pop, "GOMEMLIMIT", None)
            jetstream = f"sync_interval: always\nmax_memory_store: 0\nmax_file_store: {7 * self._limits.store // 8}"
            server = new_server(self._folder / "nats", jetstream=jetstream)
            with limit:
                server.start()
            ending.callback(server.stop)
            clock = Clock(self._folder)
            daemon = DaemonProcess(
                self._folder,
                server.url,
                SYNC_HOLD_SECONDS="0",
                SYNC_STREAM_MAX_AGE=f"{self._age:.1f}",
                SYNC_STREAM_MAX_MSGS=str(self._limits.messages),
                SYNC_LOG_FORMAT="json",
                **clock.environment,
            )
            daemon.start()
            ending.callback(daemon.kill)
            self._go(daemon, clock, self._sampler(daemon, server.url, limit))
            self._judge(daemon, limit)

    def _go(self, daemon: DaemonProcess, clock: Clock, sample: Callable[[int], Sample]) -> None:
        began = time.monotonic()
        for step in range(1, self._steps + 1):
            self._drop(daemon)
            wait_for(lambda: not daemon.waiting(), f"the files of step {step}")
            self.samples.append(sample(step * DAYS // self._steps))
            if step % max(1, self._steps // 20) == 0:
                say(" ".join(f"{name}={value:,}" for name, value in self.samples[-1]._asdict().items()))
            clock.set(step * DAYS / self._steps * DAY)
            time.sleep(max(READ_AGAIN + 0.1, began + step * self._per_step / self._rate - time.monotonic()))

    def _drop(self, daemon: DaemonProcess) -> None:
        """The files of one step: they are made under a name that the daemon leaves alone."""
        new = daemon.replay / ".new"
        new.mkdir(exist_ok=True)
        for _ in range(self._per_step):
            self._made += 1
            path = new / f"{self._made}.bin"
            path.write_bytes(b"evidence %d ".ljust(_BODY, b"x") % self._made)
            path.rename(daemon.replay / path.name)

    def _sampler(self, daemon: DaemonProcess, url: str, limit: MemoryLimit) -> Callable[[int], Sample]:
        def sample(day: int) -> Sample:
            return Sample(
                day,
                self._made,
                asyncio.run(stored(url)),
                Memory.of(daemon.pid).now,
                limit.resident,
                size_of(self._folder / "nats"),
                size_of(daemon.ledger),
            )

        return sample

    def _judge(self, daemon: DaemonProcess, limit: MemoryLimit) -> None:
        metrics = daemon.metrics()
        delivered = int(metrics["syncdaemon_published_files_total"])
        if delivered != self.files:
            self.problems.append(f"{delivered} files were delivered, of {self.files}")
        if limit.kills:
            self.problems.append(f"the kernel killed the server {limit.kills} times")
        for event in ("lane_paused", "link_down", "quarantined", "spool_paused"):
            if lines := daemon.logged(event):
                self.problems.append(f"{len(lines)} lines of {event}, the first: {lines[0]}")
        if daemon.stop() != 0:
            self.problems.append("the daemon did not end well")
        verified = subprocess.run(
            [sys.executable, "-m", "syncdaemon", "verify"], env=daemon.env, capture_output=True, text=True, check=False
        )
        if verified.returncode:
            self.problems.append(f"the ledger is not well: {verified.stderr or verified.stdout}")
        self.problems += self._growth()

    def _growth(self) -> Iterator[str]:
        quarter = len(self.samples) // 4
        earlier, last = self.samples[quarter : 2 * quarter], self.samples[-quarter:]
        for name in ("daemon", "server"):
            before, after = (mean(getattr(one, name) for one in some) for some in (earlier, last))
            if after > _MOST_GROWTH * before + _SLACK:
                yield f"the memory of the {name} grew from {megabytes(before)} to {megabytes(after)} MB"
        most = max(one.messages for one in self.samples)
        if most >= self._limits.messages:
            yield f"the stream was full: {most} messages"
        if max(one.store for one in self.samples) > self._limits.store:
            yield "the stream has outgrown its volume"
        if max(one.ledger for one in self.samples) > self._limits.ledger:
            yield "the ledger has outgrown its volume"


def wait_for(done: Callable[[], bool], what: str) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + _PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not delivered within {_PATIENCE:g} s: {what}")
        time.sleep(0.02)


async def stored(url: str) -> int:
    """Messages in the stream."""
    client = await connect(url)
    try:
        state = json.loads((await client.request("$JS.API.STREAM.INFO.swarm_jobs", b"", 60)).data)["state"]
    finally:
        await client.close()
    return int(state["messages"])


def size_of(folder: Path) -> int:
    """Bytes that the files below take of the disk."""
    total = 0
    for above, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(above, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def report(year: Year) -> str:
    """The samples, some of them, in a table."""
    every = max(1, len(year.samples) // 12)
    rows = [
        [
            one.day,
            f"{one.files:,}",
            f"{one.messages:,}",
            *(megabytes(size) for size in (one.daemon, one.server, one.store, one.ledger)),
        ]
        for one in [*year.samples[::every], year.samples[-1]]
    ]
    heads = ["day", "files", "messages in the stream", "daemon MB", "server MB", "store MB", "ledger MB"]
    return table(heads, rows)


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.year", description="A simulated year of one site.")
    parser.add_argument("--files", type=int, default=5_000_000, metavar="N", help="5000000")
    parser.add_argument("--steps", type=int, default=DAYS, metavar="N", help="365: each is a day")
    parser.add_argument("--rate", type=float, default=4_000, metavar="N", help="the most files a second: 4000")
    parser.add_argument("--held", type=int, default=HELD, metavar="N", help=f"messages that the stream holds: {HELD}")
    asked = parser.parse_args(arguments)
    with place() as folder:
        year = Year(
            folder, files=asked.files, steps=asked.steps, rate=asked.rate, held=asked.held, limits=of_the_profile()
        )
        began = time.monotonic()
        year.run()
    print(f"A year of {year.files:,} files in {(time.monotonic() - began) / 60:.0f} minutes\n\n{report(year)}")
    for problem in year.problems:
        print(f"WRONG: {problem}")
    return 1 if year.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
