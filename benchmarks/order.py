"""Section: what waits for what behind a short link after an outage, with SYNC_ORDER=oldest and newest.

A backlog of a file a minute, over a link that SYNC_BWLIMIT keeps short, and a new file every second while the backlog
goes. Looked for are the `published` rows in the ledger; times count from the daemon's connection.
"""

from __future__ import annotations

import os
import re
import time
from typing import NamedTuple

from benchmarks.latency import Tail
from benchmarks.measure import BenchmarkFailed, percentile
from benchmarks.plan import Plan
from benchmarks.process import DaemonProcess, place, say, server
from benchmarks.report import table
from benchmarks.workload import Workload

_SIZE, _LIMIT = 4 << 10, 100_000
_SPARE = 4  # times as long as the link takes for it: then something is wrong
_POLL = 0.01
_PATH = re.compile(rb'"event":"published".*?"path":"([^"]+)"')


class Order(NamedTuple):
    """Seconds: what each new file took; when the newest and the oldest tenth of the backlog was through, and all."""

    new: list[float]
    newest: float
    oldest: float
    whole: float


def measure(order: str, files: int) -> Order:
    """One run."""
    backlog, now = Workload(files, _SIZE), time.time()
    made: dict[str, float] = {}
    done: dict[str, float] = {}
    with place() as folder, server(folder) as running:
        backlog.make(folder / "replay")
        for number in range(files):
            at = now - 60 * (files - number)
            os.utime(folder / "replay" / backlog.name(number), (at, at))
        daemon = DaemonProcess(folder, running.url, SYNC_ORDER=order, SYNC_BWLIMIT=str(_LIMIT))
        with daemon:
            tail, began = Tail(daemon.ledger), time.monotonic()
            while len(done) < files + len(made):
                passed = time.monotonic() - began
                if passed > len(made) + 1 and len(done) < files:
                    name = f"new-{len(made)}"
                    (daemon.replay / f".{name}").write_bytes(b"%020d" % len(made) * (_SIZE // 20))
                    os.rename(daemon.replay / f".{name}", daemon.replay / name)
                    made[name] = time.monotonic() - began
                for path in _PATH.findall(tail.more()):
                    done[path.decode()] = passed
                if passed > _SPARE * files * _SIZE / _LIMIT:
                    raise BenchmarkFailed(f"order: {len(done)} files after {passed:.0f} s")
                time.sleep(_POLL)
    old = [done[backlog.name(number)] for number in range(files)]
    tenth = max(1, files // 10)
    say(f"order: {order}, {files} files and {len(made)} new ones")
    return Order([done[name] - at for name, at in made.items()], max(old[-tenth:]), max(old[:tenth]), max(old))


def section(plan: Plan) -> str:
    """The section in Markdown."""
    rows = []
    for order in ("oldest", "newest"):
        found = measure(order, plan.order)
        new = (percentile(found.new, 50), max(found.new))
        rows.append([order, *(f"{value:.1f}" for value in (*new, found.newest, found.oldest, found.whole))])
    heads = ["SYNC_ORDER", "new file p50 s", "longest", "newest tenth there after s", "oldest tenth", "all"]
    return "\n\n".join(
        [
            "## Order",
            f"{plan.order} waiting files of {_SIZE >> 10} KiB, a minute between them, over {_LIMIT // 1000} kB/s "
            "(`SYNC_BWLIMIT`), and a new file every second meanwhile. `new file`: from its rename to its row in the "
            "ledger, quiet time included.",
            table(heads, rows),
        ]
    )
