"""The door to JetStream's API, with whatever a server answers: a value, or `not now`, and never another error."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.link import Session
from syncdaemon.stream.answers import AccountAnswer, ApiRefusal, ConsumerAnswer
from syncdaemon.stream.api import Api
from syncdaemon.stream.calls import JETSTREAM, Calls
from syncdaemon.stream.info import StreamAnswer, read_info
from syncdaemon.stream.stored import StoredMessage

SUBJECT, MOST = "jobs.a", 2**63 - 1


class Wire:
    """In the place of a session: gives one answer to everything, and keeps what was asked."""

    def __init__(self, data: bytes = b"", headers: bytes | None = None, error: Exception | None = None) -> None:
        self._data, self._headers, self._error = data, headers, error
        self.asked: list[tuple[str, bytes, bytes, bool]] = []

    async def request(
        self, subject: str, payload: bytes = b"", headers: bytes = b"", counted: bool = False
    ) -> tuple[bytes, bytes | None]:
        """The answer, or the error."""
        self.asked.append((subject, payload, headers, counted))
        if self._error:
            raise self._error
        return self._data, self._headers


Call = Callable[[Api], Awaitable[object]]

CALLS: dict[str, tuple[Call, type | tuple[type, ...]]] = {
    "account": (lambda api: api.account(), AccountAnswer),
    "stream": (lambda api: api.stream("jobs"), StreamAnswer),
    "subjects": (lambda api: api.stream("jobs", "jobs.>"), StreamAnswer),
    "create_stream": (lambda api: api.create_stream({"name": "jobs"}), StreamAnswer),
    "message": (lambda api: api.message("jobs", 7), (StoredMessage, type(None))),
    "last": (lambda api: api.last("jobs", SUBJECT), (StoredMessage, type(None))),
    "next": (lambda api: api.next("jobs", "jobs.*", 7), (StoredMessage, type(None))),
    "purge": (lambda api: api.purge("jobs", SUBJECT, 7), type(None)),
    "delete": (lambda api: api.delete("jobs", 7), type(None)),
    "consumer": (lambda api: api.consumer("jobs", "c"), ConsumerAnswer),
    "create_consumer": (lambda api: api.create_consumer("jobs", {"name": "c"}), ConsumerAnswer),
    "delete_consumer": (lambda api: api.delete_consumer("jobs", "c"), type(None)),
    "rehearse": (lambda api: api.rehearse(SUBJECT), type(None)),
}
EVERY_CALL = pytest.mark.parametrize("call", CALLS)

STREAM: dict[str, Any] = {
    "config": {
        "name": "jobs",
        "subjects": ["jobs.>"],
        "retention": "limits",
        "max_age": 3_600_000_000_000,
        "duplicate_window": 120_000_000_000,
        "max_msgs": -1,
        "sealed": False,
        "allow_atomic": True,
    },
    "state": {"messages": 2, "bytes": 99, "first_seq": 6, "last_seq": 7, "subjects": {SUBJECT: 2}},
    "cluster": {"leader": "n1", "replicas": [{"name": "n2", "current": True}, {"name": "n3", "current": False}]},
    "created": "2026-01-01T00:00:00.123456789Z",
    "ts": "2026-01-02T00:00:00.123456789Z",
}
MESSAGE: dict[str, Any] = {
    "seq": 7,
    "subject": SUBJECT,
    "hdrs": base64.b64encode(b"NATS/1.0\r\nNats-Msg-Id: 1\r\n\r\n").decode(),
    "data": base64.b64encode(b"data").decode(),
    "time": "2026-01-02T00:00:00.5Z",
}
FOUND: dict[str, Any] = {"message": MESSAGE}
DONE: dict[str, Any] = {"success": True}
CONSUMER: dict[str, Any] = {"name": "c", "config": {"ack_policy": "none", "max_deliver": -1}, "num_pending": 3}
ACCOUNT: dict[str, Any] = {"storage": 5, "limits": {"max_storage": -1}}
SOUND: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("stream", "subjects", "create_stream"), STREAM),
    **dict.fromkeys(("message", "last", "next"), FOUND),
    **dict.fromkeys(("purge", "delete", "delete_consumer"), DONE),
    **dict.fromkeys(("consumer", "create_consumer"), CONSUMER),
    "account": ACCOUNT,
    "rehearse": {"error": {"code": 400, "err_code": 10060, "description": "expected stream does not match"}},
}

junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["", "jobs", SUBJECT, "c", "?", "2026", "\ud800", 2**63, -1, 0, True, 1e400, 10**20, [], {}]),
)
nested = st.recursive(
    junk,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)


def api(data: bytes = b"", headers: bytes | None = None, error: Exception | None = None) -> tuple[Api, Wire]:
    """A door to a server that answers so."""
    wire = Wire(data, headers, error)
    return Api(cast(Session, wire)), wire


async def outcome(call: str, data: bytes, headers: bytes | None = None) -> object:
    """What the call comes to: its value, a refusal, or the words that say `not now`."""
    ask, kinds = CALLS[call]
    try:
        found = await ask(api(data, headers)[0])
    except LanePaused as error:
        str(error).encode()  # a log can hold it
        return str(error)
    if isinstance(found, ApiRefusal):
        found.words.encode()
    else:
        assert isinstance(found, kinds)
    return found


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every field of a document, the document itself included."""
    found = [path]
    if isinstance(value, dict):
        found += [place for name, inner in value.items() for place in places(inner, (*path, name))]
    if isinstance(value, list):
        found += [place for at, inner in enumerate(value) for place in places(inner, (*path, at))]
    return found


