"""What finds a changed ledger: the table, with a row for each kind of change. Run by `python -m tests.mutations`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.base.model import StoredHeaders
from syncdaemon.check.compare import Comparison, Fetched, second_look
from syncdaemon.check.ledger import Audit, audit, hold_to
from syncdaemon.check.receipts import Receipts
from syncdaemon.ledger import rows_numbered
from tests.support.mutations import EXPECT, SITE, STREAM, VERIFY, Mutation, entries, kinds, seal

STREAM_NAME = "swarm_jobs"
Hub = Callable[[Path], bool]
"""Whether `verify --hub` finds something in the ledger of this folder."""


class Tried(NamedTuple):
    """How many changes of a kind were made, how many each way of looking found, and how many none of them did."""

    mutation: Mutation
    tried: int
    verify: int
    stream: int
    expect: int
    hub: int | None
    unfound: int
    overlooked: int
    """Not found by the way that has to find them."""


def table(folder: Path, each: int, seed: int = 1, hub: Hub | None = None) -> Iterator[Tried]:
    """Makes `each` changes of every kind."""
    folder.mkdir(parents=True, exist_ok=True)
    seal(folder, entries())
    whole = audit(folder, SITE)
    messages = list(_messages())
    for kind in kinds():
        yield _try(folder, kind, each, seed, whole, messages, hub)


def _try(
    folder: Path, kind: Mutation, each: int, seed: int, whole: Audit, messages: list[StoredHeaders], hub: Hub | None
) -> Tried:
    found = {VERIFY: 0, STREAM: 0, EXPECT: 0, "hub": 0}
    tried = unfound = overlooked = attempt = 0
    while tried < each and attempt < 20 * each:
        attempt += 1
        random = Random(f"{seed} {kind.kind} {attempt}")
        _clear(folder)
        seal(folder, entries())
        if not kind.make(folder, random):
            continue
        tried += 1
        by = _found_by(folder, whole, messages)
        if hub is not None and hub(folder):
            by.add("hub")
        for name in by:
            found[name] += 1
        unfound += not by
        overlooked += bool(kind.by) and not by & {VERIFY, kind.by}
    at_hub = None if hub is None else found["hub"]
    return Tried(kind, tried, found[VERIFY], found[STREAM], found[EXPECT], at_hub, unfound, overlooked)


def _found_by(folder: Path, whole: Audit, messages: list[StoredHeaders]) -> set[str]:
    try:
        now = audit(folder, SITE)
    except LedgerDamaged:
        return {VERIFY}
    by = set()
    try:
        hold_to(folder, SITE, whole.end, now)
    except LedgerDamaged:
        by.add(EXPECT)
    if _differs(folder, messages):
        by.add(STREAM)
    return by


def _differs(folder: Path, messages: list[StoredHeaders]) -> bool:
    """Whether `verify --stream` would say something: its comparison, with the messages at hand."""
    receipts = {STREAM_NAME: Receipts(b"key")}
    rows = {row["n"]: row for row in rows_numbered(folder, SITE, bool)}
    for row in rows.values():
        if row["event"] in ("published", "duplicate"):
            receipts.setdefault(row["stream"], Receipts(b"key")).add(row, True)
    for stream, some in receipts.items():
        there = {seen.seq: seen for seen in messages} if stream == STREAM_NAME else {}
        comparison = Comparison(some, SITE, 1)
        for seen in there.values():
            comparison.see(seen)
        comparison.end()
        if any(comparison.without_receipt()):
            return True
        for n in comparison.doubtful:
            seq = rows[n]["stream_seq"]
            stored = there.get(seq)
            fetched = stored and Fetched(seq, stored.headers, stored.headers["Edge-Sha256"], subject=stored.subject)
            if second_look(rows[n], fetched, SITE):
                return True
    return False


def _messages() -> Iterator[StoredHeaders]:
    """The messages that the whole ledger's receipts are about."""
    for row in entries():
        if row["event"] == "published":
            headers = {
                "Nats-Msg-Id": row["msg_id"],
                "Edge-Site": SITE,
                "Edge-Path": row["path"],
                "Edge-Sha256": row["sha256"],
                "Edge-Size": str(row["size"]),
                "Edge-Mtime-Ns": str(row["mtime_ns"]),
            }
            yield StoredHeaders(row["stream_seq"], row["subject"], headers, row["size"])


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


def as_text(lines: list[Tried]) -> str:
    """The table in Markdown."""
    said = ["| kind | tried | `verify` | `verify --stream` | `verify --expect` | `verify --hub` | not found |"]
    said.append("|---|--:|--:|--:|--:|--:|--:|")
    for line in lines:
        hub = "-" if line.hub is None else line.hub
        counts = (line.tried, line.verify, line.stream, line.expect, hub, line.unfound)
        said.append(f"| {line.mutation.kind} | {' | '.join(map(str, counts))} |")
    said.append(f"| all | {sum(line.tried for line in lines)} | | | | | {sum(line.unfound for line in lines)} |")
    return "\n".join(said)
