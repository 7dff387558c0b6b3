"""The replay directory as a whole: what its parts do together."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.base.model import Content, Fit, Receipt, Refusal
from syncdaemon.spool import large, threads
from syncdaemon.spool.hold import Hold
from syncdaemon.spool.quarantine import Quarantine
from syncdaemon.spool.read import Hashing, Reading
from syncdaemon.spool.retired import Retired
from syncdaemon.spool.spool import Spool, SpoolSettings
from tests.simulate.clock import Clock, JumpingLoop, LoopExecutor

FIT = Fit(1 << 20, 1 << 20, 1 << 20)
HOUR = 3600.0


class Site:
    """A replay directory in which time jumps, and nothing else happens: no event comes, and no scan."""

    def __init__(self, replay: Path) -> None:
        self.replay = replay
        self.clock = Clock()
        self.loop = JumpingLoop(self.clock)
        self.loop.time = self.clock.monotonic  # type: ignore[method-assign]
        settings = SpoolSettings(os.fsencode(replay), 0.0, HOUR, HOUR, archive=False, newest_first=False)
        self.spool = Spool(settings, self.clock.monotonic)
        self.spool.open()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Its threads' work is done by the loop."""

    def executor(_: int, name: str) -> LoopExecutor:
        return LoopExecutor(name, lambda _, work: work())

    for module in (threads, large):
        monkeypatch.setattr(module, "ThreadPoolExecutor", executor)
    (tmp_path / "replay").mkdir()
    site = Site(tmp_path / "replay")
    yield site
    site.spool.close()
    site.loop.close()


async def refused(spool: Spool) -> Refusal:
    """The one file that is there, refused by the server."""
    await spool.scan()
    await spool.some()
    (content,) = await spool.read(FIT)
    assert not isinstance(content, Refusal)
    return Refusal(content, "server_refused", "no")


def test_a_refused_file_that_stays_is_tried_again_after_a_minute(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for files by then is woken, though nothing happens in the directory."""
    (site.replay / "a").write_bytes(b"evidence")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Quarantine, "set_aside", full)

    async def scene() -> None:
        refusal, began = await refused(site.spool), site.clock.now
        waiter = asyncio.create_task(site.spool.some())
        await asyncio.sleep(0)
        await site.spool.set_aside(refusal, "first", "last")
        await waiter
        assert site.clock.now - began == pytest.approx(60.0)
        assert [item.path for item in await site.spool.read(FIT) if not isinstance(item, Refusal)] == [b"a"]

    site.loop.run_until_complete(scene())


def test_a_file_at_the_name_of_a_refused_one_is_read_at_once(site: Site) -> None:
    """It came while the first one was in flight, and so its event woke the waiter too early."""
    (site.replay / "a").write_bytes(b"evidence")

    async def scene() -> None:
        refusal, began = await refused(site.spool), site.clock.now
        (site.replay / ".b").write_bytes(b"another")
        (site.replay / ".b").rename(site.replay / "a")
        site.spool.queue.seen(b"a", 1, began, 1)
        waiter = asyncio.create_task(site.spool.some())
        await asyncio.sleep(0)
        await site.spool.set_aside(refusal, "first", "last")
        await waiter
        (content,) = await site.spool.read(FIT)
        assert not isinstance(content, Refusal)
        assert (content.data, site.clock.now) == (b"another", began)

    site.loop.run_until_complete(scene())


def test_a_delivered_file_that_can_not_be_moved_is_read_again_less_and_less_often(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try reads it: else one that nobody may move, in a folder of its producer, costs a whole disk's time."""
    (site.replay / "a").write_bytes(b"evidence")

    def stays(_: Hold, receipts: list[Receipt], __: float) -> Retired:
        return Retired(0, [(receipt, "Permission denied") for receipt in receipts])

    monkeypatch.setattr(Hold, "retire", stays)

    async def scene() -> None:
        await site.spool.scan()
        waits = []
        for _ in range(7):
            began = site.clock.now
            await site.spool.some()
            waits.append(site.clock.now - began)
            (content,) = await site.spool.read(FIT)
            assert isinstance(content, Content)
            await site.spool.retire([Receipt(content, "id", "subject", "stream", 1, False)])
        assert waits == pytest.approx([0, 2, 4, 8, 16, 30, 30])

    site.loop.run_until_complete(scene())


def test_a_large_file_that_can_not_be_moved_is_not_read_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its digest is known as long as it is unchanged."""
    (site.replay / "a").write_bytes(bytes(1000))
    read: list[bytes] = []
    step = Hashing.step

    def counted(hashing: Hashing) -> Reading | None:
        read.append(hashing.name.encode())
        return step(hashing)

    monkeypatch.setattr(Hashing, "step", counted)
    monkeypatch.setattr(Hold, "retire", lambda _, receipts, __: Retired(0, [(one, "no") for one in receipts]))

    async def scene() -> None:
        await site.spool.scan()
        for _ in range(3):
            await site.spool.some()
            assert await site.spool.read(Fit(100, 100, 100)) == []
            content = await site.spool.read_large(0)
            assert isinstance(content, Content)
            await site.spool.retire([Receipt(content, "id", "subject", "stream", 1, False)])
        assert read == [b"a"]

    site.loop.run_until_complete(scene())
