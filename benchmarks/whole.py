"""Section: what a file costs until it is gone, whole processes, beside what the file system alone takes for it.

`floor` is the program of `floor.py`. `hold 0` is `syncdaemon drain` with `SYNC_HOLD_SECONDS=0`: a user's own count,
start and end included. `hold` is a running daemon that holds files for two seconds, from its start until it holds none
any more; only its CPU means something, since it waits most of the time. With `--against`, the same of another version.

All take turns. Bytecode is written beforehand, as an installation has it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.audit import check_gone, check_ledger, check_stream
from benchmarks.measure import BenchmarkFailed, Cost, Spread, cpu_seconds
from benchmarks.plan import Plan
from benchmarks.process import ROOT, SITE, DaemonProcess, environment, place, say, server
from benchmarks.report import size_text, table
from benchmarks.workload import Workload

_WITHIN = 300.0
_HOLD_SECONDS = "2"
_LOOK_SECONDS = 0.5  # between two looks at a daemon's status
_SETTLED_SECONDS = 0.5  # files are older than their quiet time when a contender begins


class Contender(NamedTuple):
    """`way`: `floor`, `hold 0` or `hold`; `program`: the `syncdaemon` that is called."""

    name: str
    way: str
    program: Path


class Run(NamedTuple):
    """What one process took, and the CPU seconds that the server spent on it."""

    cost: Cost
    server_cpu: float


def contenders(plan: Plan) -> list[Contender]:
    """The floor, and each way of each version."""
    ours = Path(sys.executable).with_name("syncdaemon")
    found = [Contender("floor", "floor", Path(sys.executable))]
    for name, program in (("ours", ours), ("other", plan.against)):
        if program is not None:
            found += [Contender(f"{name}, {way}", way, program) for way in ("hold 0", "hold")]
    return found


def _spent(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> Cost:
    """Runs a process to its end; what it took, all its threads. Raises BenchmarkFailed where it does not end well."""
    began = time.perf_counter()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = (folder / "log").read_text(errors="replace")[-1000:]
        raise BenchmarkFailed(f"{command[-1]} ended with {process.returncode}: {said}")
    return Cost(wall, used.ru_utime + used.ru_stime)


def _drained(folder: Path, url: str, program: Path, compiled: Path) -> Cost:
    """`syncdaemon drain`, without a hold."""
    settings = {
        "SITE": SITE,
        "NATS_URL": url,
        "SYNC_REPLAY_DIR": str(folder / "replay"),
        "SYNC_LEDGER_DIR": str(folder / "ledger"),
        "SYNC_HTTP_ADDR": "127.0.0.1:0",
        "SYNC_HOLD_SECONDS": "0",
    }
    environ = environment(**settings, PYTHONPYCACHEPREFIX=str(compiled))
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return _spent([str(program), "drain"], folder, environ)


def _held(folder: Path, url: str, program: Path, files: int) -> Cost:
    """A daemon from its start until it has delivered all files, and holds none of them any more."""
    began, deadline = time.perf_counter(), time.monotonic() + _WITHIN
    with DaemonProcess(folder, url, [str(program)], SYNC_HOLD_SECONDS=_HOLD_SECONDS) as daemon:
        held = False
        while True:
            status = daemon.status()
            held = held or bool(status["held_files"])
            if held and status["published_files"] == files and not status["held_files"]:
                return Cost(time.perf_counter() - began, cpu_seconds(daemon.pid))
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"{program}: not all is gone: {status}")
            time.sleep(_LOOK_SECONDS)


def _once(contender: Contender, workload: Workload, compiled: Path) -> Run:
    """One run, and proof that the work was done."""
    with place() as folder, server(folder) as running:
        workload.make(folder / "replay")
        time.sleep(_SETTLED_SECONDS)
        before = cpu_seconds(running.pid)
        if contender.way == "floor":
            program = [str(contender.program), str(ROOT / "benchmarks" / "floor.py"), str(folder / "replay")]
            cost = _spent(program, folder, environment())
        else:
            if contender.way == "hold":
                cost = _held(folder, running.url, contender.program, workload.files)
            else:
                cost = _drained(folder, running.url, contender.program, compiled)
            check_stream(running.url, workload.files)
            check_ledger(folder / "ledger", workload.files)
        check_gone(folder / "replay")
        return Run(cost, cpu_seconds(running.pid) - before)


def _warm(asked: Sequence[Contender], compiled: Path) -> None:
    """Has the bytecode of each version written."""
    for program in {contender.program for contender in asked if contender.way == "hold 0"}:
        with place() as folder, server(folder) as running:
            (folder / "replay").mkdir()
            _drained(folder, running.url, program, compiled)


def _rows(size: int, files: int, plan: Plan, compiled: Path) -> list[list[str]]:
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders(plan)}
    for _ in range(plan.repeats):
        for contender in contenders(plan):
            run = _once(contender, Workload(files, size), compiled)
            say(f"whole {size_text(size)}, {contender.name}: {run.cost.cpu / files * 1e6:.0f} µs of CPU a file")
            runs[contender.name].append(run)
    floor = [Spread.of([run.cost[at] for run in runs["floor"]]).median for at in (0, 1)]
    rows = []
    for contender in contenders(plan):
        found = runs[contender.name]
        wall, cpu = (Spread.of([run.cost[at] / files * 1e6 for run in found]) for at in (0, 1))
        beyond = cpu.median - floor[1] / files * 1e6
        waits = contender.way == "hold"
        shown = ["-", "-"] if waits else [f"{wall.median:.0f}", f"{wall.median - floor[0] / files * 1e6:.0f}"]
        spent = Spread.of([run.server_cpu / files * 1e6 for run in found]).median
        rows.append([size_text(size), contender.name, str(cpu), f"{beyond:.0f}", *shown, f"{spent:.0f}"])
    return rows


def section(plan: Plan) -> str:
    """The section in Markdown."""
    heads = [
        "size",
        "contender",
        "CPU µs/file",
        "beyond the floor",
        "µs/file",
        "beyond the floor",
        "server CPU µs/file",
    ]
    rows = []
    with place() as folder:
        compiled = folder / "compiled"
        _warm(contenders(plan), compiled)
        for size, files in plan.drain.items():
            rows += _rows(size, files, plan, compiled)
    counts = ", ".join(f"{files:,} of {size_text(size)}" for size, files in plan.drain.items())
    return "\n\n".join(
        [
            "## Until a file is gone",
            f"Files: {counts}; medians (least to most) of {plan.repeats} runs each, in turns. Whole processes, start "
            "and end included, divided by the number of files. CPU: user and system of all threads.",
            table(heads, rows),
        ]
    )
