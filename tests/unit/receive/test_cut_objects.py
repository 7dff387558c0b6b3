"""An object that ends every connection is given up, and no other object is for it."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from syncdaemon.base.errors import LinkDown, Unsendable
from syncdaemon.link import Link
from syncdaemon.receive import objects
from syncdaemon.receive.blame import Cut, Harmful
from syncdaemon.receive.objects import Fetcher
from syncdaemon.stream.api import Api
from syncdaemon.stream.chunks import Chunks
from syncdaemon.stream.object_format import ObjectPlace

EMPTY = Chunks("OBJ_b", "$O.b.C.x", 0, 0)
BAD, GOOD = ObjectPlace("b", "bad"), ObjectPlace("b", "good")


class Connection:
    """A session that is up until it is cut."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.sent_away = False
        self.js_domain = ""

    def cut(self, in_words: bool) -> None:
        """Its end."""
        if not self.lost.done():
            self.sent_away = in_words
            self.lost.set_result("no more of you")


class Line:
    """In the place of a link: there is always a connection. `count`: how many there were."""

    def __init__(self) -> None:
        self.session = Connection()
        self.count = 1

    async def wait_up(self) -> Connection:
        """The one that is up."""
        if self.session.lost.done():
            self.session = Connection()
            self.count += 1
        return self.session


class Nothing:
    """What these objects are fetched for: nothing comes of any."""

    async def begin(self, chunks: Chunks) -> None:
        """Its chunks are there."""

    async def write(self, pieces: list[bytes]) -> None:
        """Gets the next ones."""


NOTHING = Nothing()


@pytest.mark.parametrize(
    ("ends", "error"), [([True] * 5, Harmful), ([False] * 5, Cut), ([False, False, True, False, False], Harmful)]
)
async def test_five_ends_in_a_row_are_enough(
    monkeypatch: pytest.MonkeyPatch, ends: list[bool], error: type[Exception]
) -> None:
    """For good where the server said once that it wants no more of this; else it may have been the line."""
    line, left = Line(), list(ends)

    async def chunks(api: Api, place: ObjectPlace) -> Chunks:
        line.session.cut(left.pop(0))
        raise LinkDown("cut")

    monkeypatch.setattr(objects, "chunks", chunks)
    with pytest.raises(error, match="no more of you"):
        await Fetcher(cast(Link, line)).fetch(BAD, NOTHING)
    assert not left


async def test_what_can_not_be_asked_for_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is not touched."""

    async def chunks(api: Api, place: ObjectPlace) -> Chunks:
        raise Unsendable("a blank")

    line = Line()
    monkeypatch.setattr(objects, "chunks", chunks)
    with pytest.raises(Harmful, match="a blank"):
        await Fetcher(cast(Link, line)).fetch(BAD, NOTHING)
    assert line.count == 1


async def test_another_object_is_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for at the same time, and its connection ends with that of the bad one; yet it is fetched."""
    line, begun = Line(), 0

    async def chunks(api: Api, place: ObjectPlace) -> Chunks:
        nonlocal begun
        begun += 1
        session = cast(Connection, api.session)
        if place == BAD:
            await asyncio.sleep(0)
            session.cut(in_words=True)
        else:
            await asyncio.wait((session.lost,), timeout=0.01)
        if session.lost.done():
            raise LinkDown("cut")
        return EMPTY

    monkeypatch.setattr(objects, "chunks", chunks)
    fetched = Fetcher(cast(Link, line))
    bad, *good = await asyncio.gather(
        *(fetched.fetch(place, NOTHING) for place in (BAD, GOOD, GOOD, GOOD)), return_exceptions=True
    )
    assert isinstance(bad, Harmful)
    assert good == [None, None, None]
    assert line.count <= 6
    await asyncio.wait_for(fetched.fetch(GOOD, NOTHING), 1.0)  # and there is no suspect any more
