"""A site's log as static files, as any tool for C2SP tlog-tiles reads them: tiles, entry bundles and the checkpoint.

All of it is made from the rows, which are held to their chain on the way; nothing of the tree beside the ledger is
needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from syncdaemon.base.errors import LedgerDamaged, SyncError
from syncdaemon.evidence.notes import Checkpoint, SignedNote
from syncdaemon.evidence.origins import log_id
from syncdaemon.evidence.tiles import MOST_ENTRY_BYTES, WIDTH, Edge, bundle, bundle_path
from syncdaemon.ledger import chain
from syncdaemon.ledger.checkpoints import Checkpoints
from syncdaemon.ledger.files import files, follow


class NotExported(SyncError):
    """The log can't be written there; the text says why."""


class Exported(NamedTuple):
    """What was written. `too_long`: the numbers of rows that fit no entry bundle; `signed`: with a checkpoint."""

    rows: int
    log_id: str
    too_long: list[int]
    signed: bool


def export(folder: Path, site: str, target: Path) -> Exported:
    """Writes the log of a site into `target`, which must be empty, up to its newest checkpoint; without one, all of it.

    A bundle with a row that is too long for it is left out. Raises NotExported, LedgerDamaged.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise NotExported(f"{target} is not empty: name a folder that is")
        newest = Checkpoints(folder, site).newest()
        return _export(folder, site, target, newest)
    except OSError as error:
        raise NotExported(f"{error.filename or target}: {error.strerror}") from None


def _export(folder: Path, site: str, target: Path, newest: bytes | None) -> Exported:
    checkpoint = None if newest is None else Checkpoint.parse(SignedNote.parse(newest).text)
    edge, first, too_long = Edge(), b"", []
    for entries in _bundles(folder, site, None if checkpoint is None else checkpoint.size):
        first = first or entries[0]
        before = edge.size
        for tile, content in edge.add(entries):
            _write(target / tile.path, content)
        if long := [n for n, entry in enumerate(entries, before + 1) if len(entry) > MOST_ENTRY_BYTES]:
            too_long += long
        else:
            _write(target / bundle_path(before // WIDTH, len(entries)), bundle(entries))
    if not first:
        raise NotExported(f"{folder} has no rows of site {site}")
    for tile, content in edge.unfinished():
        _write(target / tile.path, content)
    if newest is not None and checkpoint is not None:
        if (edge.size, edge.root) != (checkpoint.size, checkpoint.root):
            raise LedgerDamaged(f"the first {edge.size} rows are not those of the checkpoint of {checkpoint.size} rows")
        _write(target / "checkpoint", newest)
    return Exported(edge.size, log_id(first), too_long, newest is not None)


def _bundles(folder: Path, site: str, size: int | None) -> Iterator[list[bytes]]:
    """The rows from the first one on, 256 at a time, up to this many."""
    lines: list[bytes] = []
    head = chain.START
    for path in files(folder, site):
        for line, after in follow(path, head):
            head = after
            lines.append(line)
            if len(lines) == WIDTH or head.n == size:
                yield lines
                lines = []
            if head.n == size:
                return
    if lines:
        yield lines


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except FileNotFoundError:
        os.makedirs(path.parent, exist_ok=True)
        path.write_bytes(content)
