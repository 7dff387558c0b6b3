"""Section: what a very long queue costs, against a short one that is made and drained in the same way.

Small files over 100 subfolders, filled one after another, and on disk before the drain begins; the daemon's default
settings, the server's default sync. A short queue is drained several times, since so short a run is easily disturbed;
the long one once. And a short one whose files lie in turn in all subfolders: then every batch meets all of them.
"""

from __future__ import annotations

import os
import shutil
import time

from benchmarks.drain import drained
from benchmarks.measure import BenchmarkFailed, Result, Spread
from benchmarks.plan import Plan
from benchmarks.process import place, say, server
from benchmarks.report import megabytes, table
from benchmarks.workload import Workload

_SIZE = 100
_FOLDERS = 100
_SLOWEST = 1_000  # files a second; slower than that, the drain is given up
_DISK_PER_FILE = 8_192  # bytes: a block for the file, a ledger row, a message, and room to spare


def measure(files: int, in_turn: bool = False) -> tuple[float, Result]:
    """Seconds that making the files took, and the drain of them."""
    with place() as folder:
        if shutil.disk_usage(folder).free < files * _DISK_PER_FILE:
            raise BenchmarkFailed(f"{folder} needs {files * _DISK_PER_FILE >> 20} MiB of free disk for the backlog")
        if os.statvfs(folder).f_favail < files + 10_000:
            raise BenchmarkFailed(f"{folder} needs {files} free inodes for the backlog")
        workload = Workload(files, _SIZE, _FOLDERS, in_turn)
        began = time.perf_counter()
        workload.make(folder / "replay", settled=True)
        made = time.perf_counter() - began
        say(f"backlog: {files:,} files made in {made:.1f} s")
        with server(folder) as running:
            result = drained(folder, running, workload, 30 + files / _SLOWEST).result
        say(f"backlog: {files:,} files drained in {result.wall:.1f} s")
    return made, result


def section(plan: Plan) -> str:
    """The section in Markdown."""
    short = [measure(plan.backlog_small) for _ in range(plan.repeats)]
    in_turn = [measure(plan.backlog_small, in_turn=True) for _ in range(plan.repeats)]
    long = measure(plan.backlog)
    before, after = Spread.of([result.cpu_micros for _, result in short]).median, long[1].cpu_micros
    rows = [
        _row(f"{plan.backlog_small:,}", short),
        _row(f"{plan.backlog_small:,}, in turn", in_turn),
        _row(f"{plan.backlog:,}", [long]),
    ]
    heads = ["files waiting", "made in s", "first publish s", "files/s", "CPU µs/file", "peak RSS MB", "depth"]
    return "\n\n".join(
        [
            "## Backlog",
            f"Files of {_SIZE} bytes over {_FOLDERS} subfolders, one filled after another; `in turn`: each file in "
            "another subfolder than the one before it. Making includes bringing them to disk. First publish: from the "
            "start of the drain to the first acknowledged file. Depth: samples on the daemon's event loop in which "
            "queue depth + acknowledged files were exactly the number of files. "
            f"{plan.backlog_small:,} files: medians of {plan.repeats} runs.",
            table(heads, rows),
            f"CPU per file at {plan.backlog:,} files: {after / before:.2f}x that at {plan.backlog_small:,} "
            f"(goal: at most 1.3x). Peak RSS {megabytes(long[1].peak)} MB (goal: at most 150 MB).",
        ]
    )


def _row(name: str, runs: list[tuple[float, Result]]) -> list[str]:
    results = [result for _, result in runs]
    samples, exact = sum(result.samples for result in results), sum(result.exact for result in results)
    return [
        name,
        f"{Spread.of([made for made, _ in runs]).median:.1f}",
        f"{Spread.of([result.first for result in results]).median:.2f}",
        f"{Spread.of([result.rate for result in results]).median:,.0f}",
        f"{Spread.of([result.cpu_micros for result in results]).median:.0f}",
        megabytes(max(result.peak for result in results)),
        f"exact in {exact:,} samples" if exact == samples else f"WRONG in {samples - exact:,} of {samples:,} samples",
    ]
