"""A ledger with rows of several days, made by the ledger's own writer under a clock that a test sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncdaemon.ledger import writer
from syncdaemon.ledger.rows import Entry
from syncdaemon.ledger.writer import Writer

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05")


def receipt(n: int) -> Entry:
    """A receipt as a site writes them."""
    digest = f"{n:064x}"
    content: dict[str, int | str | bool] = {"path": f"folder/file-{n}", "size": n, "sha256": digest, "msg_id": digest}
    message: dict[str, int | str | bool] = {"subject": f"edge.replay.test-site.{digest}", "stream": "swarm_jobs"}
    return "published", {**content, **message, "stream_seq": n, "mtime_ns": n, "attempts": 1}


def write_days(folder: Path, site: str, days: tuple[str, ...] = DAYS, rows: int = 40) -> None:
    """Adds so many receipts for each of these days."""
    with pytest.MonkeyPatch.context() as clock:
        for day in days:
            clock.setattr(writer, "now_text", lambda day=day: f"{day}T12:00:00.000000Z")
            one = Writer(folder, site)
            one.load()
            one.write([receipt(one.head.n + at) for at in range(1, rows + 1)])
            one.close()