def with_field(value: Any, path: tuple[Any, ...], instead: Any) -> Any:
    """A copy of the document with something else in this place."""
    if not path:
        return instead
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_field(value[path[0]], path[1:], instead)
    return copy


@EVERY_CALL
@given(st.binary(max_size=60), st.one_of(st.none(), st.binary(max_size=30)))
@example(b"", None)
@example(b"[" * 100_000, None)
@example(b'{"error":' * 50_000, None)
@example(b"9" * 5_000, None)
@example(b'{"message":{"seq":' + b"9" * 5_000 + b"}}", None)
@example(b"\xff\xfe{\x00}\x00", None)
@example(b"\xef\xbb\xbf{}", None)
@example(b'{"error":{"code":1,"description":"\\ud800"}}', None)
@example(b'{"error":{"code":1,"description":"\xed\xa0\x80"}}', None)
async def test_any_bytes(call: str, data: bytes, headers: bytes | None) -> None:
    """No JSON, or none in UTF-8, or none that ends."""
    await outcome(call, data, headers)


@EVERY_CALL
@given(nested)
async def test_any_json(call: str, answer: object) -> None:
    """A list, a text, a number, null, an object of nothing that was asked for."""
    found = await outcome(call, json.dumps(answer).encode())
    assert isinstance(found, str | ApiRefusal)


@EVERY_CALL
@given(st.data())
async def test_a_sound_answer_with_one_field_that_is_not(call: str, data: st.DataObject) -> None:
    """In any place, of any kind: what comes of it has the right kinds still, and can be used."""
    sound = SOUND[call]
    place = data.draw(st.sampled_from(places(sound)))
    found = await outcome(call, json.dumps(with_field(sound, place, data.draw(nested))).encode())
    if isinstance(found, StreamAnswer):
        info = read_info(found)
        assert type(info.last_seq) is int
        assert 0 <= info.last_seq <= MOST
        assert all(type(count) is int and count >= 0 for count in found.state.get("subjects", {}).values())
        assert (datetime.now(UTC) - (found.at or datetime.now(UTC))).total_seconds() is not None
    if isinstance(found, StoredMessage):
        assert type(found.seq) is int
        assert 1 <= found.seq <= MOST
        (found.subject + str(found.headers)).encode()
    if isinstance(found, ConsumerAnswer):
        assert type(found.pending) is int
        assert found.pending >= 0


@EVERY_CALL
async def test_a_sound_answer_is_a_value(call: str) -> None:
    ask, kinds = CALLS[call]
    found = await ask(api(json.dumps(SOUND[call]).encode())[0])
    assert isinstance(found, kinds)


