"""The digests of large files: by turns, so that no file waits until another one is read."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from syncdaemon.base.model import Content
from syncdaemon.spool.backlog import Candidate
from syncdaemon.spool.folders import OpenFolders
from syncdaemon.spool.large import Hasher, HashProgress
from syncdaemon.spool.read import Reader

MIB = 1 << 20
TIB = 1 << 40


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Files of its folder are complete at once."""
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10 * TIB)
    (tmp_path / "late").write_bytes(b"x" * 20 * MIB)
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield Reader(OpenFolders(root), 0.0)
    os.close(root)


async def begun(hasher: Hasher) -> HashProgress:
    """The progress of the first file, as soon as there is some."""
    for _ in iter(int, 1):
        if hasher.progress and hasher.progress[0].hashed:
            break
        await asyncio.sleep(0.01)
    return hasher.progress[0]


async def test_a_file_is_hashed_while_a_huge_one_is(reader: Reader) -> None:
    """The huge one would take hours. Its progress shows meanwhile; when it is cancelled, its file is closed."""
    hasher, now = Hasher(), time.time_ns()
    before = len(os.listdir("/proc/self/fd"))
    huge = asyncio.create_task(hasher.read(b"huge", partial(reader.begin, Candidate(b"huge"), now)))
    async with asyncio.timeout(20):
        first = await begun(hasher)

    async with asyncio.timeout(20):
        found = await hasher.read(b"late", partial(reader.begin, Candidate(b"late"), now))
    assert isinstance(found, Content)
    assert found.sha256 == sha256(b"x" * 20 * MIB).hexdigest()
    assert not huge.done()
    (second,) = hasher.progress
    assert first == HashProgress("huge", first.hashed, 10 * TIB)
    assert second.hashed > first.hashed

    huge.cancel()
    with pytest.raises(asyncio.CancelledError):
        await huge
    assert hasher.progress == []
    await asyncio.to_thread(hasher.close)
    assert len(os.listdir("/proc/self/fd")) <= before
