"""Section: how fast a directory is drained, against the obvious script and against the ceiling.

Each run has a fresh server with an empty store, and files that were just made: on a real disk, but with their contents
still in memory only. So deleting one costs no disk work, which is in the script's favour: the daemon deletes nothing
during the run, it moves each file to the hold. The contenders take turns, so that what else the machine does falls on
all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from benchmarks.audit import check_gone, check_ledger, check_stream
from benchmarks.measure import Result, Spread, cpu_seconds
from benchmarks.plan import Plan
from benchmarks.process import STREAM, SYNCS, contend, place, say, server
from benchmarks.report import megabytes, size_text, table
from benchmarks.workload import Workload
from syncdaemon.dev.server import NatsServer

_WITHIN = 300.0


class Run(NamedTuple):
    """One run: what the contender says, and the CPU seconds that the server spent while its process lived."""

    result: Result
    server_cpu: float


def script(folder: Path, server: NatsServer, workload: Workload, plan: Plan) -> Run:
    """One run of the obvious script."""
    workload.make(folder / "replay")
    job = {
        "url": server.url,
        "stream": STREAM,
        "replay": str(folder / "replay"),
        "ledger": str(folder / "ledger.jsonl"),
        "seconds": plan.script_seconds,
    }
    run = watched(server, "script", job)
    check_stream(server.url, run.result.files)
    return run


def ceiling(folder: Path, server: NatsServer, workload: Workload, plan: Plan) -> Run:
    """One run of the raw publisher."""
    run = watched(server, "ceiling", {"url": server.url, "workload": asdict(workload)})
    check_stream(server.url, workload.files)
    return run


def ours(folder: Path, server: NatsServer, workload: Workload, plan: Plan) -> Run:
    """One run of the daemon's drain, and proof that it did its work."""
    workload.make(folder / "replay")
    return drained(folder, server, workload, _WITHIN)


def other(folder: Path, server: NatsServer, workload: Workload, plan: Plan) -> Run:
    """The same of another version."""
    workload.make(folder / "replay")
    return drained(folder, server, workload, _WITHIN, program=plan.against)


def drained(
    folder: Path, server: NatsServer, workload: Workload, within: float, way: str = "", program: Path | None = None
) -> Run:
    """Drains what was made in `folder`/replay, and checks stream, ledger and directory after it.

    `way`: see `ours`; `program`: the `syncdaemon` of another version.
    """
    ledger = folder / "ledger"
    job = {
        "url": server.url,
        "replay": str(folder / "replay"),
        "ledger": str(ledger),
        "files": workload.files,
        "within": within,
        "way": way,
        "settings": {},
    }
    run = watched(server, "ours", job, within + 60, program)
    check_stream(server.url, workload.files)
    check_ledger(ledger, workload.files)
    check_gone(folder / "replay")
    return run


def watched(
    server: NatsServer, module: str, job: dict[str, object], within: float = _WITHIN, program: Path | None = None
) -> Run:
    """Runs a contender."""
    before = cpu_seconds(server.pid)
    result = contend(module, job, within, program)
    return Run(result, cpu_seconds(server.pid) - before)


Contender = Callable[[Path, NatsServer, Workload, Plan], Run]
CONTENDERS: dict[str, Contender] = {"script": script, "ceiling": ceiling, "ours": ours}
VERSIONS: dict[str, Contender] = {"ours": ours, "other": other}
Case = dict[str, list[Run]]
"""Of one size and sync: the runs by contender."""


def measure_case(size: int, files: int, sync: str, plan: Plan) -> Case:
    """Every contender `plan.repeats` times, in turns; or this version and another one, where the plan names one."""
    contenders = VERSIONS if plan.against else CONTENDERS
    runs: Case = {name: [] for name in contenders}
    for _ in range(plan.repeats):
        for name, contender in contenders.items():
            with place() as folder, server(folder, sync) as running:
                run = contender(folder, running, Workload(files, size), plan)
            say(f"drain {size_text(size)}, sync {sync}, {name}: {run.result.rate:,.0f} files/s")
            runs[name].append(run)
    return runs


