"""The audit of a delivery: what producers wrote, against what stream, ledger and replay directory hold afterwards.

It takes no word of the daemon's for it, and none of its code: the stream is read with nats-py's documented calls,
the ledger with the json module, and hashes are computed anew. What a message stands for is its body, or the object
that it names, as nats-py's object store reads it.

    files = [File.of(b"a", b"one"), File.of(b"b", b"two")]
    found = audit(server.url, "swarm_jobs", daemon.replay, daemon.ledger, files)
    assert found.problems == []
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import nats

from tests.support.jetstream import each_message, measured_object

_SIDECAR = ".reason.json"
_PATIENCE = 30.0  # seconds for an object of a test's size


class File(NamedTuple):
    """A file that a producer wrote: its path below the replay directory, and the digest of its content."""

    path: bytes
    sha256: str

    @classmethod
    def of(cls, path: bytes, data: bytes) -> File:
        """The file with this content."""
        return cls(path, _digest(data))


class Message(NamedTuple):
    """A message of the stream. `honest`: its headers say of its body what is so."""

    seq: int
    subject: str
    sha256: str
    honest: bool


@dataclass
class Audit:
    """What was found: `lost` and `doubled` are counts of contents, `problems` says everything in words."""

    files: int = 0
    lost: int = 0
    doubled: int = 0
    problems: list[str] = field(default_factory=list)

    def __add__(self, other: Audit) -> Audit:
        """Both together."""
        lost, doubled = self.lost + other.lost, self.doubled + other.doubled
        return Audit(self.files + other.files, lost, doubled, self.problems + other.problems)


def audit(
    url: str, stream: str, replay: Path, ledger: Path, files: Iterable[File], refused: Iterable[File] = ()
) -> Audit:
    """Compares all of it, after a delivery that has ended; `refused` are those that belong into the quarantine.

    A path may be in `files` more than once: it was used again.
    """
    aside = Counter(refused)
    delivered = Counter(files) - aside
    stored = asyncio.run(_read(url, stream))
    found = Audit(delivered.total() + aside.total())
    found.problems += _stream(found, stored, {file.sha256 for file in delivered})
    try:
        rows = list(_chain(ledger))
    except ValueError as error:
        found.problems.append(str(error))
    else:
        found.problems += _receipts(rows, stored, delivered)
        found.problems += _refusals(rows, aside)
    found.problems += _replay(replay, aside)
    return found


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()


async def _read(url: str, stream: str) -> list[Message]:
    stored = []
    async for seq, subject, headers, data in each_message(url, stream):
        told = headers.get("Edge-Sha256"), headers.get("Edge-Size")
        digest, size = _digest(data), len(data)
        if place := headers.get("Edge-Object"):
            digest, size = await _object(url, place)
        stored.append(Message(seq, subject, digest, told == (digest, str(size))))
    return stored


async def _object(url: str, place: str) -> tuple[str, int]:
    """Digest and size of an object; those of nothing where it can't be read."""
    bucket, _, name = place.partition("/")
    try:
        return await measured_object(url, bucket, name, _PATIENCE)
    except (TimeoutError, nats.errors.Error):
        return "unreadable", 0


def _stream(found: Audit, stored: list[Message], wanted: set[str]) -> Iterator[str]:
    """Each content once, nothing else, and every message what it says it is."""
    copies = Counter(message.sha256 for message in stored)
    found.lost = len(wanted - copies.keys())
    found.doubled = copies.total() - len(copies)
    if found.lost:
        yield f"{found.lost} contents are not in the stream"
    if found.doubled:
        yield f"{found.doubled} messages more than contents in the stream"
    if strangers := copies.keys() - wanted:
        yield f"{len(strangers)} messages that nobody wrote"
    if liars := [message.seq for message in stored if not message.honest]:
        yield f"{len(liars)} messages whose headers say what is not so, {liars[0]} among them"


def _chain(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows, as long as each carries the number and the hash that belong there. Raises ValueError."""
    number, digest = 0, "0" * 64
    for path in sorted(folder.glob("evidence-*.jsonl")):
        for line in path.read_bytes().splitlines(keepends=True):
            number += 1
            where = f"{path.name}, row {number}"
            if not line.endswith(b"\n"):
                raise ValueError(f"{where}: not finished")
            row = json.loads(line)
            if (row["n"], row["prev"]) != (number, digest):
                raise ValueError(f"{where}: the chain is broken")
            digest = _digest(line[:-1])
            yield row


def _receipts(rows: list[dict[str, Any]], stored: list[Message], files: Counter[File]) -> Iterator[str]:
    """One for every file, none for anything else, each naming a message that holds the content."""
    receipts = _valid(rows)
    told = Counter(map(_file, receipts))
    if bare := files - told:
        yield f"{bare.total()} files without a receipt, {min(bare)} among them"
    if surplus := told - files:
        yield f"{surplus.total()} receipts too many, for {min(surplus)} among them"
    where = {message.seq: message for message in stored}
    for row in receipts:
        message = where.get(row["stream_seq"])
        if message is None or (message.sha256, message.subject) != (row["sha256"], row["subject"]):
            yield f"row {row['n']}: message {row['stream_seq']} is not what it is a receipt for"
    published = Counter(row["stream_seq"] for row in receipts if row["event"] == "published")
    if wrong := [seq for seq in where if published[seq] != 1]:
        yield f"{len(wrong)} messages without one receipt that says published, {wrong[0]} among them"


def _valid(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The receipts, but for those of messages that the server has lost since."""
    receipts: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["event"] in ("published", "duplicate"):
            receipts.setdefault((row["stream_seq"], row["sha256"]), []).append(row)
        elif row["event"] == "held_lost":
            receipts.pop((row["stream_seq"], row["sha256"]), None)
    return [row for same in receipts.values() for row in same]


def _refusals(rows: list[dict[str, Any]], refused: Counter[File]) -> Iterator[str]:
    """A row at least for every one; a crash between row and quarantine writes a second."""
    told = {_file(row) for row in rows if row["event"] == "refused"}
    if told != refused.keys():
        yield f"refused rows for {sorted(told)}, not for {sorted(refused)}"


def _file(row: dict[str, Any]) -> File:
    return File(unquote_to_bytes(row["path"]), row["sha256"])


def _replay(replay: Path, refused: Counter[File]) -> Iterator[str]:
    """Empty, but for what is the daemon's own; in its quarantine the refused files, each beside its reason."""
    if left := [path for path in files_below(replay) if ".syncdaemon" not in path.relative_to(replay).parts]:
        yield f"{len(left)} files left in the replay directory, {left[0]} among them"
    quarantine = set(files_below(replay / ".syncdaemon/quarantine"))
    reasons = {path for path in quarantine if path.name.endswith(_SIDECAR) and _without_sidecar(path) in quarantine}
    contents = Counter(_digest(path.read_bytes()) for path in quarantine if path not in reasons)
    if contents != Counter(file.sha256 for file in refused.elements()):
        yield f"{contents.total()} files in quarantine, or not the {refused.total()} that were refused"
    told = Counter(json.loads(path.read_bytes())["sha256"] for path in reasons)
    if told != contents:
        yield f"{told.total()} reasons in quarantine for {contents.total()} files"


def _without_sidecar(path: Path) -> Path:
    return Path(str(path).removesuffix(_SIDECAR))


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, those with hidden names too."""
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]
