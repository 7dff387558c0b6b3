"""Putting a file into a replay directory that others use, without a word from them."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.client import AsyncOutbox, NotPut
from tests.support.daemon import eventually


@pytest.fixture
def replay(tmp_path: Path) -> Path:
    folder = tmp_path / "replay"
    folder.mkdir()
    return folder


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A source that gives nothing until somebody writes into it."""
    os.mkfifo(tmp_path / "slow")
    return tmp_path / "slow"


async def put(source: Path, replay: Path) -> Path:
    """Puts a file under its own name; where it is now."""
    await AsyncOutbox(replay).put(source, name=source.name)
    return replay / source.name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def begun(folder: Path) -> None:
    """There is a copy that is not finished."""
    await asyncio.to_thread(eventually, lambda: names(folder) != [], what="the copy has begun")


def replaced(folder: Path) -> Path:
    """Where the folder is now: an empty one is in its place."""
    moved = folder.rename(folder.with_name("moved"))
    folder.mkdir()
    return moved


async def test_a_copy_is_complete_and_alone(tmp_path: Path, replay: Path) -> None:
    """Of more than one piece; with the rights of any new file, whatever those of the original."""
    data = os.urandom((2 << 20) + 1)
    source = tmp_path / "a.bin"
    source.write_bytes(data)
    source.chmod(0o400)
    before = os.umask(0o027)
    try:
        assert await put(source, replay) == replay / "a.bin"
    finally:
        os.umask(before)
    assert (replay / "a.bin").read_bytes() == data
    assert (replay / "a.bin").stat().st_mode & 0o777 == 0o640
    assert names(replay) == ["a.bin"]


async def test_others_go_on_while_a_source_is_slow(slow: Path, replay: Path) -> None:
    """And nothing of the name is there until all of it is."""
    task = asyncio.create_task(put(slow, replay))
    writer = asyncio.create_task(asyncio.to_thread(os.open, slow, os.O_WRONLY))
    await begun(replay)
    fd = await writer
    os.write(fd, b"half")
    await asyncio.sleep(0.05)
    assert [name[0] for name in names(replay)] == ["."]
    os.write(fd, b" and half")
    os.close(fd)
    await task
    assert (replay / "slow").read_bytes() == b"half and half"


async def test_a_file_goes_where_it_began_to_go(slow: Path, replay: Path) -> None:
    """A producer moves the directory away and puts another in its place: neither half has half a file."""
    task = asyncio.create_task(put(slow, replay))
    fd = await asyncio.to_thread(os.open, slow, os.O_WRONLY)
    await begun(replay)
    moved = replaced(replay)
    os.write(fd, b"all of it")
    os.close(fd)
    await task
    assert names(replay) == []
    assert names(moved) == ["slow"]
    assert (moved / "slow").read_bytes() == b"all of it"


async def test_one_that_is_given_up_leaves_nothing(slow: Path, replay: Path) -> None:
    task = asyncio.create_task(put(slow, replay))
    fd = await asyncio.to_thread(os.open, slow, os.O_WRONLY)
    await begun(replay)
    task.cancel()
    for _ in range(10):
        await asyncio.sleep(0)  # the loop's turns until the cancellation is where the file is written
    os.close(fd)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(replay) == []


async def test_one_that_is_given_up_while_its_copy_is_made_leaves_nothing(
    tmp_path: Path, replay: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread can't be called back: put ends after it, and removes what it made. The folder stays open until then."""
    making, go_on, real = threading.Event(), threading.Event(), os.open

    def slow(*arguments: Any, **options: Any) -> int:
        if "dir_fd" in options:
            making.set()
            go_on.wait(10)
        return real(*arguments, **options)

    (tmp_path / "a.txt").write_text("one")
    monkeypatch.setattr(os, "open", slow)
    task = asyncio.create_task(put(tmp_path / "a.txt", replay))
    await asyncio.to_thread(making.wait, 10)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.05)
    assert names(replay) == []


async def test_a_directory_that_is_a_link_is_taken(tmp_path: Path, replay: Path) -> None:
    (tmp_path / "link").symlink_to(replay)
    (tmp_path / "a.txt").write_text("one")
    await put(tmp_path / "a.txt", tmp_path / "link")
    assert names(replay) == ["a.txt"]


async def test_a_missing_source_leaves_nothing(tmp_path: Path, replay: Path) -> None:
    with pytest.raises(NotPut, match=r"nowhere: not put into .*: No such file or directory"):
        await put(tmp_path / "nowhere", replay)
    assert names(replay) == []
