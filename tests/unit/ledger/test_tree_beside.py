"""The tree beside a ledger: it grows with the rows, outlives power cuts, and fits the rows whatever became of them."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from syncdaemon.evidence.origins import log_id
from syncdaemon.evidence.tree import check_inclusion, inclusion_proof, leaf_hash
from syncdaemon.ledger import Entry, Ledger, tile_store, tree, tree_keeper
from syncdaemon.ledger.chain import Head
from syncdaemon.ledger.seek import line_at, spot_of
from syncdaemon.ledger.tile_store import read_log_id, tile_tree, tree_folder
from syncdaemon.ledger.tree import RowTree
from syncdaemon.ledger.writer import Writer
from tests.support.evidence import SITE, entries, lines_of, receipt, remove_rows, root_as_defined, written


async def run(folder: Path, rows: Sequence[Entry], group: int = 400) -> None:
    """A process that writes these rows in groups, and ends when its tree is complete."""
    ledger = Ledger(folder, SITE, with_tree=True)
    ledger.open()
    for at in range(0, len(rows), group):
        await ledger.append(rows[at : at + group])
    beside = ledger._tree
    assert beside is not None
    for _ in range(3_000):
        if beside.head == ledger.head or beside.problem:
            break
        await asyncio.sleep(0.01)
    await ledger.close()


def days(folder: Path) -> list[Path]:
    """The ledger's files, the oldest first."""
    return sorted(folder.glob("*.jsonl"))


