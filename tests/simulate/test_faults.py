"""Each fault does what its name says, and the daemon delivers all the same."""

from __future__ import annotations

import asyncio
from copy import copy
from pathlib import Path

import pytest

from syncdaemon.base.errors import LinkDown
from syncdaemon.link.pace import Step
from tests.simulate.edge import MAX_PAYLOAD, Edge
from tests.simulate.fake_jetstream import FakeJetStream, FakeLink, Fault
from tests.simulate.fake_stream import FakeStream
from tests.simulate.faults import AckLost, ArrivesLate, CutAfter, LostBeforeStored, NoResponders, Slow, StreamFull
from tests.support.api import ask_api

FILES = 7
OVER = 20.0  # seconds until a fault that does not end by itself is over


async def test_the_worked_example_of_the_server_in_memory() -> None:
    """As its docstring tells it."""
    server = FakeJetStream()
    link = FakeLink(server)
    running = asyncio.create_task(link.run())
    session = await link.wait_up()
    await ask_api(session, "$JS.API.STREAM.CREATE.jobs", {"name": "jobs", "subjects": ["jobs.*"]})
    assert await session.request("jobs.1", b"hello") == (b'{"stream":"jobs","seq":1}', None)
    assert server.streams["jobs"].history[0].data == b"hello"

    server.fault = AckLost()
    with pytest.raises(LinkDown):
        await session.request("jobs.2", b"hello")
    assert len(server.streams["jobs"].history) == 2
    session = await link.wait_up()
    assert await session.request("jobs.3", b"hello") == (b'{"stream":"jobs","seq":3}', None)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("fault", "connections", "by_then"),
    [
        pytest.param(Fault(), 1, FILES, id="none"),
        pytest.param(CutAfter(3), 2, FILES, id="cut"),
        pytest.param(AckLost(2, after=1), 2, FILES, id="answers lost"),
        pytest.param(LostBeforeStored(2), 2, FILES, id="lost on the way there"),
        pytest.param(ArrivesLate(2), 2, FILES, id="late"),
        pytest.param(Slow(3.0), 1, FILES, id="slow"),
        pytest.param(StreamFull(), 1, 0, id="stream full"),
        pytest.param(NoResponders(), 1, 0, id="no responders"),
    ],
)
@pytest.mark.parametrize("batches", [False, True], ids=["singles", "batches"])
def test_a_fault_costs_time_and_no_file(
    tmp_path: Path, fault: Fault, connections: int, by_then: int, batches: bool
) -> None:
    """It takes so many connections; a fault that does not end by itself lets nothing through until it is over."""
    fault = copy(fault)
    with Edge(tmp_path, batches) as edge:
        stored: list[int] = []

        def it_is_over() -> None:
            stored.append(len(edge.history()))
            edge.hub.fault = Fault()

        edge.hub.fault = fault
        for number in range(FILES):
            edge.drop(f"{number}", b"%d" % number)
        edge.loop.call_later(OVER, it_is_over)
        edge.drain()

        edge.check()
        assert (stored or [FILES]) == [by_then]
        assert sum(row["up"] for row in edge.rows("link")) == connections


def test_what_only_a_slow_link_makes_an_object_is_a_message_where_the_bucket_takes_no_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not refused: a message can hold it. What no message can hold is."""
    monkeypatch.setattr(Step, "largest", 1_000)
    with Edge(tmp_path) as edge:
        config = {"name": "OBJ_edge_replay_edge-1", "subjects": ["$O.edge_replay_edge-1.>"], "max_msg_size": 1_000}
        edge.hub.streams["OBJ_edge_replay_edge-1"] = FakeStream({**config, "allow_rollup_hdrs": True}, edge.clock.now)
        edge.drop("small", b"s" * 10)
        edge.drop("middling", b"m" * 1_200)
        edge.drop("large", b"l" * (MAX_PAYLOAD + 1))
        edge.drain()

        assert sorted(edge.contents()) == [b"m" * 1_200, b"s" * 10]
        assert [(row["path"], row["reason"]) for row in edge.rows("refused")] == [("large", "too_large")]
        assert edge.waiting() == []
