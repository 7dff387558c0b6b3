"""The replay directory as a whole: what its parts do together."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.base.model import Fit, Refusal
from syncdaemon.spool import threads
from syncdaemon.spool.quarantine import Quarantine
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

    monkeypatch.setattr(threads, "ThreadPoolExecutor", executor)
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
