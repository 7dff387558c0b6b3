"""A checkpoint is signed only where what the hub has, and what lies here, is a beginning of this ledger."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from syncdaemon.evidence.notes import LOG_KEY, Checkpoint, SignedNote, VerifierKey, open_checkpoint
from syncdaemon.evidence.origins import LogOrigin, log_id
from syncdaemon.evidence.tree import root_of
from syncdaemon.ledger import Ledger
from syncdaemon.ledger.checkpoints import CheckpointConflict, Checkpoints, NotSigned, Signer
from syncdaemon.ledger.tile_store import tree_folder
from tests.support.evidence import BASE, KEY, SITE, entries, lines_of, receipt, remove_rows, root_as_defined, written


def signer(folder: Path) -> Signer:
    return Signer(folder, SITE, BASE, KEY)


def origin(folder: Path) -> str:
    return str(LogOrigin(BASE, SITE, log_id(lines_of(folder)[0])))


async def caught_up(ledger: Ledger) -> None:
    """Returns when the tree goes as far as the ledger."""
    for _ in range(1_000):
        if ledger._tree is not None and ledger._tree.head == ledger.head:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the tree does not catch up")


async def signed(folder: Path, count: int, published: Checkpoint | None = None) -> SignedNote:
    """A process that writes so many rows more, and signs a checkpoint of all."""
    ledger = Ledger(folder, SITE, with_tree=True)
    ledger.open()
    try:
        if count:
            await ledger.append([receipt(number) for number in range(count)])
        return await ledger.sign_checkpoint(signer(folder), published)
    finally:
        await ledger.close()


async def test_it_is_of_the_rows_that_are_on_disk(tmp_path: Path) -> None:
    for count in (1, 299, 300):
        note = await signed(tmp_path, count)
        lines = lines_of(tmp_path)
        key = VerifierKey(origin(tmp_path), LOG_KEY, KEY.public)
        checkpoint, _ = open_checkpoint(bytes(note), [key])
        assert checkpoint == Checkpoint(origin(tmp_path), len(lines), root_as_defined(lines))
    kept = Checkpoints(tmp_path, SITE)
    assert kept.sizes() == [1, 300, 600]
    assert kept.newest() == bytes(note)
    compact = (tmp_path / f"tlog-{SITE}" / "checkpoints" / f"{600:019d}.range").read_bytes()
    assert root_of([compact[at : at + 32] for at in range(0, len(compact), 32)]) == checkpoint.root


async def test_with_nothing_new_it_is_the_same_one(tmp_path: Path) -> None:
    first = await signed(tmp_path, 5)
    assert await signed(tmp_path, 0, Checkpoint.parse(first.text)) == first


async def test_what_the_hub_has_is_held_to_the_rows(tmp_path: Path) -> None:
    first = Checkpoint.parse((await signed(tmp_path, 400)).text)
    await signed(tmp_path, 200, first)
    for published, words in (
        (first._replace(root=b"x" * 32), "checkpoint of 400 rows is no beginning"),
        (first._replace(size=399), "checkpoint of 399 rows is no beginning"),
        (first._replace(size=700), "checkpoint of 700 rows, and this ledger has 6"),
        (first._replace(origin=first.origin[:-1] + "x"), "this ledger's log is"),
    ):
        with pytest.raises(CheckpointConflict, match=words):
            await signed(tmp_path, 1, published)


async def test_a_disk_that_was_restored_signs_nothing(tmp_path: Path) -> None:
    """The hub has a checkpoint of rows that are not on this disk, whether it grew since or not."""
    await signed(tmp_path / "disk", 300)
    shutil.copytree(tmp_path / "disk", tmp_path / "backup")
    published = Checkpoint.parse((await signed(tmp_path / "disk", 100)).text)
    for count in (1, 99, 100, 300):
        with pytest.raises(CheckpointConflict):
            await signed(tmp_path / "backup", count, published)
    assert Checkpoints(tmp_path / "backup", SITE).sizes() == [300]


async def test_a_ledger_whose_rows_were_changed_signs_nothing(tmp_path: Path) -> None:
    """Its own checkpoint says so, without a hub; the tree is made anew of the rows as they are."""
    written(tmp_path, entries(400))
    ledger = Ledger(tmp_path, SITE, with_tree=True)
    ledger.open()
    await ledger.append([receipt(401)])
    with pytest.raises(NotSigned, match="the tree goes up to row 0 as yet, the ledger to row 401"):
        await ledger.sign_checkpoint(signer(tmp_path), None)
    await caught_up(ledger)
    await ledger.sign_checkpoint(signer(tmp_path), None)
    await ledger.close()
    remove_rows(tmp_path)
    rows = entries(400)
    written(tmp_path, [*rows[:200], receipt(7, b"forged"), *rows[201:], receipt(402)])
    ledger = Ledger(tmp_path, SITE, with_tree=True)
    ledger.open()
    await ledger.append([receipt(403)])
    await caught_up(ledger)
    with pytest.raises(CheckpointConflict, match="no beginning of this ledger: a row was changed"):
        await ledger.sign_checkpoint(signer(tmp_path), None)
    await ledger.close()


async def test_a_ledger_without_rows_or_tree_signs_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotSigned, match="no rows"):
        await signed(tmp_path, 0)
    ledger = Ledger(tmp_path, SITE)
    ledger.open()
    with pytest.raises(NotSigned, match="no tree"):
        await ledger.sign_checkpoint(signer(tmp_path), None)
    await ledger.close()


async def test_a_wiped_ledger_beside_a_checkpoint_signs_nothing(tmp_path: Path) -> None:
    """Row 1 is another one: the folder of the tree speaks of a ledger that is gone."""
    await signed(tmp_path, 3)
    remove_rows(tmp_path)
    written(tmp_path, [receipt(9, b"new")])
    with pytest.raises(NotSigned, match=r"the tree of another ledger|as yet"):
        await signed(tmp_path, 5)
    with pytest.raises(NotSigned, match=r"the tree of another ledger|as yet"):
        await signed(tmp_path, 0)
    assert Checkpoints(tmp_path, SITE).sizes() == [3]


async def test_beside_a_damaged_checkpoint_none_is_signed(tmp_path: Path) -> None:
    """It may be the only one that says what this ledger was."""
    await signed(tmp_path, 3)
    (tree_folder(tmp_path, SITE) / "checkpoints" / f"{3:019d}").write_bytes(b"\0" * 200)
    with pytest.raises(NotSigned, match=r"the newest checkpoint in .* control character"):
        await signed(tmp_path, 3)
