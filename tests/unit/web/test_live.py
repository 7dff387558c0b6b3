"""The streams of the live page: made for all at once, and for nobody at no cost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from syncdaemon.web import live
from syncdaemon.web.access import Barred
from syncdaemon.web.live import MOST, MOST_OF_ONE, Live, Watching


class Page:
    """Counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0

    async def look(self) -> dict[str, Any]:
        self.reads += 1
        return {"reads": self.reads, "name": "harbour-3"}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    monkeypatch.setattr(live, "_EVERY", 0.01)
    return Page()


def watch(watched: Live, peer: str = "10.0.0.1") -> Watching:
    watching = watched.listen(peer, lambda: True)
    assert isinstance(watching, Watching)
    return watching


async def event(watching: Watching) -> dict[str, Any]:
    async with asyncio.timeout(30):
        text = await anext(watching)
    found: dict[str, Any] = json.loads(text.removeprefix(b"data: "))
    return found


async def test_the_first_event_is_everything_and_the_next_what_changed(page: Page) -> None:
    watching = watch(Live(page.look))
    first, second = await event(watching), await event(watching)
    assert (first["whole"], first["name"]) == (True, "harbour-3")
    assert second["whole"] is False
    assert second.keys() == {"now", "whole", "reads"}
    watching.close()


async def test_while_nobody_looks_nothing_is_read(page: Page) -> None:
    watched = Live(page.look)
    await asyncio.sleep(0.05)
    assert page.reads == 0
    watching = watch(watched)
    await event(watching)
    watching.close()
    reads = page.reads
    await asyncio.sleep(0.1)
    assert page.reads == reads
    again = watch(watched)
    assert (await event(again))["reads"] > reads  # nothing old is told
    again.close()


async def test_who_was_too_slow_gets_everything_once_and_nothing_is_kept_for_them(page: Page) -> None:
    watched = Live(page.look)
    quick, slow = watch(watched), watch(watched)
    await event(slow)
    for _ in range(5):
        await event(quick)
    assert (await event(slow))["whole"] is True
    assert (await event(slow))["whole"] is False
    quick.close()
    slow.close()


async def test_all_are_told_by_one_reading(page: Page) -> None:
    watched = Live(page.look)
    all_of_them = [watch(watched, f"10.0.0.{number}") for number in range(MOST)]
    for _ in range(3):
        await asyncio.gather(*map(event, all_of_them))
    assert page.reads < 3 * MOST
    for watching in all_of_them:
        watching.close()


async def test_places_are_bounded_for_each_address_and_for_all(page: Page) -> None:
    watched = Live(page.look)
    taken = [watch(watched) for _ in range(MOST_OF_ONE)]
    assert isinstance(watched.listen("10.0.0.1", lambda: True), Barred)
    taken += [watch(watched, f"10.0.1.{number}") for number in range(MOST - MOST_OF_ONE)]
    assert isinstance(watched.listen("10.0.2.1", lambda: True), Barred)
    taken[0].close()
    taken[0].close()  # a place is given back once
    watch(watched)
    assert isinstance(watched.listen("10.0.2.1", lambda: True), Barred)


async def test_a_right_that_was_taken_away_ends_the_stream(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_ASK_AGAIN", 0.0)
    allowed = [True, False]
    watching = Live(page.look).listen("10.0.0.1", lambda: allowed.pop(0))
    assert isinstance(watching, Watching)
    await event(watching)
    with pytest.raises(StopAsyncIteration):
        await event(watching)
    watching.close()


async def test_the_end_of_the_program_ends_all_streams(page: Page) -> None:
    watched = Live(page.look)
    watching = watch(watched)
    await event(watching)
    waiting = asyncio.create_task(event(watching))
    await asyncio.sleep(0)
    watched.close()
    await asyncio.gather(waiting, return_exceptions=True)
    with pytest.raises(StopAsyncIteration):
        await event(watching)
    watching.close()


async def test_a_page_that_can_not_be_read_now_is_read_again(page: Page) -> None:
    fails = [True, True]

    async def look() -> dict[str, Any]:
        if fails:
            fails.pop()
            raise OSError("gone")
        return {"well": True}

    watching = watch(Live(look))
    assert (await event(watching))["well"] is True
    watching.close()
