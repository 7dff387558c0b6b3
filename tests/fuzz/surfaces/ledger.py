"""The ledger: whatever is changed in it is found, and what is whole is read as it was written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.check.ledger import audit
from syncdaemon.ledger import chain, rows
from syncdaemon.ledger.chain import START, BadRow, Head
from syncdaemon.ledger.files import (
    first_number,
    follow,
    last_lines,
    newest_row_of,
    rows_numbered,
    rows_of,
    rows_on,
    torn_end,
)
from syncdaemon.ledger.writer import Writer
from tests.fuzz import mutate
from tests.fuzz.surface import Case, Surface

MEMORY = "/dev/shm"
SITE = "edge-1"
DIGEST = "ab" * 32
RECEIPT: dict[str, Any] = {
    "path": "a%20b",
    "size": 3,
    "sha256": DIGEST,
    "msg_id": DIGEST,
    "subject": f"edge.replay.{SITE}.{DIGEST}",
    "stream": "swarm_jobs",
    "stream_seq": 7,
    "mtime_ns": 1_700_000_000_123_456_789,
    "attempts": 1,
}
ENTRIES: list[rows.Entry] = [
    rows.opened("host", 7, "0.1.0"),
    rows.link_up({"server_name": "hub", "server_id": "N", "version": "2.15.1"}),
    rows.attempt([DIGEST, DIGEST], 1, 0),
    (rows.PUBLISHED, RECEIPT),
    (rows.DUPLICATE, RECEIPT),
    rows.held_lost(RECEIPT),
    rows.requeued(b"a", b"b", 3, DIGEST, "too_large"),
    rows.link_down("the server said \x1b[31m no"),
    rows.closed(9),
]


def written(random: Random, count: int) -> list[bytes]:
    """A ledger of so many rows, as lines without their newlines."""
    head, lines = START, []
    for _ in range(count):
        event, fields = random.choice(ENTRIES)
        line, head = chain.seal(head, SITE, "2026-03-04T05:06:07.000001Z", event, fields)
        lines.append(line)
    return lines


@contextmanager
def lines() -> Iterator[Case]:
    """A line is refused with a reason, or it is a row in canonical form at its place. What is sealed is read back."""

    def case(random: Random) -> None:
        event, fields = random.choice(ENTRIES)
        odd = {name: mutate.value(random, one) if random.random() < 0.1 else one for name, one in fields.items()}
        good = {name: one for name, one in odd.items() if type(one) in (int, str, bool)}
        head = Head(random.choice((0, 1, 10**6)), DIGEST)
        head = START if head.n == 0 else head
        line, after = chain.seal(head, SITE, "2026-03-04T05:06:07.000001Z", event, good)
        assert b"\n" not in line
        row, again = chain.check(head, line)
        assert again == after == chain.follow(head, line)
        assert good.items() <= row.items()
        rows.fault(row).encode(errors="surrogatepass")

        changed = mutate.data(random, line) if random.random() < 0.6 else mutate.spelled(random, json.loads(line))
        with suppress(BadRow):
            chain.follow(head, changed)
        try:
            row, after = chain.check(random.choice((head, None)), changed)
        except BadRow as error:
            str(error).encode()
            return
        assert rows.fault(row) or rows.is_known(row) or row["event"] not in rows.SCHEMA
        # What another program may still have changed is found by the row after it: its bytes are others.
        assert (after.digest == again.digest) == (changed == line), (line, changed)

    yield case


@contextmanager
def changed_ledgers() -> Iterator[Case]:
    """A change of any byte before the last row is found by `verify`, at the file and the line; and never crashes."""
    with _folder() as folder:
        names = [folder / f"evidence-{SITE}-2026030{day}.jsonl" for day in (4, 5)]

        def case(random: Random) -> None:
            lines = written(random, 6)
            cut = random.randrange(1, 6)
            parts = [b"".join(line + b"\n" for line in part) for part in (lines[:cut], lines[cut:])]
            which = random.randrange(2)
            guarded = parts[which] if which == 0 else b"".join(line + b"\n" for line in lines[cut:-1])
            changed = mutate.data(random, guarded)
            whole = changed == guarded
            now = [changed, parts[1]] if which == 0 else [parts[0], changed + lines[-1] + b"\n"]
            for name, data in zip(names, now, strict=True):
                name.write_bytes(data)
            damage = _damage(folder)
            assert (damage == "") == whole, (damage, parts, now)
            assert whole or any(str(name) in damage for name in names), damage
            _read_all_ways(folder, names)

        yield case


def _damage(folder: Path) -> str:
    """What `verify` says is damaged; empty where nothing is."""
    try:
        audit(folder, SITE)
    except LedgerDamaged as damage:
        return str(damage)
    return ""


def _read_all_ways(folder: Path, names: list[Path]) -> None:
    """All that reads a ledger says damage, or reads; it does nothing else."""
    for name in names:
        torn_end(name)
        with suppress(LedgerDamaged):
            list(rows_of(name, rows.ABOUT_RECEIPTS))
        with suppress(LedgerDamaged):
            list(follow(name, None))
        with suppress(LedgerDamaged):
            newest_row_of(name, rows.OPEN)
        with suppress(LedgerDamaged):
            rows_on(name, last_lines(name, 5), -5, rows.ABOUT_RECEIPTS)
        with suppress(LedgerDamaged):
            first_number(name)
    with suppress(LedgerDamaged):
        list(rows_numbered(folder, SITE, bool))
    with suppress(LedgerDamaged):
        audit(folder, SITE, newest_only=True)


@contextmanager
def starts() -> Iterator[Case]:
    """A start on a torn ledger loses no whole row, and what it writes then is a whole ledger; or it says damage."""
    with _folder() as folder:
        name = folder / f"evidence-{SITE}-20260304.jsonl"

        def case(random: Random) -> None:
            for old in os.listdir(folder):
                (folder / old).unlink()
            data = b"".join(line + b"\n" for line in written(random, random.choice((0, 1, 5))))
            torn = random.random() < 0.5
            data = data[: random.randrange(len(data) + 1)] if torn else mutate.data(random, data)
            name.write_bytes(data)
            writer = Writer(folder, SITE)
            try:
                writer.load()
            except LedgerDamaged:
                assert not torn, data
                return
            finally:
                kept = name.read_bytes()
                assert kept == data
            writer.write([rows.opened("host", 7, "0.1.0")])
            writer.close()
            whole = data[: data.rfind(b"\n") + 1]
            assert name.read_bytes().startswith(whole)
            if torn:
                audit(folder, SITE)

        yield case


@contextmanager
def _folder() -> Iterator[Path]:
    with TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as root:
        yield Path(root)


SURFACES = (
    Surface("rows", "lines of the ledger", lines),
    Surface("ledgers", "ledgers of two files, changed", changed_ledgers),
    Surface("torn", "a start on a torn or changed ledger", starts),
)
