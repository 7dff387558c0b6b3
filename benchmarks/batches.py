"""Section: what it costs to be safe from power cuts at both ends, and what atomic batches win back.

The server syncs every message to disk (`sync_interval: always`), our ledger every group of rows. The daemon drains the
same files in singles, in batches, and as it chooses by itself; beside it the obvious script at the same server, and the
daemon at a server with its default sync. Runs are as in the section on the drain, and the contenders take turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.drain import Contender, Run, drained, script
from benchmarks.measure import Spread
from benchmarks.plan import Plan
from benchmarks.process import place, say, server
from benchmarks.report import size_text, table
from benchmarks.workload import Workload
from syncdaemon.dev.server import NatsServer

_WITHIN = 300.0


def _ours(folder: Path, server: NatsServer, workload: Workload, plan: Plan, way: str = "") -> Run:
    workload.make(folder / "replay")
    return drained(folder, server, workload, _WITHIN, way)


CONTENDERS: Mapping[str, tuple[str, Contender]] = {
    "script": ("always", script),
    "singles": ("always", partial(_ours, way="singles")),
    "batches": ("always", partial(_ours, way="batch")),
    "ours": ("always", _ours),
    "ours, default sync": ("default", _ours),
}
"""How the server syncs, and who publishes to it."""


def measure_case(size: int, files: int, plan: Plan) -> dict[str, Spread]:
    """The rates of every contender."""
    rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(plan.repeats):
        for name, (sync, contender) in CONTENDERS.items():
            with place() as folder, server(folder, sync) as running:
                result = contender(folder, running, Workload(files, size), plan).result
            say(f"batches {size_text(size)}, {name}: {result.rate:,.0f} files/s")
            rates[name].append(result.rate)
    return {name: Spread.of(found) for name, found in rates.items()}


def section(plan: Plan) -> str:
    """The section in Markdown."""
    cases = {size: measure_case(size, files, plan) for size, files in plan.batches.items()}
    counts = ", ".join(f"{files:,} of {size_text(size)}" for size, files in plan.batches.items())
    heads = ["size", *(f"files/s {name}" for name in CONTENDERS), "ours/singles", "ours/script", "ours/default sync"]
    return "\n\n".join(
        [
            "## Power-safe",
            f"Files: {counts}; medians (least to most) of {plan.repeats} runs each, in turns. The server syncs each "
            "message before it acknowledges it, but for the last contender. `singles` and `batches`: the daemon, made "
            "to publish that way; `ours`: as it is, so that it finds out by itself which is faster.",
            table(heads, [_row(size, rates) for size, rates in cases.items()]),
        ]
    )


def _row(size: int, rates: Mapping[str, Spread]) -> list[str]:
    ours = rates["ours"].median
    against = [ours / rates[name].median for name in ("singles", "script", "ours, default sync")]
    return [size_text(size), *map(str, rates.values()), *(f"{ratio:.2f}x" for ratio in against)]
