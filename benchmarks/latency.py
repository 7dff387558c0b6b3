"""Section: how long a single file takes, renamed into the folder of a running daemon that has nothing else to do.

From just before the rename to two ends: its `published` row can be read in the ledger (the write is visible a moment
before its fdatasync returns); and the file is gone from its place, which is after the row is on disk. Both are looked
for by polling every millisecond, so a figure is up to that too long. The quiet time (SYNC_SETTLE_SECONDS) is the
daemon's default and part of every figure.

What is handed over at the local door has no quiet time. It is measured from the call of `put` to the receipt in the
program's hand, which is after the row is on disk; and from the end of `put`, when the file is on this machine's disk.

As root it is measured a second time with files of another user, and without the capability that shows the daemon their
writers (CAP_LEASE): then the rename that the daemon has seen tells that a file is complete.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import BenchmarkFailed, percentile
from benchmarks.plan import Plan
from benchmarks.process import DaemonProcess, place, say, server, settings
from benchmarks.report import table
from benchmarks.workload import Workload
from syncdaemon.client import Outbox

_POLL = 0.001
_WITHIN = 10.0
_WARM_UP = 3  # files that are delivered before and not counted
_SIZE = 1 << 10
_PRODUCER = 10_002  # the other user
_WITHOUT_LEASES = ("setpriv", "--bounding-set=-lease", "--", sys.executable, "-m", "syncdaemon")


class Taken(NamedTuple):
    """Seconds from the rename until the row could be read, and until the file was gone."""

    row: float
    gone: float


class Tail:
    """What was added to a ledger since the last look."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}

    def more(self) -> bytes:
        """It, also across the files of two days."""
        found = b""
        for path in sorted(self._folder.glob("evidence-*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                found += file.read()
                self._read[path] = file.tell()
        return found


def deliver(daemon: DaemonProcess, tail: Tail, name: str, content: bytes, owner: int = -1) -> Taken:
    """One file: written under a name that is not taken, renamed, and followed to its end. `owner`: -1 is this user."""
    hidden, target = daemon.replay / f".{name}", daemon.replay / name
    hidden.write_bytes(content)
    os.chown(hidden, owner, -1)
    wanted = f'"path":"{name}"'.encode()
    rows, row, gone = b"", 0.0, 0.0
    began = time.perf_counter()
    os.rename(hidden, target)
    while not (row and gone):
        time.sleep(_POLL)
        rows += tail.more()
        now = time.perf_counter()
        if not row and wanted in rows:
            row = now - began
        if not gone and not os.path.exists(target):
            gone = now - began
        if now - began > _WITHIN:
            raise BenchmarkFailed(f"{name} was not delivered within {_WITHIN:g} s")
    return Taken(row, gone)


def measure(files: int, others: bool) -> list[Taken]:
    """Delivers so many files, one after another, with short and uneven pauses. `others`: they are another user's."""
    program = _WITHOUT_LEASES if others else (sys.executable, "-m", "syncdaemon")
    with place() as folder, server(folder) as running, DaemonProcess(folder, running.url, program) as daemon:
        taken = one_by_one(daemon, files, _PRODUCER if others else -1)
    say(f"latency: {files} files delivered one by one")
    return taken


def one_by_one(daemon: DaemonProcess, files: int, owner: int = -1) -> list[Taken]:
    """The same with a daemon that runs. `owner`: whose they are, -1 for this user's."""
    pauses = random.Random(files)
    tail = Tail(daemon.ledger)
    taken = []
    for name, content in Workload(_WARM_UP + files, _SIZE).items():
        taken.append(deliver(daemon, tail, name, content, owner))
        time.sleep(pauses.uniform(0, 0.05))
    return taken[_WARM_UP:]


class HandedOver(NamedTuple):
    """Seconds from the call of `put`, and from its end, until the program has the receipt."""

    from_put: float
    from_disk: float


def hand_over(files: int) -> list[HandedOver]:
    """Hands so many files over, one after another, with short and uneven pauses."""
    pauses = random.Random(files)
    taken = []
    with place() as folder, server(folder) as running, DaemonProcess(folder, running.url) as daemon:
        outbox = Outbox(daemon.replay)
        for name, content in Workload(_WARM_UP + files, _SIZE).items():
            began = time.perf_counter()
            ticket = outbox.put(content, name=name)
            on_disk = time.perf_counter()
            ticket.receipt(_WITHIN)
            ended = time.perf_counter()
            taken.append(HandedOver(ended - began, ended - on_disk))
            time.sleep(pauses.uniform(0, 0.05))
    say(f"latency: {files} files handed over one by one")
    return taken[_WARM_UP:]


def section(plan: Plan) -> str:
    """The section in Markdown."""
    quiet = settings().sync_settle_seconds
    ends: dict[str, list[float]] = {}
    for others in (False, True) if os.geteuid() == 0 and shutil.which("setpriv") else (False,):
        taken, whose = measure(plan.latency, others), " (another user's file)" if others else ""
        ends["row in the ledger" + whose] = [one.row for one in taken]
        ends["row on disk, file gone" + whose] = [one.gone for one in taken]
    handed = hand_over(plan.latency)
    received = {
        "put to receipt": [one.from_put for one in handed],
        "end of put to receipt": [one.from_disk for one in handed],
    }
    rows = []
    for end, values in ends.items():
        p50, p99 = percentile(values, 50), percentile(values, 99)
        rows.append([end, *(f"{value * 1e3:.1f}" for value in (p50, p99, p50 - quiet, p99 - quiet))])
    return "\n\n".join(
        [
            "## Latency",
            f"{plan.latency} files of 1 KiB, one after another, from the rename into the folder of a running daemon. "
            f"The quiet time is {quiet * 1e3:g} ms. Ledger and file are polled every millisecond. "
            "Goal: p50 of the row at most the quiet time + 20 ms.",
            table(["ms from rename to", "p50", "p99", "p50 - quiet time", "p99 - quiet time"], rows),
            "The same handed over at the local door. Goal: put to receipt p50 at most 8 ms, p99 at most 25 ms.",
            table(
                ["ms from", "p50", "p99"],
                [
                    [end, *(f"{percentile(values, part) * 1e3:.1f}" for part in (50, 99))]
                    for end, values in received.items()
                ],
            ),
        ]
    )
