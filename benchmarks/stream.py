"""Section: how fast receipts are held against the stream.

Files of 4 KiB that `syncdaemon drain` has delivered to a server with file storage; then `syncdaemon verify --stream`,
and the same with `--content`, as an operator runs them, their start included.
"""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.plan import Plan
from benchmarks.process import SITE, command, environment, place, say, server
from benchmarks.report import table
from benchmarks.workload import Workload

_SIZE = 4 << 10
_WITHIN = 600.0  # seconds for a command


def timed(folder: Path, environ: dict[str, str], *arguments: str) -> float:
    """The seconds that a command of ours took."""
    began = time.perf_counter()
    command(folder, environ, *arguments, within=_WITHIN)
    return time.perf_counter() - began


def section(plan: Plan) -> str:
    """The section in Markdown."""
    workload = Workload(plan.drain[_SIZE], _SIZE)
    rows = []
    with place() as folder, server(folder) as running:
        paths = {"SYNC_REPLAY_DIR": str(folder / "replay"), "SYNC_LEDGER_DIR": str(folder / "ledger")}
        environ = environment(SITE=SITE, NATS_URL=running.url, SYNC_SETTLE_SECONDS="0", **paths)
        workload.make(folder / "replay")
        timed(folder, environ, "drain")
        for arguments in (("verify", "--stream"), ("verify", "--stream", "--content")):
            seconds = timed(folder, environ, *arguments)
            say(f"stream: {' '.join(arguments)} took {seconds:.1f} s")
            rows.append(
                [" ".join(arguments), f"{workload.files:,}", f"{seconds:.2f}", f"{workload.files / seconds:,.0f}"]
            )
    return "\n\n".join(
        [
            "## Stream",
            "Receipts against messages of 4 KiB, the command's start included. Goal: at least 5,000 receipts/s without "
            "`--content`.",
            table(["command", "receipts", "seconds", "receipts/s"], rows),
        ]
    )
