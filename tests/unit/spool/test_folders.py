"""The producers' folders while their files are on their way: one descriptor each, and never another folder."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.base import beneath, disk
from syncdaemon.base.model import Content, Fit, Receipt
from syncdaemon.spool import folders as module
from syncdaemon.spool.backlog import Candidate
from syncdaemon.spool.folders import FolderReplaced
from syncdaemon.spool.hold import Hold
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.read import Reader, Reading
from syncdaemon.spool.retired import Retired
from tests.support.replay import full, own, tree, waiting, write

FIT = Fit(1 << 20, 1 << 20, 0)
LATER = 1 << 62


def reading(directory: ReplayDirectory, *paths: bytes) -> list[Reading]:
    """These files, as one batch."""
    return list(Reader(directory.folders, 0.0, FIT).read(map(Candidate, paths), LATER))


def delivered(directory: ReplayDirectory, path: bytes) -> Receipt:
    """The file at this path was read, and is recorded."""
    (content,) = reading(directory, path)
    assert isinstance(content, Content)
    return Receipt(content, content.sha256, "edge.replay.edge-1.x", "swarm_jobs", 1, False)


@pytest.fixture
def few(directory: ReplayDirectory) -> int:
    """So many folders are open at once."""
    directory.folders._most = 3
    return 3


def folders_open() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[bytes]:
    """A folder that is none of the producer's business, with a file of the same name."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "x").write_bytes(b"secret")
    yield os.fsencode(tmp_path / "secrets")
    assert (tmp_path / "secrets" / "x").read_bytes() == b"secret", "it is neither moved nor deleted"


@pytest.mark.parametrize("in_one_call", [True, False])
def test_a_folder_that_is_swapped_for_a_symlink_between_read_and_move(
    directory: ReplayDirectory, secret: bytes, monkeypatch: pytest.MonkeyPatch, in_one_call: bool
) -> None:
    """The file that was read is moved, wherever its folder is by then; what the symlink leads to is not touched."""
    monkeypatch.setattr(beneath, "_in_one_call", in_one_call)
    write(directory, b"a/b/x")
    receipt = delivered(directory, b"a/b/x")
    os.rename(full(directory, b"a"), full(directory, b".a"))
    os.mkdir(full(directory, b"a"))
    os.symlink(secret, full(directory, b"a/b"))

    assert Hold(directory, 100.0).retire([receipt], 0.0) == Retired(1, [])
    assert list(tree(own(directory, b"held")).values()) == [b"evidence"]


def test_a_file_behind_a_symlink_is_not_read(directory: ReplayDirectory, secret: bytes) -> None:
    """A folder that was one when it was scanned, or when the batch before was read."""
    write(directory, b"a/x")
    delivered(directory, b"a/x")
    os.rename(full(directory, b"a"), full(directory, b".a"))
    os.symlink(secret, full(directory, b"a"))

    assert [type(found).__name__ for found in reading(directory, b"a/x", b"x")] == ["Gone", "Gone"]


def test_a_batch_ends_before_a_folder_too_many(directory: ReplayDirectory, few: int) -> None:
    """What is in the root, or in a folder that is open, still comes; the rest is the next batch."""
    paths = [b"x", b"1/x", b"2/x", b"1/y", b"y", b"3/x", b"2/y", b"4/x", b"1/z"]
    for path in paths:
        write(directory, path, path)

    assert [found.path for found in reading(directory, *paths) if isinstance(found, Content)] == paths[:7]
    assert [found.path for found in reading(directory, *paths[7:]) if isinstance(found, Content)] == paths[7:]


def test_no_more_folders_are_open_than_agreed(directory: ReplayDirectory, few: int) -> None:
    """For all batches together; and those that were closed are opened again when their files are moved."""
    receipts, hold = [], Hold(directory, 100.0)
    before = folders_open()
    for number in range(4 * few):
        write(directory, b"%d/x" % number)
        receipts.append(delivered(directory, b"%d/x" % number))
        assert folders_open() <= before + few

    assert hold.retire(receipts, 0.0) == Retired(len(receipts), [])
    assert folders_open() <= before + few
    assert waiting(directory) == {}


