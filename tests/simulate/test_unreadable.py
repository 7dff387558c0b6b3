"""A server whose answers can't be read: files stay until it answers as it should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syncdaemon.base.model import Later, Receipt
from syncdaemon.publish import Lane, Publisher
from syncdaemon.settings import parts
from tests.simulate.fake_jetstream import FakeJetStream, FakeLink
from tests.simulate.test_contract import Heard, Noted, content, settings

JUNK: list[Any] = [
    None,
    [],
    {"message": None},
    {"message": {"seq": "1"}},
    {"message": {"seq": 77, "subject": "another"}},
    {"message": {"seq": 1, "subject": "edge.replay.here.x", "data": "?"}},
    {"error": "no"},
]


class Scrambled(FakeJetStream):
    """Answers one call of the API with something that is no answer to it."""

    def __init__(self) -> None:
        super().__init__()
        self.call = ""
        self.junk: Any = None

    def _api(self, call: str, data: bytes) -> dict[str, Any]:
        found: dict[str, Any] = self.junk if self.call and call.startswith(self.call) else super()._api(call, data)
        return found


class Site:
    """A publisher, and the server that it talks to."""

    def __init__(self) -> None:
        self.server = Scrambled()
        self.link = FakeLink(self.server)
        self.publisher = self.newborn()

    def newborn(self) -> Publisher:
        """A publisher of a new process."""
        wanted = settings()
        lane = Lane(self.link, parts.message(wanted), parts.stream(wanted), Noted())
        return Publisher(lane, parts.message(wanted), Heard())


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Connected, until the test is over."""
    found = Site()
    running = asyncio.create_task(found.link.run())
    yield found
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("junk", JUNK, ids=str)
async def test_a_message_that_cannot_be_read_back_costs_no_file(site: Site, junk: Any) -> None:
    """The server says that it has it already. While nothing proves that, the file waits, and no other does."""
    batch = [content("a", b"one")]
    await site.publisher.publish(batch, await site.publisher.ready())

    again = site.newborn()
    session = await again.ready()
    site.server.call, site.server.junk = "STREAM.MSG.GET", junk
    (outcome,) = await again.publish(batch, session)
    assert isinstance(outcome, Later)
    assert not again.lane.paused

    site.server.call = ""
    (receipt,) = await again.publish(batch, session)
    assert isinstance(receipt, Receipt)
    assert receipt.seq == 1


async def test_a_stream_that_went_while_it_was_looked_at_is_made_again(site: Site) -> None:
    """Else the files would wait for the next connection, and no one would say why."""
    lane = site.publisher.lane
    await site.publisher.publish([content("a", b"one")], await site.publisher.ready())
    lane.trust.believe(await lane.trust.suspected())
    assert lane.trusted

    site.server.streams.clear()
    lane.unreadable("stream jobs: stream not found (10059)")
    assert lane.paused == "stream_unreadable: stream jobs: stream not found (10059)"
    assert not lane.trusted
    await site.publisher.ready()

    assert site.server.streams
    assert lane.paused == ""
    assert await lane.trust.suspected() == 2  # what the old one held has to be looked for in the new one


@pytest.mark.parametrize("call", ["STREAM.INFO", "STREAM.CREATE"])
@pytest.mark.parametrize("junk", [None, [], {}, {"config": {"name": "jobs"}}, {"error": []}], ids=str)
async def test_a_stream_that_cannot_be_looked_at_pauses_the_lane(site: Site, call: str, junk: Any) -> None:
    """And the process lives on, and delivers when it can."""
    site.server.call, site.server.junk = call, junk
    opening = asyncio.create_task(site.publisher.ready())
    await asyncio.wait([opening], timeout=0.2)
    assert not opening.done()
    assert site.publisher.lane.paused.startswith("stream_unavailable")

    site.server.call = ""
    (receipt,) = await site.publisher.publish([content("a", b"one")], await opening)
    assert isinstance(receipt, Receipt)
