"""The log as static files: tiles and bundles from which anybody makes the same root."""

from __future__ import annotations

from pathlib import Path
from struct import unpack

import pytest

from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.evidence.notes import Checkpoint, SignedNote
from syncdaemon.evidence.origins import log_id
from syncdaemon.evidence.tiles import TileTree, bundle_path
from syncdaemon.evidence.tree import leaf_hash, root_at
from syncdaemon.ledger.checkpoints import Checkpoints
from syncdaemon.ledger.export import NotExported, export
from syncdaemon.ledger.rows import PUBLISHED
from tests.support.evidence import BASE, KEY, SITE, entries, receipt, root_as_defined, written


def entries_in(folder: Path, size: int) -> list[bytes]:
    """All entries of an exported log, from its bundles, as a tool that knows the format alone reads them."""
    found = []
    for number in range((size + 255) // 256):
        data = (folder / bundle_path(number, min(256, size - number * 256))).read_bytes()
        while data:
            (length,) = unpack(">H", data[:2])
            found.append(data[2 : 2 + length])
            data = data[2 + length :]
    return found


def keep_checkpoint(folder: Path, lines: list[bytes], root: bytes | None = None) -> SignedNote:
    note = Checkpoint(f"{BASE}/{SITE}/0123456789abcdef", len(lines), root or root_as_defined(lines)).note()
    note = note.signed(f"{BASE}/{SITE}/0123456789abcdef", KEY.seed)
    Checkpoints(folder, SITE).keep(note, [])
    return note


@pytest.mark.parametrize("count", [1, 255, 256, 700])
def test_it_has_all_rows(tmp_path: Path, count: int) -> None:
    lines = written(tmp_path / "ledger", entries(count), a_day=300)
    done = export(tmp_path / "ledger", SITE, tmp_path / "log")
    assert (done.rows, done.too_long, done.signed) == (count, [], False)
    assert entries_in(tmp_path / "log", count) == lines
    tree = TileTree(count, lambda tile: (tmp_path / "log" / tile.path).read_bytes())
    assert root_at(count, tree.subtree) == root_as_defined(lines)
    assert tree.subtree(0, 0) == leaf_hash(lines[0])


def test_it_goes_up_to_the_newest_checkpoint(tmp_path: Path) -> None:
    lines = written(tmp_path / "ledger", entries(700))
    note = keep_checkpoint(tmp_path / "ledger", lines[:600])
    assert export(tmp_path / "ledger", SITE, tmp_path / "log") == (600, log_id(lines[0]), [], True)
    assert (tmp_path / "log" / "checkpoint").read_bytes() == bytes(note)
    assert entries_in(tmp_path / "log", 600) == lines[:600]


def test_rows_that_are_not_those_of_the_checkpoint(tmp_path: Path) -> None:
    lines = written(tmp_path / "ledger", entries(300))
    keep_checkpoint(tmp_path / "ledger", lines[:200], b"x" * 32)
    with pytest.raises(LedgerDamaged, match="not those of the checkpoint of 200 rows"):
        export(tmp_path / "ledger", SITE, tmp_path / "log")
    assert not (tmp_path / "log" / "checkpoint").exists()


def test_a_row_that_is_too_long_is_said(tmp_path: Path) -> None:
    """Earlier versions wrote such rows for an attempt of very many messages. The tree has them all the same."""
    rows = entries(600)
    rows[299] = (PUBLISHED, receipt(300, path="p" * 65_600)[1])
    lines = written(tmp_path / "ledger", rows)
    done = export(tmp_path / "ledger", SITE, tmp_path / "log")
    assert done.too_long == [300]
    assert not (tmp_path / "log" / bundle_path(1)).exists()
    assert (tmp_path / "log" / bundle_path(0)).exists()
    tree = TileTree(600, lambda tile: (tmp_path / "log" / tile.path).read_bytes())
    assert root_at(600, tree.subtree) == root_as_defined(lines)


def test_what_is_not_exported(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "ledger").mkdir()
    with pytest.raises(NotExported, match="not empty"):
        export(tmp_path / "ledger", SITE, tmp_path / "full")
    with pytest.raises(NotExported, match="no rows"):
        export(tmp_path / "ledger", SITE, tmp_path / "log")
    with pytest.raises(NotExported, match=r"File exists|Not a directory"):
        export(tmp_path / "ledger", SITE, tmp_path / "full" / "file")
    written(tmp_path / "ledger", entries(300), a_day=100)
    min((tmp_path / "ledger").glob("*.jsonl")).unlink()
    with pytest.raises(LedgerDamaged, match="row number 101, expected 1"):
        export(tmp_path / "ledger", SITE, tmp_path / "log2")
