"""Chunks by direct gets: in order and without a gap, whatever comes of a request."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base.errors import LanePaused
from syncdaemon.link import Heard, Session
from syncdaemon.stream.api import Api
from syncdaemon.stream.chunks import Batch, ChunkReader, Chunks, Unreadable, bodies, chunks
from syncdaemon.stream.object_format import ObjectPlace

PLACE = ObjectPlace("b", "name")
META = "$O.b.M.bmFtZQ=="
NUID = "N" * 22
CHUNKS = Chunks("OBJ_b", f"$O.b.C.{NUID}", 9, 90)
SILENCE = Heard(b"", b"", b"", None)  # nothing comes for a while


def block(status: str = "", /, **fields: object) -> bytes:
    """A header block, with `_` for `-` in the names."""
    lines = [f"NATS/1.0 {status}".strip(), *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def piece(seq: int, before: int, left: int, data: bytes = b"data", **more: object) -> Heard:
    """As nats-server 2.15.1 sends it."""
    fields: dict[str, object] = {"Nats_Stream": "OBJ_b", "Nats_Subject": CHUNKS.subject, "Nats_Sequence": seq}
    fields |= {"Nats_Num_Pending": left, "Nats_Last_Sequence": before} | more
    return Heard(b"inbox.1", b"", data, block("", **fields))


def end(left: int) -> Heard:
    return Heard(b"inbox.1", b"", b"", block("204 EOB", Nats_Num_Pending=left, Nats_Last_Sequence=1))


NO_MORE = Heard(b"inbox.1", b"", b"", block("404 Message Not Found"))
UNANSWERED = Heard(b"inbox.1", b"", b"", block("503"))


class Line:
    """In the place of a session and of its conversation. `arriving`: what is on its way at each silence."""

    def __init__(self, *heard: Heard, arriving: Sequence[int] = ()) -> None:
        self._heard, self._arriving = list(heard), list(arriving)
        self.asked: list[dict[str, Any]] = []

    @property
    def arriving(self) -> int:
        """Bytes of a message that has begun."""
        return self._arriving.pop(0) if self._arriving else 0

    async def request(self, subject: str, payload: bytes = b"") -> tuple[bytes, bytes | None]:
        """The next answer."""
        assert subject == "$JS.API.DIRECT.GET.OBJ_b"
        self.asked.append(json.loads(payload))
        heard = self._heard.pop(0)
        return heard.data, heard.headers

    @asynccontextmanager
    async def converse(self, subject: str) -> AsyncIterator[Line]:
        """With the bucket."""
        assert subject == "$JS.API.DIRECT.GET.OBJ_b"
        yield self

    async def ask(self, payload: bytes) -> None:
        """It is answered by what is there."""
        self.asked.append(json.loads(payload))

    async def next(self, within: float) -> Heard:
        """The next answer, as long as there is one."""
        heard = self._heard.pop(0) if self._heard else SILENCE
        if heard is SILENCE:
            raise TimeoutError
        return heard

    @property
    def api(self) -> Api:
        """The door to it."""
        return Api(cast(Session, self))

    async def batch(self, seq: int = 1) -> Batch:
        """What comes of a request for the chunks from `seq` on."""
        reader = ChunkReader(cast(Session, self), cast(Any, self), CHUNKS)
        await reader.ask(seq, 5, 1000)
        return await reader.batch()


def seqs(batch: Batch) -> list[int]:
    return [piece.message.seq for piece in batch.pieces]


async def test_a_batch_to_its_end() -> None:
    line = Line(piece(4, 0, 3), piece(7, 4, 2), end(2))
    batch = await line.batch()
    assert (seqs(batch), batch.left) == ([4, 7], 2)
    assert line.asked == [{"seq": 1, "next_by_subj": CHUNKS.subject, "batch": 5, "max_bytes": 1000}]


async def test_no_chunk_at_all() -> None:
    assert await Line(NO_MORE).batch() == ([], 0.0, 0)


@pytest.mark.parametrize(
    "cut",
    [
        (),
        (piece(8, 7, 0), end(0)),  # that of 7 is lost on the way
        (piece(4, 4, 0), end(0)),  # once more
        (piece(3, 4, 0), end(0)),
        (piece(5, 0, 0), end(0)),
    ],
    ids=["silence", "gap", "again", "back", "another answer"],
)
async def test_an_answer_that_is_cut_in_the_middle_ends_before_the_gap(cut: tuple[Heard, ...]) -> None:
    """What is behind it is asked for again."""
    batch = await Line(piece(4, 0, 3), *cut).batch()
    assert (seqs(batch), batch.left) == ([4], None)


async def test_a_first_chunk_from_before_what_was_asked_for_is_none() -> None:
    assert await Line(piece(4, 0, 3), end(0)).batch(5) == ([], 0.0, None)


async def test_a_chunk_that_is_on_its_way_is_waited_for() -> None:
    """On a slow link it may take longer than an answer that never comes."""
    batch = await Line(piece(4, 0, 1), SILENCE, SILENCE, piece(5, 4, 0), end(0), arriving=[10, 5000]).batch()
    assert (seqs(batch), batch.left) == ([4, 5], 0)
    endless = Line(*[SILENCE] * 1_000, arriving=[1] * 1_000)
    assert (await endless.batch()).left is None


async def test_a_sender_can_not_write_what_a_chunk_is() -> None:
    """The server's headers come behind the sender's; and a status of a sender is none."""
    forged = b"NATS/1.0 204 EOB\r\nNats-Sequence: 99\r\nNats-Num-Pending: 0\r\n" + (piece(4, 0, 3).headers or b"")[10:]
    batch = await Line(piece(4, 0, 3)._replace(headers=forged), end(3)).batch()
    assert (seqs(batch), batch.left) == ([4], 3)


@pytest.mark.parametrize(
    "bad",
    [
        piece(4, 0, 3, Nats_Subject="$O.b.C.other"),
        piece(4, 0, 3, Nats_Stream="OBJ_c"),
        piece(4, 0, 3, Nats_Sequence="x"),
        piece(0, 0, 3),
        piece(4, 0, 3, Nats_Num_Pending=-1),
        piece(4, 0, 3)._replace(reply=b"$JS.ACK.x"),
        Heard(b"inbox.1", b"", b"", block("204 EOB")),
        Heard(b"inbox.1", b"", b"", block("408 Bad Request")),
        Heard(b"inbox.1", b"", b"", None),
    ],
)
async def test_what_is_no_answer_is_a_pause(bad: Heard) -> None:
    with pytest.raises(LanePaused):
        await Line(bad).batch()


@given(st.binary(max_size=60), st.binary(max_size=10))
async def test_whatever_comes_it_is_a_batch_or_a_pause(headers: bytes, data: bytes) -> None:
    with suppress(LanePaused):
        assert (await Line(Heard(b"inbox.1", b"", data, headers)).batch()).pieces == []


async def test_all_bodies_over_several_requests() -> None:
    """One of them is cut."""
    line = Line(
        piece(4, 0, 3, b"a"), piece(5, 4, 2, b"b"), SILENCE, piece(6, 0, 1, b"c"), end(1), piece(9, 0, 0, b"d"), end(0)
    )
    assert [data async for data in bodies(line.api, CHUNKS)] == [b"a", b"b", b"c", b"d"]
    assert [ask["seq"] for ask in line.asked] == [1, 6, 7]


async def test_bodies_that_do_not_go_on() -> None:
    """A pause, and no content that is too short."""
    with pytest.raises(LanePaused, match="does not go on"):
        [data async for data in bodies(Line(piece(4, 0, 3), SILENCE).api, CHUNKS)]


async def test_where_nothing_answers() -> None:
    with pytest.raises(Unreadable):
        await Line(UNANSWERED).batch()
    with pytest.raises(Unreadable, match="no right to read it"):
        await chunks(Line(UNANSWERED).api, PLACE)


def meta(**changes: object) -> Heard:
    fields = {"name": "name", "nuid": NUID, "size": 90, "chunks": 9} | changes
    headers = block(Nats_Stream="OBJ_b", Nats_Subject=META, Nats_Sequence=3)
    return Heard(b"", b"", json.dumps(fields).encode(), headers)


@pytest.mark.parametrize(
    ("answer", "found"),
    [(meta(), CHUNKS), (meta(nuid="a.>"), None), (meta(deleted=True), None), (NO_MORE, None)],
)
async def test_the_chunks_of_an_object(answer: Heard, found: Chunks | None) -> None:
    """With the one right that a worker has at a bucket."""
    line = Line(answer)
    assert await chunks(line.api, PLACE) == found
    assert line.asked == [{"last_by_subj": META}]
