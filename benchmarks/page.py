"""Section: what the live page costs the delivery while five browsers look, and what it costs while nobody does.

One daemon, one run: files are dropped without a pause, and in turns of some seconds nobody looks, or five read the
event stream as a browser does. Counted are the files that were acknowledged in each turn, and the CPU of the daemon. A
turn with is held against the turns without before and after it, so that a machine that slows down counts for neither.
The first turn only warms up. The figure to trust is the CPU for each file: what else runs on the machine changes the
files of a turn, but hardly that.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from benchmarks.measure import BenchmarkFailed, cpu_seconds
from benchmarks.plan import Plan
from benchmarks.process import DaemonProcess, place, say, server
from benchmarks.report import table
from benchmarks.workload import Workload

_BROWSERS = 5
_FROM = ("127.0.0.1", "127.0.0.2")  # no address may look more than four times
_CALM_SECONDS = 2.0  # after each change
_SIZE = 1024
_FOLDERS = 100
_GOAL = 3.0  # percent


class Turn(NamedTuple):
    """What a turn came to: files a second, and microseconds of CPU for each."""

    rate: float
    micros: float


class Browsers:
    """Five that read the event stream. `bytes`: what all of them have read so far."""

    def __init__(self, port: int) -> None:
        self._connections = [_connected(port, _FROM[number % 2]) for number in range(_BROWSERS)]
        self._threads = [threading.Thread(target=self._read, args=(one,), daemon=True) for one in self._connections]
        self.bytes = 0
        for thread in self._threads:
            thread.start()

    def _read(self, connection: http.client.HTTPConnection) -> None:
        answer = connection.getresponse()
        if answer.status != 200:
            raise BenchmarkFailed(f"a browser may not look: {answer.status}")
        try:
            while line := answer.readline():
                self.bytes += len(line)
        except (OSError, ValueError, AttributeError):
            return

    def close(self) -> None:
        """They go."""
        for connection in self._connections:
            if connection.sock is not None:
                connection.sock.shutdown(2)
            connection.close()
        for thread in self._threads:
            thread.join(10)


def _connected(port: int, address: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(address, 0))
    connection.request("GET", "/events")
    return connection


@contextmanager
def looking(daemon: DaemonProcess, wanted: bool) -> Iterator[Browsers | None]:
    """Five browsers, or none."""
    browsers = Browsers(int(daemon.http.rpartition(":")[2])) if wanted else None
    try:
        time.sleep(_CALM_SECONDS)
        yield browsers
    finally:
        if browsers is not None:
            browsers.close()


def delivered(daemon: DaemonProcess) -> int:
    """Files that were acknowledged."""
    return int(daemon.status()["published_files"])


def turn(daemon: DaemonProcess, seconds: float, wanted: bool) -> tuple[Turn, float]:
    """One turn, and the bytes a second that each browser read."""
    with looking(daemon, wanted) as browsers:
        files, cpu, began = delivered(daemon), cpu_seconds(daemon.pid), time.monotonic()
        read = browsers.bytes if browsers else 0
        time.sleep(seconds)
        files, spent = delivered(daemon) - files, time.monotonic() - began
        micros = (cpu_seconds(daemon.pid) - cpu) / max(1, files) * 1e6
        read = browsers.bytes - read if browsers else 0
    return Turn(files / spent, micros), read / spent / _BROWSERS


def measure(files: int, turns: int, seconds: float) -> tuple[list[Turn], list[Turn], float]:
    """The turns without and with, and what a browser read in a second."""
    without: list[Turn] = []
    looked: list[Turn] = []
    reads: list[float] = []
    with place() as folder, server(folder) as running:
        Workload(files, _SIZE, _FOLDERS, False).make(folder / "replay", settled=True)
        with DaemonProcess(folder, running.url) as daemon:
            warm, _ = turn(daemon, seconds, wanted=False)
            say(f"page: the first turn does not count: {warm}")
            for number in range(2 * turns + 1):
                found, read = turn(daemon, seconds, wanted=number % 2 == 1)
                (looked if number % 2 else without).append(found)
                reads += [read] if number % 2 else []
                say(f"page: {'five look' if number % 2 else 'nobody looks'}: {found}, {read:.0f} bytes/s")
            if not daemon.status()["queue_depth"]:
                raise BenchmarkFailed("the files were all delivered before the last turn ended: take more of them")
    return without, looked, median(reads)


def shares(without: Sequence[float], looked: Sequence[float]) -> list[float]:
    """By how many percent each turn with differs from the mean of its two neighbours without."""
    neighbours = pairwise(without)
    return [one / ((before + after) / 2) * 100 - 100 for one, (before, after) in zip(looked, neighbours, strict=True)]


def section(plan: Plan) -> str:
    """The section in Markdown."""
    without, looked, read = measure(plan.page_files, plan.page_turns, plan.page_seconds)
    rates = shares([one.rate for one in without], [one.rate for one in looked])
    cpu = shares([one.micros for one in without], [one.micros for one in looked])
    rows = [
        [name, f"{median(one.rate for one in turns):,.0f}", f"{median(one.micros for one in turns):.0f}"]
        for name, turns in (("nobody", without), ("five browsers", looked))
    ]
    return "\n\n".join(
        [
            "## Page",
            f"Files of {_SIZE} bytes over {_FOLDERS} subfolders, delivered by one daemon in one run; turns of "
            f"{plan.page_seconds:g} s in which nobody looks at the page, or {_BROWSERS} browsers read its events.",
            table(["who looks", "files/s", "CPU µs/file"], rows),
            f"With {_BROWSERS} browsers: {median(cpu):+.1f} % CPU/file ({min(cpu):+.1f} to {max(cpu):+.1f}; "
            f"goal: within {_GOAL:g} %) and {median(rates):+.1f} % files/s ({min(rates):+.1f} to {max(rates):+.1f}), "
            f"medians of {len(cpu)} turns, each against its neighbours. A browser reads {read:,.0f} bytes/s.",
        ]
    )
