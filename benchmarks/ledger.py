"""Section: how fast a large ledger is verified.

Rows as the daemon writes them, made and sealed by its own code, over three daily files; then `syncdaemon verify` as an
operator runs it, its start included.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from benchmarks.measure import BenchmarkFailed
from benchmarks.plan import Plan
from benchmarks.process import SITE, STREAM, command, environment, place, say
from benchmarks.report import table
from syncdaemon.base.model import Row
from syncdaemon.ledger import chain

_DAYS = 3
_WITHIN = 600.0  # seconds


def receipt(n: int, path: str, size: int) -> Row:
    """The fields of a `published` row, of a file that holds the digits of `n`."""
    digest = hashlib.sha256(b"%d" % n).hexdigest()
    return {
        "path": path,
        "size": size,
        "sha256": digest,
        "msg_id": digest,
        "subject": f"edge.replay.{SITE}.{digest}",
        "stream": STREAM,
        "stream_seq": n,
        "mtime_ns": 1_767_225_600_000_000_000 + n,
        "attempts": 1,
    }


def make(folder: Path, rows: int) -> int:
    """Writes the ledger; its size in bytes."""
    head, size = chain.START, 0
    for day in range(_DAYS):
        with (folder / f"evidence-{SITE}-2026010{day + 1}.jsonl").open("wb") as file:
            for n in range(head.n + 1, rows * (day + 1) // _DAYS + 1):
                fields = receipt(n, f"folder/file-{n}.bin", 4_096)
                line, head = chain.seal(head, SITE, f"2026-01-0{day + 1}T00:00:00.000000Z", "published", fields)
                size += file.write(line + b"\n")
    return size


def section(plan: Plan) -> str:
    """The section in Markdown."""
    with place() as folder:
        size = make(folder, plan.ledger_rows)
        say(f"ledger: {plan.ledger_rows:,} rows made")
        began = time.perf_counter()
        told = command(folder, environment(SITE=SITE, SYNC_LEDGER_DIR=str(folder)), "verify", within=_WITHIN)
        seconds = time.perf_counter() - began
        if f"{plan.ledger_rows} rows" not in told:
            raise BenchmarkFailed(f"syncdaemon verify said: {told}")
    say(f"ledger: verified in {seconds:.1f} s")
    rows = [[f"{plan.ledger_rows:,}", f"{size / 1e6:.0f}", f"{seconds:.2f}", f"{plan.ledger_rows / seconds:,.0f}"]]
    return "\n\n".join(
        [
            "## Ledger",
            "`syncdaemon verify` over three daily files, its start included. Goal: at least 50,000 rows/s.",
            table(["rows", "MB", "seconds", "rows/s"], rows),
        ]
    )