@EVERY_CALL
@given(st.integers(0, 999), st.integers(0, 20_000), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
async def test_a_refusal_is_a_value_in_the_servers_own_words(call: str, code: int, err_code: int, text: str) -> None:
    """Whatever the code: only a message that is not there is none, and the rehearsal wants to be refused."""
    error = {"code": code, "err_code": err_code, "description": text}
    found = await outcome(call, json.dumps({"error": error, "stream": "jobs", "seq": 0}).encode())
    if (call in ("message", "last", "next") and err_code == 10037) or (call == "rehearse" and err_code == 10060):
        assert found is None
    else:
        assert found == (code, err_code, text)


@EVERY_CALL
async def test_where_nobody_answers_there_is_no_jetstream(call: str) -> None:
    """Whatever stands in the body."""
    found = await outcome(call, b"{}", b"NATS/1.0 503\r\n\r\n")
    assert isinstance(found, ApiRefusal)
    assert found.unanswered
    assert found.no_jetstream
    assert re.fullmatch(
        r"no server answers [A-Za-z0-9_.$]+: it has no JetStream now, or we have no right to this call",
        found.words,
    )


@EVERY_CALL
@pytest.mark.parametrize("error", [LinkDown("cut"), PermissionError("denied")])
async def test_the_links_own_errors_are_handed_on(call: str, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        await CALLS[call][0](api(error=error)[0])


@EVERY_CALL
async def test_every_call_lies_below_the_prefix(call: str) -> None:
    """The rehearsal alone is a message to a stream, and no call of the API."""
    wire = Wire(b"{}")
    with pytest.raises(LanePaused, match="can't be read"):
        await CALLS[call][0](Api(cast(Session, wire), Calls("$JS.hub.API")))
    (subject, *_) = wire.asked[0]
    assert subject.startswith("$JS.hub.API.") or subject == SUBJECT
    assert JETSTREAM.prefix not in subject


REQUESTS: dict[str, tuple[str, object]] = {
    "account": ("$JS.API.INFO", None),
    "stream": ("$JS.API.STREAM.INFO.jobs", None),
    "subjects": ("$JS.API.STREAM.INFO.jobs", {"subjects_filter": "jobs.>"}),
    "create_stream": ("$JS.API.STREAM.CREATE.jobs", {"name": "jobs"}),
    "message": ("$JS.API.STREAM.MSG.GET.jobs", {"seq": 7}),
    "last": ("$JS.API.STREAM.MSG.GET.jobs", {"last_by_subj": SUBJECT}),
    "next": ("$JS.API.STREAM.MSG.GET.jobs", {"seq": 7, "next_by_subj": "jobs.*"}),
    "purge": ("$JS.API.STREAM.PURGE.jobs", {"filter": SUBJECT, "seq": 7}),
    "delete": ("$JS.API.STREAM.MSG.DELETE.jobs", {"seq": 7, "no_erase": True}),
    "consumer": ("$JS.API.CONSUMER.INFO.jobs.c", None),
    "create_consumer": (
        "$JS.API.CONSUMER.CREATE.jobs.c",
        {"stream_name": "jobs", "action": "create", "config": {"name": "c"}},
    ),
    "delete_consumer": ("$JS.API.CONSUMER.DELETE.jobs.c", None),
    "rehearse": (SUBJECT, None),
}


@EVERY_CALL
async def test_what_is_asked(call: str) -> None:
    """To the letter."""
    door, wire = api(json.dumps(SOUND[call]).encode())
    await CALLS[call][0](door)
    (subject, payload, headers, counted) = wire.asked[0]
    assert (subject, json.loads(payload) if payload else None) == REQUESTS[call]
    assert headers == (b"NATS/1.0\r\nNats-Expected-Stream: no.stream\r\n\r\n" if call == "rehearse" else b"")
    assert not counted


async def test_a_consumers_filter_can_be_seen_by_a_permission() -> None:
    door, wire = api(json.dumps(CONSUMER).encode())
    await door.create_consumer("jobs", {"name": "c"}, tail="jobs.*")
    assert wire.asked[0][0] == "$JS.API.CONSUMER.CREATE.jobs.c.jobs.*"


async def test_a_rehearsal_with_a_body_counts_as_in_flight() -> None:
    """It measures the link."""
    door, wire = api(json.dumps(SOUND["rehearse"]).encode())
    await door.rehearse(SUBJECT, b"body")
    assert wire.asked[0][1:] == (b"body", b"NATS/1.0\r\nNats-Expected-Stream: no.stream\r\n\r\n", True)


@pytest.mark.parametrize("answer", [{"stream": "jobs", "seq": 1}, {"stream": "jobs", "seq": 1, "duplicate": True}])
async def test_a_rehearsal_that_seems_to_be_stored_is_not_believed(answer: Mapping[str, Any]) -> None:
    """No stream can: somebody else answers on that subject."""
    assert "can't be read" in str(await outcome("rehearse", json.dumps(answer).encode()))


async def test_a_stream_is_told_with_its_replicas_and_the_servers_time() -> None:
    found = await outcome("stream", json.dumps(STREAM).encode())
    assert isinstance(found, StreamAnswer)
    assert (found.leader, found.lagging) == ("n1", ("n3",))
    assert found.at == datetime(2026, 1, 2, 0, 0, 0, 123_456, UTC)
    assert read_info(found).max_age == 3_600


@pytest.mark.parametrize("state", [{"last_ts": "2026-01-01T00:00:00Z"}, {}])
async def test_a_server_that_does_not_tell_its_time(state: dict[str, str]) -> None:
    """Before 2.10. That of its newest message is no substitute: it may be days old."""
    answer = {"config": {"name": "jobs"}, "state": {"first_seq": 0, "last_seq": 0, **state}}
    found = await outcome("stream", json.dumps(answer).encode())
    assert isinstance(found, StreamAnswer)
    assert found.at is None
    assert found.newest_at == (datetime(2026, 1, 1, tzinfo=UTC) if state else None)


@pytest.mark.parametrize(
    ("call", "change"),
    [
        ("stream", {"config": {"name": "orders"}}),
        ("stream", {"config": {}}),
        ("create_stream", {"config": {"name": "orders"}}),
        ("stream", {"state": {"last_seq": 7}}),
        ("stream", {"state": {"first_seq": 7}}),
        ("message", {"message": {**MESSAGE, "seq": 8}}),
        ("message", {"message": {**MESSAGE, "seq": True}}),
        ("message", {"message": {**MESSAGE, "seq": 7.0}}),
        ("last", {"message": {**MESSAGE, "subject": "jobs.b"}}),
        ("last", {"message": {**MESSAGE, "subject": None}}),
        ("next", {"message": {**MESSAGE, "seq": 6}}),
        ("next", {"message": {**MESSAGE, "subject": "orders.a"}}),
        ("next", {"message": {**MESSAGE, "seq": 2**63}}),
        ("message", {"message": {**MESSAGE, "data": "?"}}),
        ("message", {"message": {**MESSAGE, "hdrs": "YQ"}}),
        ("message", {"message": {**MESSAGE, "time": "2026-01-01T00:00:00"}}),
        ("consumer", {"name": "another"}),
        ("consumer", {"config": None}),
        ("consumer", {"config": {"ack_wait": -1}}),
        ("create_consumer", {"num_pending": None}),
        ("purge", {"success": False}),
        ("account", {"limits": None}),
    ],
    ids=str,
)
async def test_what_was_not_asked_for_is_not_taken(call: str, change: dict[str, Any]) -> None:
    """Another stream, another message, a sequence that is none; or half an answer."""
    found = await outcome(call, json.dumps({**SOUND[call], **change}).encode())
    assert isinstance(found, str)
    assert "can't be read" in found


async def test_a_message_is_decoded() -> None:
    found = await outcome("message", json.dumps({"message": MESSAGE}).encode())
    assert found == StoredMessage(
        7, SUBJECT, {"Nats-Msg-Id": "1"}, b"data", datetime(2026, 1, 2, 0, 0, 0, 500_000, UTC)
    )
    assert isinstance(found, StoredMessage)
    assert found.msg_id == "1"


@pytest.mark.parametrize("missing", ["hdrs", "data", "time"])
async def test_a_message_may_be_without_some_of_its_parts(missing: str) -> None:
    part = {name: value for name, value in MESSAGE.items() if name != missing}
    assert isinstance(await outcome("message", json.dumps({"message": part}).encode()), StoredMessage)
