"""Trees, ledgers and keys for the tests of what a third party can check."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from syncdaemon.evidence.keyfile import CheckpointKey
from syncdaemon.ledger import chain
from syncdaemon.ledger.rows import DUPLICATE, PUBLISHED, Entry, opened

SITE = "edge-1"
BASE = "edge.example.com/evidence"
KEY = CheckpointKey(b"k" * 32)


def root_as_defined(entries: Sequence[bytes]) -> bytes:
    """The Merkle tree hash, word for word as in RFC 6962, section 2.1."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\0" + entries[0]).digest()
    half = 1
    while half * 2 < len(entries):
        half *= 2
    return sha256(b"\1" + root_as_defined(entries[:half]) + root_as_defined(entries[half:])).digest()


def receipt(number: int, content: bytes = b"content", event: str = PUBLISHED, **more: Any) -> Entry:
    """The receipt of a file."""
    digest = sha256(content).hexdigest()
    fields: dict[str, Any] = {
        "path": f"a/file-{number}",
        "size": len(content),
        "sha256": digest,
        "msg_id": digest,
        "subject": f"edge.replay.{SITE}.{digest}",
        "stream": "swarm_jobs",
        "stream_seq": number,
        "mtime_ns": 1_700_000_000_123_456_789,
        "attempts": 1,
        **more,
    }
    return event, fields


def entries(count: int) -> list[Entry]:
    """Rows to write, of which row n is the receipt of `a/file-n`, but for the first."""
    kinds = (PUBLISHED, DUPLICATE)
    return [opened("host", 1, "0.1.0"), *(receipt(n, event=kinds[n % 2]) for n in range(2, count + 1))][:count]


def lines_of(folder: Path, site: str = SITE) -> list[bytes]:
    """All rows of a ledger, as lines without their newlines."""
    paths = sorted(folder.glob(f"evidence-{site}-*.jsonl"))
    return [line for path in paths for line in path.read_bytes().splitlines()]


def remove_rows(folder: Path) -> None:
    """The ledger is gone; its tree stays."""
    for path in folder.glob("evidence-*.jsonl"):
        path.unlink()


def sealed(rows: Sequence[Entry], ts: str = "2026-01-02T03:04:05.000006Z") -> list[bytes]:
    """These rows as the lines of a ledger."""
    head, lines = chain.START, []
    for event, fields in rows:
        line, head = chain.seal(head, SITE, ts, event, fields)
        lines.append(line)
    return lines


def written(folder: Path, rows: Sequence[Entry], a_day: int = 10_000) -> list[bytes]:
    """Writes a ledger without a tree, so many rows a day, as an earlier version did."""
    lines = sealed(rows)
    folder.mkdir(exist_ok=True)
    for day, at in enumerate(range(0, len(lines), a_day), 1):
        path = folder / f"evidence-{SITE}-202601{day:02d}.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in lines[at : at + a_day]))
    return lines
