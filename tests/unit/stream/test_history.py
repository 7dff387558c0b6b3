"""What is read back with a consumer: messages in order, whatever the server sends in their place."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base.errors import LanePaused
from syncdaemon.base.model import Held, StoredHeaders
from syncdaemon.link import Heard, Session
from syncdaemon.stream.api import Api
from syncdaemon.stream.fetch import Chunks, chunks, digest
from syncdaemon.stream.history import contents, one_by_one, since
from syncdaemon.stream.object_format import ObjectPlace
from syncdaemon.stream.presence import lost

NUID = "N" * 22


class Wire:
    """In the place of a session: requests get these answers, one after another, and a pull request these messages."""

    def __init__(self, *answers: dict[str, Any], heard: Sequence[Heard] = ()) -> None:
        self._answers = list(answers)
        self._heard = list(heard)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def request(self, subject: str, payload: bytes = b"") -> tuple[bytes, None]:
        """The next answer; the name of a consumer is the one that was asked for."""
        ask = json.loads(payload or b"{}")
        self.asked.append((subject, ask))
        answer = self._answers.pop(0)
        if "num_pending" in answer:
            answer = {"name": ask["config"]["name"], "config": ask["config"], **answer}
        return json.dumps(answer).encode(), None

    @asynccontextmanager
    async def converse(self, subject: str) -> AsyncIterator[Wire]:
        """With the consumer."""
        yield self

    async def ask(self, payload: bytes) -> None:
        """It is answered by what is there."""

    async def next(self, within: float) -> Heard:
        """The next message, as long as there is one."""
        if not self._heard:
            raise TimeoutError
        return self._heard.pop(0)

    @property
    def api(self) -> Api:
        """The door to it."""
        return Api(cast(Session, self))


def given_by_a_consumer(seq: int, reply: bytes | None = None, headers: bytes = b"NATS/1.0\r\nA: b\r\n\r\n") -> Heard:
    return Heard(b"jobs.a", reply if reply is not None else b"$JS.ACK.jobs.c.1.%d.1.99.0" % seq, b"", headers)


async def read(wire: Wire) -> list[int]:
    """The sequences of all messages from 5 on."""
    return [seen.seq async for seen in since(wire.api, "jobs", "jobs.>", 5)]


async def test_as_many_as_there_are() -> None:
    """And then it asks no more."""
    wire = Wire({"num_pending": 2}, heard=[given_by_a_consumer(5), given_by_a_consumer(9)])
    assert await read(wire) == [5, 9]


async def test_messages_that_were_taken_out_meanwhile_are_not_waited_for() -> None:
    status = Heard(b"inbox", b"", b"", b"NATS/1.0 404 No Messages\r\n\r\n")
    assert await read(Wire({"num_pending": 3}, heard=[given_by_a_consumer(5), status])) == [5]


@pytest.mark.parametrize("words", ["409 Consumer Deleted", "409 Leadership Change", "409 Server Shutdown", "503", ""])
async def test_a_reading_that_breaks_off_is_not_taken_for_the_end(words: str) -> None:
    """What was not told is there perhaps: taken for absent, it would be sent a second time."""
    status = Heard(b"inbox", b"", b"", f"NATS/1.0 {words}\r\n\r\n".encode())
    with pytest.raises(LanePaused, match="ended with"):
        await read(Wire({"num_pending": 3}, heard=[given_by_a_consumer(5), status]))


async def test_a_server_that_does_not_go_on() -> None:
    with pytest.raises(LanePaused, match="does not go on"):
        await read(Wire({"num_pending": 3}, heard=[given_by_a_consumer(5)]))


@pytest.mark.parametrize(
    "bad",
    [
        given_by_a_consumer(5),  # once more
        given_by_a_consumer(4),
        given_by_a_consumer(0, b"$JS.ACK.jobs.c.1.x.1.99.0"),
        given_by_a_consumer(0, b"$JS.ACK.jobs.c.1.-6.1.99.0"),
        given_by_a_consumer(0, b"$JS.ACK.jobs.c.1." + b"9" * 5_000 + b".1.99.0"),
        given_by_a_consumer(0, b"$JS.ACK.jobs"),
        given_by_a_consumer(0, b"\xff"),
        given_by_a_consumer(6, headers=b"NATS/1.0\r\nNats-Msg-Size: many\r\n\r\n"),
    ],
    ids=str,
)
async def test_a_message_that_cannot_be_placed(bad: Heard) -> None:
    """No sequence, or none after the one before."""
    with pytest.raises(LanePaused, match="can't be read"):
        await read(Wire({"num_pending": 3}, heard=[given_by_a_consumer(5), bad]))


async def test_a_size_that_a_message_claims_for_itself_stops_no_reading_of_contents() -> None:
    """Any program may publish such a header; with the body at hand, its length is the size."""
    claimed = given_by_a_consumer(5, headers=b"NATS/1.0\r\nNats-Msg-Size: many\r\n\r\n")._replace(data=b"data")
    wire = Wire({"num_pending": 1}, heard=[claimed])
    assert [(seen.size, data) async for seen, data in contents(wire.api, "jobs", "jobs.>", 5)] == [(4, b"data")]


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=40))
async def test_whatever_comes_it_is_a_message_or_not_now(reply: bytes, headers: bytes) -> None:
    with suppress(LanePaused):
        assert await read(Wire({"num_pending": 1}, heard=[given_by_a_consumer(0, reply, headers)])) != []


def message(seq: int, subject: str = "jobs.a", data: bytes = b"data", headers: bytes = b"") -> dict[str, Any]:
    """An answer that has it."""
    block, body = (base64.b64encode(part).decode() for part in (headers, data))
    return {"message": {"seq": seq, "subject": subject, "hdrs": block, "data": body}}


REFUSED = {"error": {"code": 503, "err_code": 10008, "description": "temporarily unavailable"}}
NO_MESSAGE = {"error": {"code": 404, "err_code": 10037, "description": "no message found"}}
NO_STREAM = {"error": {"code": 404, "err_code": 10059, "description": "stream not found"}}


async def test_one_by_one_to_the_end() -> None:
    wire = Wire(message(5), message(9), NO_MESSAGE)
    found = [seen async for seen in one_by_one(wire.api, "jobs", "jobs.>", 5)]
    assert found == [(StoredHeaders(seq, "jobs.a", {}, 4), b"data") for seq in (5, 9)]
    assert [ask["seq"] for _, ask in wire.asked] == [5, 6, 10]


@pytest.mark.parametrize("answer", [message(4), message(5, "orders.a"), REFUSED, NO_STREAM])
async def test_one_by_one_comes_to_an_end(answer: dict[str, Any]) -> None:
    """Even where the server gives the same message again and again."""
    with pytest.raises(LanePaused):
        [seen async for seen in one_by_one(Wire(message(5), answer).api, "jobs", "jobs.>", 5)]


PLACE = ObjectPlace("b", "name")
META = "$O.b.M.bmFtZQ=="


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (message(1, META, json.dumps({"name": "name", "nuid": NUID, "size": 5, "chunks": 3}).encode()), 3),
        (message(1, META, json.dumps({"name": "name", "nuid": "a.>", "size": 5, "chunks": 3}).encode()), None),
        (message(1, META, json.dumps({"name": "name", "nuid": NUID, "size": 5, "chunks": -3}).encode()), None),
        (message(1, META, json.dumps({"name": "name", "nuid": NUID, "size": 5, "chunks": "3"}).encode()), None),
        (message(1, META, json.dumps({"name": "name", "deleted": True}).encode()), None),
        (message(1, META, b"[]"), None),
        (NO_MESSAGE, None),
    ],
)
async def test_the_chunks_of_an_object(answer: dict[str, Any], found: int | None) -> None:
    """As its meta tells, if that is one."""
    wire = Wire(answer)
    assert await chunks(wire.api, PLACE) == (Chunks("OBJ_b", f"$O.b.C.{NUID}", found, 5) if found else None)
    assert wire.asked == [("$JS.API.STREAM.MSG.GET.OBJ_b", {"last_by_subj": META})]


class OfAnotherAccount(Wire):
    """The account has no such stream; direct gets of it go to another account, or to no one where there is no meta."""

    def __init__(self, meta: bytes | None) -> None:
        super().__init__(NO_STREAM)
        self._meta = meta

    async def request(self, subject: str, payload: bytes = b"") -> tuple[bytes, bytes | None]:  # type: ignore[override]
        """As the server answers."""
        if ".DIRECT.GET." not in subject:
            return await super().request(subject, payload)
        self.asked.append((subject, json.loads(payload)))
        if self._meta is None:
            return b"", b"NATS/1.0 503\r\n\r\n"
        return (
            self._meta,
            f"NATS/1.0\r\nNats-Stream: OBJ_b\r\nNats-Subject: {META}\r\nNats-Sequence: 1\r\n\r\n".encode(),
        )


@pytest.mark.parametrize("found", [3, None])
async def test_a_bucket_of_another_account_is_seen_by_direct_gets(found: int | None) -> None:
    """As at a hub, where the bucket of a site behind a leaf node lies in its landing account."""
    meta = json.dumps({"name": "name", "nuid": NUID, "size": 5, "chunks": found}).encode()
    wire = OfAnotherAccount(meta if found else None)
    assert await chunks(wire.api, PLACE) == (Chunks("OBJ_b", f"$O.b.C.{NUID}", 3, 5) if found else None)
    assert [subject for subject, _ in wire.asked] == [
        "$JS.API.STREAM.MSG.GET.OBJ_b",
        "$JS.API.DIRECT.GET.OBJ_b",
    ]


@pytest.mark.parametrize("place", ["", "/", "a b/x", "a.b/x", "a/", f"{'a' * 252}/x", "*/x"])
async def test_an_object_in_no_bucket_is_not_asked_for(place: str) -> None:
    """What stands in a header must not become part of a subject."""
    wire = Wire(NO_MESSAGE)
    if place:
        assert await digest(wire.api, {"Edge-Object": place}, b"") is None
    assert ObjectPlace.of(place) is None
    assert wire.asked == []


@pytest.mark.parametrize("size", ["", "-1", "x", "9" * 5_000, "²"])
async def test_a_packed_file_without_its_size(size: str) -> None:
    headers = {"Content-Encoding": "zstd", "Edge-Size": size}
    assert await digest(Wire().api, headers, b"") is None


@pytest.mark.parametrize("answer", [REFUSED, NO_STREAM, {}, {"config": []}])
async def test_what_the_stream_holds_is_not_known_while_it_cannot_be_looked_at(answer: dict[str, Any]) -> None:
    """Not now: what is held stays held. It must not count as sure, nor as lost."""

    async def gone(session: Session, names: object) -> set[str]:
        return set()

    with pytest.raises(LanePaused):
        await lost(Wire(answer).api, "jobs", "jobs.>", [Held(b"", b"", 5, "0" * 64)], gone)
