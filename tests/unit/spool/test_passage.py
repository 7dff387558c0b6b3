"""Delivered files where nothing is held: out of reach, looked at, deleted. What was written to meanwhile comes back."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from syncdaemon.base.model import Receipt
from syncdaemon.spool.hold import Hold
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.passage import Passage, Passed
from syncdaemon.spool.retired import Retired
from syncdaemon.spool.spool import Spool, SpoolSettings
from tests.support.replay import content_of, own, tree, waiting, write


@pytest.fixture
def hold(directory: ReplayDirectory) -> Hold:
    """One that holds nothing."""
    return Hold(directory, 0.0)


@pytest.fixture
def passage(directory: ReplayDirectory, hold: Hold) -> Passage:
    """The way past it."""
    return Passage(directory, hold)


def delivered(directory: ReplayDirectory, path: bytes = b"file", data: bytes = b"evidence") -> Receipt:
    """A new file, delivered; an old one by its mtime, so that any change to it shows there."""
    os.utime(write(directory, path, data), ns=(0, 1_000_000_000))
    content = content_of(directory, path)
    return Receipt(content, content.sha256, "edge.replay.edge-1.x", "swarm_jobs", 1, False)


def held(directory: ReplayDirectory) -> list[bytes]:
    """What the files in the folder of the hold hold, sorted."""
    return sorted(tree(own(directory, b"held")).values())


def test_delivered_files_are_out_of_reach_and_then_gone(
    directory: ReplayDirectory, hold: Hold, passage: Passage
) -> None:
    """In one folder, batch after batch; at the end that is gone too."""
    for _ in range(3):
        receipts = [delivered(directory, b"a"), delivered(directory, b"sub/b"), delivered(directory, b"sub/c")]
        retired, passing = passage.enter(receipts)
        assert retired == Retired(3, [])
        assert waiting(directory) == {}
        assert len(held(directory)) == 3
        assert passage.leave(passing, 0.0) == Passed(3, [])
        assert held(directory) == []
    assert len(os.listdir(own(directory, b"held"))) == 1
    assert (hold.count, hold.buckets(), hold.next_expiry()) == (0, [], None)
    passage.close()
    assert os.listdir(own(directory, b"held")) == []


def test_what_is_written_after_the_rename_comes_back(directory: ReplayDirectory, passage: Passage) -> None:
    """By a program that opened the file before."""
    receipts = [delivered(directory, b"sub/a"), delivered(directory, b"sub/b")]
    with open(os.path.join(directory.replay_dir, b"sub/a"), "ab", buffering=0) as writer:
        _, passing = passage.enter(receipts)
        writer.write(b", and more")
        assert passage.leave(passing, 0.0) == Passed(1, [b"sub/a"])
    assert waiting(directory) == {b"sub/a": b"evidence, and more"}
    assert held(directory) == []


def test_a_name_that_was_used_again_keeps_its_new_file(directory: ReplayDirectory, passage: Passage) -> None:
    """The new file was never sent. It comes back; beside its name, where a third one is there by then."""
    receipts = [delivered(directory, b"a"), delivered(directory, b"b"), delivered(directory, b"link")]
    for path in (b"a", b"b"):
        write(directory, path, b"second")
    os.unlink(os.path.join(directory.replay_dir, b"link"))
    os.symlink("/etc/hostname", os.path.join(directory.replay_dir, b"link"))
    _, passing = passage.enter(receipts)
    write(directory, b"b", b"third")
    assert passage.leave(passing, 0.0) == Passed(0, [b"a", b"b~2", b"link"])
    assert os.readlink(os.path.join(directory.replay_dir, b"link")) == b"/etc/hostname"
    os.unlink(os.path.join(directory.replay_dir, b"link"))
    assert waiting(directory) == {b"a": b"second", b"b": b"third", b"b~2": b"second"}


def test_a_changed_file_whose_folder_is_gone_comes_back_to_the_top(
    directory: ReplayDirectory, passage: Passage
) -> None:
    """It can't go back to its place."""
    done = delivered(directory, b"sub/a")
    with open(os.path.join(directory.replay_dir, b"sub/a"), "ab", buffering=0) as writer:
        _, passing = passage.enter([done])
        writer.write(b", and more")
        os.rmdir(os.path.join(directory.replay_dir, b"sub"))
        passed = passage.leave(passing, 0.0)
    assert [path.startswith(b"changed-while-held-") for path in passed.back] == [True]
    assert list(waiting(directory).values()) == [b"evidence, and more"]