def assert_fits(folder: Path) -> None:
    """The tree on disk is the one of the rows, to the last, and a proof of each row can be made from it."""
    lines = lines_of(folder)
    state = json.loads((tree_folder(folder, SITE) / "state").read_bytes())
    assert state["size"] == len(lines)
    root = root_as_defined(lines)
    assert state["root"] == root.hex()
    assert read_log_id(folder, SITE) == log_id(lines[0])
    tiles = tile_tree(folder, SITE, len(lines))
    for index in range(0, len(lines), max(1, len(lines) // 50)):
        proof = inclusion_proof(index, len(lines), tiles.subtree)
        check_inclusion(leaf_hash(lines[index]), index, len(lines), proof, root)


async def test_it_grows_with_the_rows(tmp_path: Path) -> None:
    for count in (1, 200, 300, 900):  # the last run fills tiles of level 0, and begins one of level 1
        await run(tmp_path, entries(count))
        assert_fits(tmp_path)


async def test_without_a_key_there_is_none(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, SITE)
    ledger.open()
    await ledger.append(entries(2))
    await ledger.close()
    assert not tree_folder(tmp_path, SITE).exists()


async def test_an_older_ledger_gets_its_tree_beside_the_delivery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In steps: rows that are appended meanwhile are on disk before the tree is complete."""
    monkeypatch.setattr(tree, "STEP_ROWS", 100)
    written(tmp_path, entries(3_000), a_day=700)
    ledger = Ledger(tmp_path, SITE, with_tree=True)
    ledger.open()
    await ledger.append([receipt(3_001)])
    assert ledger._tree is not None
    assert ledger._tree.head.n < 3_000
    async with asyncio.timeout(30):
        number = 3_002
        while ledger._tree.head != ledger.head:
            await ledger.append([receipt(number)])
            number += 1
            await asyncio.sleep(0)
    await ledger.close()
    assert len(lines_of(tmp_path)) > 3_001
    assert_fits(tmp_path)


async def test_a_torn_end_is_in_the_tree_as_the_row_that_replaced_it(tmp_path: Path) -> None:
    await run(tmp_path, entries(300))
    newest = days(tmp_path)[-1]
    with newest.open("ab") as file:
        file.write(b'{"attempts":1,"eve')
    await run(tmp_path, entries(5))
    assert b'"event":"recovered"' in lines_of(tmp_path)[300]
    assert_fits(tmp_path)


async def test_where_it_does_not_fit_the_rows_it_is_made_anew(tmp_path: Path) -> None:
    """The row after the tree's last one says so, by the digest that it carries; or the ledger is shorter."""
    rows = [*entries(1), *(receipt(number) for number in range(2, 900))]
    written(tmp_path, rows)
    await run(tmp_path, entries(3))
    assert_fits(tmp_path)
    lines = lines_of(tmp_path)
    remove_rows(tmp_path)
    written(tmp_path, rows[:600])
    await run(tmp_path, [receipt(7, b"another content")])
    assert_fits(tmp_path)
    remove_rows(tmp_path)
    written(tmp_path, [*rows[:600], receipt(8, b"another content")])
    await run(tmp_path, [receipt(7, b"another content")] * 700)
    assert lines_of(tmp_path)[599] == lines[599]
    assert len(lines_of(tmp_path)) > len(lines)
    assert_fits(tmp_path)


@pytest.mark.parametrize("damage", ["state", "tile/0/000.p/150", "tile", "log-id"])
async def test_what_is_damaged_of_it_is_made_anew(tmp_path: Path, damage: str) -> None:
    await run(tmp_path, entries(150))
    path = tree_folder(tmp_path, SITE) / damage
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.write_bytes(b"\0" * path.stat().st_size)
    await run(tmp_path, [receipt(151)])
    assert_fits(tmp_path)


async def test_the_tree_of_another_ledger_is_not_written_over(tmp_path: Path) -> None:
    """Its checkpoints may be all that is left of that ledger. The rows are written all the same."""
    await run(tmp_path, entries(300))
    before = {path: path.read_bytes() for path in tree_folder(tmp_path, SITE).rglob("*") if path.is_file()}
    remove_rows(tmp_path)
    await run(tmp_path, [receipt(number, b"of the new ledger") for number in range(300)])
    assert len(lines_of(tmp_path)) == 300
    assert {path: path.read_bytes() for path in tree_folder(tmp_path, SITE).rglob("*") if path.is_file()} == before
    beside = RowTree(tmp_path, SITE)
    beside.load()
    writer = Writer(tmp_path, SITE)
    writer.load()
    assert not beside.catch_up(writer.head) or not beside.catch_up(writer.head)
    assert "the tree of another ledger" in beside.problem


async def test_an_id_that_cant_be_read_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk does not say whose tree this is."""
    await run(tmp_path, entries(3))
    remove_rows(tmp_path)

    def broken(self: Path, encoding: str) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as disk:
        disk.setattr(Path, "read_text", broken)
        await run(tmp_path, [receipt(9, b"of the new ledger")])
    assert read_log_id(tmp_path, SITE) != log_id(lines_of(tmp_path)[0])
    await run(tmp_path, [receipt(9)])
    assert read_log_id(tmp_path, SITE) != log_id(lines_of(tmp_path)[0])


async def test_a_ledger_without_its_first_rows_has_no_tree(tmp_path: Path) -> None:
    written(tmp_path, entries(300), a_day=100)
    days(tmp_path)[0].unlink()
    await run(tmp_path, [receipt(301)])
    assert len(lines_of(tmp_path)) == 201
    assert not (tree_folder(tmp_path, SITE) / "state").exists()


async def test_a_row_that_was_altered_gets_into_no_tree(tmp_path: Path) -> None:
    """And the tree is not begun anew for it, again and again."""
    written(tmp_path, entries(2_500), a_day=2_000)
    path = days(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"a/file-1200", b"a/file-9999"))
    await run(tmp_path, [receipt(301)])
    beside = RowTree(tmp_path, SITE)
    beside.load()
    beside.catch_up(head := Head(2_501, "f" * 64))
    beside.catch_up(head)
    beside.catch_up(head)
    head = Head(2_501, "f" * 64)
    for _ in range(3):  # the row after the one that was altered does not go on from it
        assert beside.head.n == 1_200
        beside.catch_up(head)
    assert "row 1201" in beside.problem


async def test_a_disk_that_takes_no_tile_stops_no_delivery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree falls behind, says so, and catches up when there is room."""
    monkeypatch.setattr(tree_keeper, "_RETRY", 0.05)
    ledger = Ledger(tmp_path, SITE, with_tree=True)
    ledger.open()
    beside = ledger._tree
    assert beside is not None
    with monkeypatch.context() as disk:

        def full(fd: int, data: bytes) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        disk.setattr(tile_store, "write_all", full)
        await ledger.append(entries(600))
        await ledger.append([receipt(601)])
        assert "No space left" in beside.problem
        assert beside.head.n == 0
    async with asyncio.timeout(10):
        while beside.head != ledger.head:
            await ledger.append([receipt(602)])
            await asyncio.sleep(0.02)
    await ledger.close()
    assert_fits(tmp_path)


STEPS = ("open", "write", "rename", "fsync", "mkdir", "rmdir", "unlink")


@pytest.mark.parametrize("at", range(0, 90, 3))
def test_a_crash_at_any_step_leaves_a_tree_that_goes_on(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on disk when the process ends before its n-th call, and then a start. All rows were on disk before."""
    lines = written(tmp_path, entries(700))
    writer = Writer(tmp_path, SITE)
    writer.load()
    head = writer.head

    class Killed(BaseException):
        pass

    calls = 0
    with monkeypatch.context() as patched:
        for step in STEPS:

            def call(*args: object, _real: object = getattr(os, step), **more: object) -> object:
                nonlocal calls
                calls += 1
                if calls > at:
                    raise Killed
                return _real(*args, **more)  # type: ignore[operator]

            patched.setattr(os, step, call)
        beside = RowTree(tmp_path, SITE)
        try:
            beside.load()
            for size in (300, 512, 700):
                cut = Head(size, json.loads(lines[size])["prev"] if size < 700 else head.digest)
                while beside.catch_up(cut):
                    pass
                beside.flush()
        except Killed:
            pass
    again = RowTree(tmp_path, SITE)
    again.load()
    while again.catch_up(head):
        pass
    again.flush()
    assert again.problem == ""
    assert_fits(tmp_path)


async def test_partial_tiles_go_when_the_full_one_is_durable(tmp_path: Path) -> None:
    root = tree_folder(tmp_path, SITE) / "tile" / "0"
    await run(tmp_path, entries(100))
    await run(tmp_path, entries(100))
    assert sorted(path.name for path in (root / "000.p").iterdir()) == ["100", "200"]
    await run(tmp_path, entries(100))
    assert sorted(path.name for path in root.iterdir()) == ["000", "001.p"]


@pytest.mark.parametrize("n", [1, 2, 699, 700, 701, 1_999, 2_000])
def test_a_row_is_found_by_its_number(tmp_path: Path, n: int) -> None:
    lines = written(tmp_path, entries(2_000), a_day=700)
    spot = spot_of(tmp_path, SITE, n)
    assert spot is not None
    assert line_at(spot) == lines[n - 1]
    assert spot_of(tmp_path, SITE, 2_001) is None
    assert spot_of(tmp_path, SITE, 0) is None