def section(plan: Plan) -> str:
    """The section in Markdown."""
    cases = {
        (size, sync): measure_case(size, files, sync, plan) for size, files in plan.drain.items() for sync in SYNCS
    }
    if plan.against:
        return _two_versions(cases, plan)
    heads = [f"files/s {name}" for name in CONTENDERS] + [f"MB/s {name}" for name in CONTENDERS]
    heads = ["size", "sync", *heads, "ours/script", "ours/ceiling", "CPU µs/file", "peak RSS MB"]
    details = ["size", "sync", "contender", "files/s", "client CPU µs/file", "server CPU µs/file", "peak RSS MB"]
    counts = ", ".join(f"{files:,} of {size_text(size)}" for size, files in plan.drain.items())
    return "\n\n".join(
        [
            "## Drain",
            f"Files: {counts}; medians of {plan.repeats} runs each, in turns. `script`: read, hash, `js.publish`, "
            "ledger line, fsync, unlink, one file after another. `ceiling`: a raw pipelined publisher that sends the "
            "same messages from memory and only counts acknowledgements. `sync`: when the server brings messages to "
            "disk. CPU (user and system) and peak RSS are those of our process, start-up apart. MB: "
            "1,000,000 bytes. After every run of ours each file was in the stream and in a ledger that "
            "`syncdaemon verify` passed.",
            table(heads, [_row(size, sync, case) for (size, sync), case in cases.items()]),
            "Every contender, as median (least to most). The server's CPU is that of the client's whole life. "
            "The ceiling's memory holds its messages, and says nothing.",
            table(details, [row for (size, sync), case in cases.items() for row in _details(size, sync, case)]),
        ]
    )


def _two_versions(cases: dict[tuple[int, str], Case], plan: Plan) -> str:
    heads = ["size", "sync", "files/s other", "files/s ours", "ours/other", "CPU µs/file other", "CPU µs/file ours"]
    rows = []
    for (size, sync), case in cases.items():
        rates = {name: Spread.of([run.result.rate for run in runs]) for name, runs in case.items()}
        cpu = {name: Spread.of([run.result.cpu_micros for run in runs]).median for name, runs in case.items()}
        pairs = zip(case["ours"], case["other"], strict=True)
        ratio = Spread.of([mine.result.rate / its.result.rate for mine, its in pairs])
        shown = [f"{rates['other'].median:,.0f}", f"{rates['ours'].median:,.0f}"]
        shown += [f"{ratio.median:.2f}x ({ratio.least:.2f} to {ratio.most:.2f})"]
        rows.append([size_text(size), sync, *shown, f"{cpu['other']:.0f}", f"{cpu['ours']:.0f}"])
    return "\n\n".join(
        [
            "## Drain, two versions",
            f"This version (`ours`) and another one (`other`), {plan.repeats} runs each, in turns: medians, and of the "
            "ratio pair by pair the median (least to most).",
            table(heads, rows),
        ]
    )


def _row(size: int, sync: str, case: Case) -> list[str]:
    rates = {name: Spread.of([run.result.rate for run in runs]).median for name, runs in case.items()}
    cpu = Spread.of([run.result.cpu_micros for run in case["ours"]]).median
    peak = Spread.of([run.result.peak for run in case["ours"]]).most
    return [
        size_text(size),
        sync,
        *(f"{rate:,.0f}" for rate in rates.values()),
        *(megabytes(rate * size) for rate in rates.values()),
        f"{rates['ours'] / rates['script']:.1f}x",
        f"{rates['ours'] / rates['ceiling']:.2f}x",
        f"{cpu:.0f}",
        megabytes(peak),
    ]


def _details(size: int, sync: str, case: Case) -> list[list[str]]:
    return [
        [
            size_text(size),
            sync,
            name,
            str(Spread.of([run.result.rate for run in runs])),
            str(Spread.of([run.result.cpu_micros for run in runs])),
            str(Spread.of([run.server_cpu / run.result.files * 1e6 for run in runs])),
            "-" if name == "ceiling" else megabytes(max(run.result.peak for run in runs)),
        ]
        for name, runs in case.items()
    ]
