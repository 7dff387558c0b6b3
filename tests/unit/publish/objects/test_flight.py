"""What a flight of chunks makes of its answers, in whatever order a cluster gives them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base.errors import LinkDown
from syncdaemon.link import Session, Sink
from syncdaemon.link.pace import Window
from syncdaemon.publish.objects import flight as module
from syncdaemon.publish.objects.flight import ChunkFlight
from syncdaemon.stream.object_format import BucketNames, Chunk
from syncdaemon.stream.verdict import Again

DIGEST = "0" * 64


class Wire:
    """In the place of a session: keeps what is sent, and is up until it is cut."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.up = True
        self.window = Window()

    async def room(self, bulk: bool) -> int:
        """Always, or the link is down."""
        assert bulk
        if not self.up:
            raise LinkDown("cut")
        return 1

    def expect(self, sink: Sink, key: int, size: int) -> bytes:
        """Who waits is known to the test."""
        return b"reply"

    async def send(self, frames: Sequence[bytes]) -> None:
        """Kept, or the link is down."""
        if not self.up:
            raise LinkDown("cut")
        self.sent.append(frames[0])


def chunk(number: int) -> Chunk:
    return Chunk("N" * 22, number, 0, "a" * 32)


def stored(seq: int, duplicate: bool = False) -> bytes:
    return json.dumps({"stream": "OBJ_edge_replay", "seq": seq, **({"duplicate": True} if duplicate else {})}).encode()


REFUSED = b'{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"OBJ_edge_replay"}'


async def flying(count: int, first: int = 5, after: int = 100) -> tuple[ChunkFlight, Wire, list[int]]:
    """A flight of so many chunks, its wire, and the bytes that it tells of as stored."""
    wire, told = Wire(), list[int]()
    flight = ChunkFlight(cast(Session, wire), BucketNames("edge_replay"), first, after, told.append)
    for number in range(first, first + count):
        flight.add(chunk(number), DIGEST, memoryview(b"data"))
        await flight.flush()
    return flight, wire, told


@given(st.permutations(range(5, 15)))
async def test_answers_in_any_order_are_put_in_order(order: list[int]) -> None:
    """All stored: nothing is in the way."""
    flight, _, told = await flying(10)
    for number in order:
        flight.answered(number, stored(100 + number), None, 0.1)

    await flight.landed()
    assert (flight.next, flight.seq, flight.trouble, flight.strays) == (15, 114, None, [])
    assert sum(told) == 40


FATES = st.lists(st.sampled_from(["stored", "refused", "repeated", "lost"]), min_size=1, max_size=12)


@given(FATES, st.randoms(use_true_random=False))
async def test_what_is_behind_a_gap_is_told_where_it_is_certain(fates: list[str], dice: Any) -> None:
    """Of a chunk that was refused it is certain that it is missing; of others only when all have their answers."""
    flight, _, _ = await flying(len(fates), first=0)
    for number in dice.sample(range(len(fates)), len(fates)):
        match fates[number]:
            case "stored":
                flight.answered(number, stored(101 + number), None, 0.1)
            case "refused":
                flight.answered(number, REFUSED, None, 0.1)
            case "repeated":
                flight.answered(number, stored(50 + number, duplicate=True), None, 0.1)
    if "lost" in fates:
        flight.lost("cut")
    await flight.landed()

    whole = next((number for number, fate in enumerate(fates) if fate != "stored"), len(fates))
    assert flight.next == whole
    certain = ["refused"] if "lost" in fates else ["refused", "repeated"]
    gap = next((number for number, fate in enumerate(fates) if fate in certain), len(fates))
    assert sorted(flight.strays) == [101 + n for n, fate in enumerate(fates) if fate == "stored" and n > gap]
    assert flight.over == (set(fates) != {"stored"})


async def test_the_first_chunk_carries_what_is_expected_and_so_does_one_after_a_pause() -> None:
    """The sequence of the chunk before it, wherever that is known."""
    flight, wire, _ = await flying(2)
    assert b"Nats-Expected-Last-Subject-Sequence: 100\r\n" in wire.sent[0]
    assert b"Expected-Last" not in wire.sent[1]
    for number in (5, 6):
        flight.answered(number, stored(200 + number), None, 0.1)
    flight.add(chunk(7), DIGEST, memoryview(b"data"))
    await flight.flush()
    assert b"Nats-Expected-Last-Subject-Sequence: 206\r\n" in wire.sent[2]


async def test_a_link_that_goes_while_a_chunk_waits_for_room_is_a_cut() -> None:
    """Nothing was sent, and nothing more is."""
    flight, wire, _ = await flying(0)
    wire.up = False
    assert not await flight.room(1000)
    assert (flight.cut, wire.sent) == ("cut", [])


async def test_no_more_than_a_window_is_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single chunk always may go."""
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    flight, _, _ = await flying(0)
    assert await flight.room(1000)
    flight.add(chunk(5), DIGEST, memoryview(b"12345"))
    await flight.flush()
    assert await flight.room(5)
    flight.add(chunk(6), DIGEST, memoryview(b"12345"))
    await flight.flush()
    waiting = asyncio.create_task(flight.room(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    flight.answered(5, stored(101), None, 0.1)
    assert await waiting


async def test_nothing_is_sent_after_trouble() -> None:
    """Who waits for room is told."""
    flight, wire, _ = await flying(1)
    flight.answered(5, REFUSED, None, 0.1)
    assert isinstance(flight.trouble, Again)
    assert not await flight.room(1)

    flight, wire, _ = await flying(1)
    wire.up = False
    flight.add(chunk(6), DIGEST, memoryview(b"data"))
    await flight.flush()
    assert flight.cut == "cut"
    assert not await flight.room(1)
    await flight.landed()


async def test_sequences_that_go_back_are_trouble() -> None:
    """As when the stream was made anew in between."""
    flight, _, _ = await flying(2)
    flight.answered(5, stored(101), None, 0.1)
    flight.answered(6, stored(3), None, 0.1)
    assert isinstance(flight.trouble, Again)
    assert flight.trouble.reason == "upload_out_of_order"
    assert flight.next == 6