def test_a_limit_of_the_process_is_respected(directory: ReplayDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors are for files, for the link and for the ledger as well."""
    assert directory.folders._most <= module.MOST == 128
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    assert module.OpenFolders(directory.root)._most == 25


def evicted(directory: ReplayDirectory, few: int) -> None:
    """As many others were used since."""
    for number in range(few):
        write(directory, b".other %d/x" % number)
        directory.folders.begin()
        directory.folders.enter(b".other %d" % number)


@pytest.mark.parametrize("there_now", ["another", "a symlink to it", "nothing"])
def test_a_folder_that_is_opened_again_is_the_same_one(directory: ReplayDirectory, few: int, there_now: str) -> None:
    """Else the file is not moved, and counts again: its receipt is kept."""
    write(directory, b"a/x")
    receipt = delivered(directory, b"a/x")
    evicted(directory, few)
    os.rename(full(directory, b"a"), full(directory, b"elsewhere"))
    if there_now == "another":
        write(directory, b"a/x", b"another")
    elif there_now == "a symlink to it":
        os.symlink(b"elsewhere", full(directory, b"a"))

    retired = Hold(directory, 100.0).retire([receipt], 0.0)
    assert (retired.moved, [kept for kept, _ in retired.kept]) == (0, [receipt])
    assert waiting(directory)[b"elsewhere/x"] == b"evidence"
    if there_now == "another":
        assert waiting(directory)[b"a/x"] == b"another"
        with pytest.raises(FolderReplaced):
            directory.folders.again(b"a/x", receipt.content.folder)


def test_a_folder_that_took_the_place_is_read_by_the_next_batch(directory: ReplayDirectory) -> None:
    """Though the one before is still open."""
    write(directory, b"a/x", b"first")
    delivered(directory, b"a/x")
    os.rename(full(directory, b"a"), full(directory, b"b"))
    write(directory, b"a/x", b"second")

    (found,) = reading(directory, b"a/x")
    assert isinstance(found, Content)
    assert found.data == b"second"


CALLS = {os: ("open", "rename", "stat", "fstat", "listdir", "unlink", "rmdir", "mkdir"), disk: ("_renameat2",)}


def away_for(patch: pytest.MonkeyPatch, directory: ReplayDirectory, nth: int) -> Callable[[], int]:
    """The directory is away at the n-th call of a piece of work, and back right after it; how many calls there were."""
    made = 0
    rename = os.rename

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def absent(*args: Any, **named: Any) -> Any:
            nonlocal made
            made += 1
            if made != nth:
                return call(*args, **named)
            rename(directory.replay_dir, directory.replay_dir + b" away")
            try:
                return call(*args, **named)
            finally:
                rename(directory.replay_dir + b" away", directory.replay_dir)

        return absent

    for where, names in CALLS.items():
        for name in names:
            patch.setattr(where, name, wrapped(getattr(where, name)))
    return lambda: made


@pytest.mark.parametrize("path", [b"x", b"a/b/x"])
def test_a_directory_that_is_away_for_one_call_makes_no_file_look_gone(directory: ReplayDirectory, path: bytes) -> None:
    """At any call of reading and of moving: else the file that is there all along would be delivered a second time."""
    hold, nth, calls = Hold(directory, 100.0), 0, 1
    while nth < calls:
        nth += 1
        write(directory, path)
        receipt = delivered(directory, path)
        with pytest.MonkeyPatch.context() as patch:
            count = away_for(patch, directory, nth)
            read = reading(directory, path)
            retired = hold.retire([receipt], 0.0)
            calls = count()
        assert read == [receipt.content], f"read, away at call {nth}"
        assert retired == Retired(1, []), f"moved, away at call {nth}"
        assert waiting(directory) == {}
    assert calls > 5
