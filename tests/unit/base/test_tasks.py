"""Work that is given up has really ended."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from syncdaemon.base.tasks import to_the_end, unless


class Work:
    """Lasts until `done` is set, and then returns 7; what becomes of it is noted.

    `stubborn`: so many cancellations are swallowed first, as nats-py does.
    """

    def __init__(self, stubborn: int = 0) -> None:
        self.done = asyncio.Event()
        self.began = asyncio.Event()
        self.ended = False
        self._stubborn = stubborn

    async def run(self) -> int:
        self.began.set()
        try:
            while True:
                try:
                    await self.done.wait()
                    return 7
                except asyncio.CancelledError:
                    if not self._stubborn:
                        raise
                    self._stubborn -= 1
        finally:
            self.ended = True

    async def run_only(self) -> None:
        await self.run()


async def fails() -> None:
    raise ValueError("broken")


async def test_unless_gives_what_the_work_comes_to() -> None:
    """Also where the stop comes at the same moment."""
    stop, work = asyncio.Event(), Work()
    work.done.set()
    assert await unless(stop, work.run()) == 7
    stop.set()
    assert await unless(stop, work.run()) == 7


async def test_unless_gives_nothing_where_the_stop_comes_first() -> None:
    """The work has ended by then."""
    stop, work = asyncio.Event(), Work()
    waiting = asyncio.create_task(unless(stop, work.run()))
    await work.began.wait()
    assert not waiting.done()
    stop.set()
    assert await waiting is None
    assert work.ended


async def test_an_error_of_the_work_comes_out_of_unless() -> None:
    with pytest.raises(ValueError, match="broken"):
        await unless(asyncio.Event(), fails())


async def test_unless_that_is_cancelled_takes_the_work_with_it() -> None:
    stop, work = asyncio.Event(), Work()
    waiting = asyncio.create_task(unless(stop, work.run()))
    await work.began.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.ended
    assert len(asyncio.all_tasks()) == 1  # this one: nothing still waits for the stop


async def test_to_the_end_is_what_the_work_is() -> None:
    """It returns when the work does, and raises what the work raises."""
    work = Work()
    work.done.set()
    await to_the_end(work.run_only())
    assert work.ended
    with pytest.raises(ValueError, match="broken"):
        await to_the_end(fails())


@pytest.mark.parametrize("stubborn", [0, 1, 2])
async def test_a_cancellation_comes_out_when_the_work_has_ended(stubborn: int) -> None:
    """Work that swallows a cancellation is cancelled again."""
    work = Work(stubborn)
    waiting = asyncio.create_task(to_the_end(work.run_only()))
    await work.began.wait()
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 5.0)
    assert waiting.cancelled()
    assert work.ended
