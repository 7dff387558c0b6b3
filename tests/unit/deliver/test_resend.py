"""Looking for what the server may have lost, with a lane that only notes what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.base.model import Held
from syncdaemon.deliver import Delivery
from syncdaemon.deliver.resend import Resend
from syncdaemon.deliver.unretired import Unretired

HELD = Held(b"bucket", b"name", 7, "a" * 64, 1)


class Lane:
    """The lane, and its own trust."""

    def __init__(self) -> None:
        self.trust = self
        self.unreadables: list[str] = []
        self.believed = asyncio.Event()

    async def suspected(self) -> int:
        """There is a suspicion until it is over."""
        if self.believed.is_set():
            await asyncio.Event().wait()
        return 1

    async def ready(self) -> str:
        await asyncio.sleep(0)
        return "session"

    def believe(self, suspicion: int) -> None:
        self.believed.set()

    def unreadable(self, problem: str) -> None:
        self.unreadables.append(problem)


class Site:
    """One held file, batches that are all finished, and a stream that answers with these troubles first."""

    def __init__(self, *troubles: Exception) -> None:
        self.unretired = Unretired()
        self.troubles = list(troubles)

    async def finish_batches(self) -> None: ...

    async def lost(self, session: object, held: Sequence[Held]) -> list[Held]:
        if self.troubles:
            raise self.troubles.pop(0)
        return []

    async def held(self) -> AsyncIterator[list[Held]]:
        yield [HELD]

    def hold_anew(self) -> None: ...


async def looked(site: Any, lane: Any) -> None:
    """Until the suspicion is over."""
    resend = Resend(cast(Delivery, site), lane, site, site, site, on_lost=lambda count: None)
    running = asyncio.create_task(resend.run())
    async with asyncio.timeout(5):
        await lane.believed.wait()
    running.cancel()


async def test_a_stream_that_cannot_be_looked_at_is_said_and_prepared_again() -> None:
    """A stream that is gone is made again only by the lane. Without a word to it the files would wait in silence."""
    lane = Lane()
    await looked(Site(LanePaused("stream jobs: stream not found (10059)")), lane)
    assert lane.unreadables == ["stream jobs: stream not found (10059)"]


@pytest.mark.parametrize("trouble", [LinkDown("cut"), OSError("away")], ids=repr)
async def test_other_trouble_is_not_the_streams(monkeypatch: pytest.MonkeyPatch, trouble: Exception) -> None:
    """It is tried again over the next connection, or when the directory is back."""
    monkeypatch.setattr("syncdaemon.deliver.resend._RETRY", 0.0)
    lane = Lane()
    await looked(Site(trouble), lane)
    assert lane.unreadables == []
