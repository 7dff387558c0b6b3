"""Section: what a daemon costs that is connected and has nothing to do.

CPU of its process over some time, in percent of one core, from /proc/<pid>/stat; resident memory from
/proc/<pid>/status at the end of it, and its peak since the start. Nothing asks its web side meanwhile.
"""

from __future__ import annotations

import time

from benchmarks.measure import BenchmarkFailed, Memory, cpu_seconds
from benchmarks.plan import Plan
from benchmarks.process import DaemonProcess, place, say, server
from benchmarks.report import megabytes, table

_CALM_SECONDS = 3.0  # after it has connected, before the clock starts


def measure(seconds: float) -> tuple[float, Memory]:
    """Percent of one core, and memory."""
    with place() as folder, server(folder) as running, DaemonProcess(folder, running.url) as daemon:
        time.sleep(_CALM_SECONDS)
        before, began = cpu_seconds(daemon.pid), time.monotonic()
        time.sleep(seconds)
        percent = (cpu_seconds(daemon.pid) - before) / (time.monotonic() - began) * 100
        memory = Memory.of(daemon.pid)
        if not daemon.status()["link"]["up"]:
            raise BenchmarkFailed("the idle daemon lost its connection")
    say(f"idle: {percent:.2f} % of a core")
    return percent, memory


def section(plan: Plan) -> str:
    """The section in Markdown."""
    percent, memory = measure(plan.idle_seconds)
    rows = [[f"{plan.idle_seconds:g}", f"{percent:.2f}", megabytes(memory.now), megabytes(memory.peak)]]
    return "\n\n".join(
        [
            "## Idle",
            "A running daemon, connected, its folder empty. Goals: at most 1 % of a core and 80 MB.",
            table(["seconds", "CPU % of one core", "RSS MB", "peak RSS MB"], rows),
        ]
    )