def test_what_can_not_be_deleted_is_held(
    directory: ReplayDirectory, hold: Hold, passage: Passage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hold tries again. The next batch goes through another folder, and the one under way is left to the hold."""
    _, first = passage.enter([delivered(directory, b"a"), delivered(directory, b"b")])
    _, second = passage.enter([delivered(directory, b"c")])
    real = os.unlink

    def unlink(name: bytes, **folder: int) -> None:
        if name == first.files[0][0]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(name, **folder)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", unlink)
        assert passage.leave(first, 5.0) == Passed(1, [], f"[Errno {errno.EIO}] {os.strerror(errno.EIO)}")
    assert (hold.count, hold.buckets()) == (2, [first.folder])
    assert passage.leave(second, 5.0) == Passed(0, [])
    _, third = passage.enter([delivered(directory, b"d")])
    assert third.folder != first.folder
    assert passage.leave(third, 5.0) == Passed(1, [])
    assert hold.expire(5.0) == []
    assert (hold.count, held(directory)) == (0, [])


def test_what_a_crash_leaves_is_held_at_the_next_start(directory: ReplayDirectory, passage: Passage) -> None:
    """One file as it was recorded, and one that was written to meanwhile."""
    receipts = [delivered(directory, b"a"), delivered(directory, b"b", b"another")]
    with open(os.path.join(directory.replay_dir, b"b"), "ab", buffering=0) as writer:
        passage.enter(receipts)
        writer.write(b", and more")

    hold = Hold(directory, 0.0)
    hold.load(7.0)
    assert hold.count == 2
    assert len(hold.expire(7.0)) == 1
    assert list(waiting(directory).values()) == [b"another, and more"]
    assert held(directory) == []


def test_an_operator_may_remove_the_folder(directory: ReplayDirectory, passage: Passage) -> None:
    """Before a batch, and in the middle of one."""
    for _ in range(2):
        _, passing = passage.enter([delivered(directory)])
        for name in os.listdir(own(directory, b"held")):
            for file in os.listdir(os.path.join(own(directory, b"held"), name)):
                os.unlink(os.path.join(own(directory, b"held"), name, file))
            os.rmdir(os.path.join(own(directory, b"held"), name))
        assert passage.leave(passing, 0.0) == Passed(0, [])


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    """A replay directory of which nothing is held."""
    (tmp_path / "replay").mkdir()
    replay = os.fsencode(tmp_path / "replay")
    made = Spool(SpoolSettings(replay, quiet=0.0, rescan=60.0, hold=0.0, archive=False, newest_first=False))
    made.open()
    yield made
    made.close()


async def test_there_is_time_for_a_program_that_opened_the_file_before(spool: Spool) -> None:
    """It writes once its file has left its place, and its file is there again, with what it wrote."""
    done = delivered(spool.directory)
    writer = os.open(os.path.join(spool.directory.replay_dir, b"file"), os.O_WRONLY | os.O_APPEND)
    retiring = asyncio.create_task(spool.retire([done]))
    began = time.monotonic()
    while b"file" in os.listdir(spool.directory.replay_dir):
        await asyncio.sleep(0)
        assert time.monotonic() < began + 10
    os.write(writer, b", and more")
    os.close(writer)
    assert await retiring == []
    assert waiting(spool.directory) == {b"file": b"evidence, and more"}
    assert spool.depth == 1
