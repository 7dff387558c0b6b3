"""Makes the proof of one receipt, of the row, the tree beside the ledger and a checkpoint that is here. Read only."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from pathlib import Path

from syncdaemon.base.errors import SyncError
from syncdaemon.evidence import tree
from syncdaemon.evidence.notes import Checkpoint, SignedNote
from syncdaemon.evidence.origins import LogOrigin
from syncdaemon.evidence.proofs import Proof, receipt
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.ledger.checkpoints import Checkpoints
from syncdaemon.ledger.files import files
from syncdaemon.ledger.rows import HELD_LOST, RECEIPTS
from syncdaemon.ledger.seek import line_at, spot_of
from syncdaemon.ledger.tile_store import tile_tree, tree_folder

_REMEDY = "move the file `state` beside it away and start the daemon: it makes the tree again from the rows"


class NoProof(SyncError):
    """No proof can be made; the text says why."""


def prove_row(folder: Path, site: str, n: int) -> Proof:
    """The proof of row `n`, by the smallest checkpoint here that has it: the one nearest in time.

    Raises NoProof, LedgerDamaged.
    """
    kept = Checkpoints(folder, site)
    try:
        spot = spot_of(folder, site, n)
        if spot is None:
            raise NoProof(f"row {n} is not in {folder}")
        row = line_at(spot)
        size = next((size for size in kept.sizes() if size >= n), None)
        if size is None:
            raise NoProof(f"no checkpoint in {tree_folder(folder, site)} has row {n} yet")
        note = kept.read(size)
        checkpoint = Checkpoint.parse(SignedNote.parse(note).text)
        receipt(row, LogOrigin.parse(checkpoint.origin).site, n - 1)
        hashes = tree.inclusion_proof(n - 1, size, tile_tree(folder, site, size).subtree)
    except BadEvidence as error:
        raise NoProof(f"row {n}: {error}") from None
    except ValueError as error:
        raise NoProof(f"the tree in {tree_folder(folder, site)} is damaged: {error}; {_REMEDY}") from None
    except FileNotFoundError as error:
        raise NoProof(f"{error.filename} is missing; {_REMEDY}") from None
    except OSError as error:
        raise NoProof(f"{error.filename}: {error.strerror}") from None
    try:
        tree.check_inclusion(tree.leaf_hash(row), n - 1, size, hashes, checkpoint.root)
    except BadEvidence:
        raise NoProof(
            f"row {n} or the tree in {tree_folder(folder, site)} is not what it was at the checkpoint of {size} rows; "
            "`syncdaemon verify` says whether it is a row"
        ) from None
    return Proof(row, n - 1, tuple(hashes), note)


def newest_receipt_of(folder: Path, site: str, path: str) -> int:
    """The number of the newest receipt of this path, percent-encoded as in the ledger, that no later row makes void.

    Raises NoProof.
    """
    lost: set[tuple[int, str]] = set()
    mark = b'"path":%b' % json.dumps(path).encode()
    try:
        for day in reversed(files(folder, site)):
            for line in _lines_backwards(day, mark):
                try:
                    row = json.loads(line)
                    event, content = row["event"], (row["stream_seq"], row["sha256"])
                    number = int(row["n"])
                except (ValueError, KeyError, TypeError):
                    continue
                if event == HELD_LOST:
                    lost.add(content)
                elif event in RECEIPTS and content not in lost:
                    return number
    except OSError as error:
        raise NoProof(f"{error.filename}: {error.strerror}") from None
    void = ", but one that is void: the server lost its message" if lost else ""
    raise NoProof(f"there is no receipt of {path} in {folder}{void}")


def _lines_backwards(path: Path, mark: bytes) -> Iterator[bytes]:
    """The lines with this mark, the last one first, without reading the others one by one."""
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = len(content)
        while (at := content.rfind(mark, 0, end)) >= 0:
            begin = content.rfind(b"\n", 0, at) + 1
            stop = content.find(b"\n", at)
            if stop >= 0:
                yield content[begin:stop]
            end = begin
