"""One contract, held by the server in memory and by a real nats-server: what is true of one is true of the other."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncdaemon.errors import LanePaused, LinkDown, SettingsError
from syncdaemon.link import Link, LinkSettings, Session, Sink
from syncdaemon.model import Content, Outcome, Receipt, Refusal, Stamp
from syncdaemon.publish import Publisher, PublishSettings
from syncdaemon.stream import StreamSettings, prepare
from syncdaemon.verdict import Again, Known, Refuse, Stop, Stored, Verdict, judge
from tests.simulate.fake_jetstream import Answer, FakeJetStream, FakeLink
from tests.support.server import MakeNatsServer

STREAM = StreamSettings("jobs", "edge.replay.*.*", create=True, per_digest=True, max_age=0, max_bytes=0, replicas=1)
PROBE = "edge.replay.here." + "0" * 64


class JetStream:
    """A server under contract, and a link to it. `tick` lets a little of its time pass."""

    def __init__(self, link: Link, tick: Callable[[], Awaitable[None]]) -> None:
        self.link = link
        self.tick = tick
        self.heard = Heard()

    async def session(self) -> Session:
        """The connection, as soon as there is one."""
        return await self.link.wait_up()

    async def api(self, call: str, ask: dict[str, Any] | None = None) -> dict[str, Any]:
        """A call of the JetStream API, and its answer."""
        answer = await (await self.session()).request_json(f"$JS.API.{call}", ask)
        assert answer is not None
        return answer

    async def stream(self, name: str = "jobs", **config: Any) -> dict[str, Any]:
        """Has a stream made; it captures `<name>.>` unless `subjects` says otherwise."""
        answer = await self.api(f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name}.>"], **config})
        assert "error" not in answer
        return answer

    async def ask(self, subject: str, data: bytes = b"", **fields: object) -> Answer:
        """Publishes a message with these header fields; the raw answer."""
        return await (await self.session()).request(subject, data, header_block(fields))

    async def publish(self, subject: str, data: bytes = b"", **fields: object) -> Verdict:
        """The same; what the daemon makes of the answer."""
        return judge(*await self.ask(subject, data, **fields))

    async def publisher(self, stream: StreamSettings = STREAM, site: str = "here") -> Publisher:
        """A publisher whose lane is open."""

        def subject_for(msg_id: str) -> str:
            return f"edge.replay.{site}.{msg_id}" if stream.per_digest else stream.wildcard

        publisher = Publisher(self.link, PublishSettings(site, subject_for, "content", stream), self.heard)
        await publisher.ready()
        return publisher

    async def lose_answers(self) -> None:
        """From here on this connection stores what it is given, and ends before the first answer is heard."""
        session = await self.session()
        expect = session.expect
        session.expect = lambda sink, key: expect(Deaf(session, sink), key)  # type: ignore[method-assign]


class Deaf:
    """In the place of a sink: hears nothing; when an answer comes, the connection has just broken."""

    def __init__(self, session: Session, sink: Sink) -> None:
        self._session = session
        self._sink = sink

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        """So the message is stored, and nobody here knows."""
        self._session.fail("cut before the answer")

    def lost(self, reason: str) -> None:
        """This one is told."""
        self._sink.lost(reason)


class Heard:
    """What the publisher told of its troubles."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, int]] = []

    def answered(self, latencies: Sequence[float], size: int) -> None:
        """Of no interest here."""

    def failed(self, reason: str, count: int) -> None:
        """Kept."""
        self.failures.append((reason, count))


def header_block(fields: dict[str, object]) -> bytes:
    """`Nats_Msg_Id=1` as a header block."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode() if fields else b""


def content(path: str, data: bytes, mtime_ns: int = 1) -> Content:
    """A file as the reader hands it on."""
    stamp = Stamp(1, 1, len(data), mtime_ns, 1)
    return Content(path.encode(), quote(path), stamp, data, sha256(data).hexdigest(), 1)


def told(outcomes: Sequence[Outcome]) -> dict[str, tuple[str, int] | str]:
    """What became of each file: its event and sequence, or why it was refused."""
    return {
        one.content.name: one.reason
        if isinstance(one, Refusal)
        else ("duplicate" if one.duplicate else "published", one.seq)
        for one in outcomes
    }


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.integration)])
async def jetstream(request: pytest.FixtureRequest) -> AsyncIterator[JetStream]:
    """The server in memory, and a real one."""
    if request.param == "fake":
        fake = FakeJetStream()
        link: Link = FakeLink(fake)

        async def tick() -> None:
            fake.clock.advance(0.02)
    else:
        server = request.getfixturevalue("nats_server")
        link = Link(LinkSettings((server.url,), "contract"), lambda session, reason: None)

        async def tick() -> None:
            await asyncio.sleep(0.02)

    running = asyncio.create_task(link.run())
    yield JetStream(link, tick)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


class TestWhatAStreamAnswers:
    """The wire, one message at a time."""

    async def test_a_new_message_is_stored_under_the_next_sequence(self, jetstream: JetStream) -> None:
        """From 1 on, whatever its subject."""
        await jetstream.stream()

        assert await jetstream.publish("jobs.a", b"one", Nats_Msg_Id="1") == Stored("jobs", 1, False)
        assert await jetstream.publish("jobs.b", b"two") == Stored("jobs", 2, False)

    async def test_the_same_id_in_the_window_is_a_duplicate_of_the_first(self, jetstream: JetStream) -> None:
        """Also on another subject."""
        await jetstream.stream()
        await jetstream.publish("jobs.a", b"one", Nats_Msg_Id="1")
        await jetstream.publish("jobs.b", b"two")

        assert await jetstream.publish("jobs.a", b"one", Nats_Msg_Id="1") == Stored("jobs", 1, True)
        assert await jetstream.publish("jobs.c", b"one", Nats_Msg_Id="1") == Stored("jobs", 1, True)

    async def test_the_same_id_after_the_window_is_stored_again(self, jetstream: JetStream) -> None:
        """A duplicate does not make the window longer, and one that is refused takes no sequence."""
        await jetstream.stream(duplicate_window=150_000_000)
        assert await jetstream.publish("jobs.a", Nats_Msg_Id="1") == Stored("jobs", 1, False)
        while (again := await jetstream.publish("jobs.a", Nats_Msg_Id="1")) == Stored("jobs", 1, True):
            await jetstream.tick()

        assert again == Stored("jobs", 2, False)

    async def test_past_the_window_a_subject_that_is_full_is_known(self, jetstream: JetStream) -> None:
        """With one message a subject the stream itself refuses the second copy, and does not say whose it is."""
        await jetstream.stream(
            duplicate_window=150_000_000, discard="new", max_msgs_per_subject=1, discard_new_per_subject=True
        )
        assert await jetstream.publish("jobs.a", Nats_Msg_Id="1") == Stored("jobs", 1, False)
        while (again := await jetstream.publish("jobs.a", Nats_Msg_Id="1")) == Stored("jobs", 1, True):
            await jetstream.tick()

        assert again == Known(0)

    async def test_an_expected_sequence_that_is_passed_names_the_message_that_is_there(
        self, jetstream: JetStream
    ) -> None:
        """It is looked at before the id."""
        await jetstream.stream()
        expected: dict[str, object] = {"Nats_Msg_Id": "1", "Nats_Expected_Last_Subject_Sequence": 0}
        await jetstream.publish("jobs.other")

        assert await jetstream.publish("jobs.a", b"one", **expected) == Stored("jobs", 2, False)
        assert await jetstream.publish("jobs.a", b"one", **expected) == Known(2)

    @pytest.mark.parametrize("limit", [{"max_msgs": 1}, {"max_bytes": 100}], ids=str)
    async def test_a_full_stream_takes_nothing_new(self, jetstream: JetStream, limit: dict[str, int]) -> None:
        """And what it holds already is told as ever."""
        await jetstream.stream(discard="new", **limit)
        await jetstream.publish("jobs.a", b"x" * 40, Nats_Msg_Id="1")

        full = await jetstream.publish("jobs.b", b"x" * 40, Nats_Msg_Id="2")
        assert isinstance(full, Again)
        assert full.reason == "stream_full"
        assert await jetstream.publish("jobs.a", b"x" * 40, Nats_Msg_Id="1") == Stored("jobs", 1, True)
        assert await jetstream.publish("jobs.a", b"x", Nats_Expected_Last_Subject_Sequence=0) == Known(1)

    async def test_a_message_for_another_stream_is_not_stored(self, jetstream: JetStream) -> None:
        """It says which stream it is meant for."""
        await jetstream.stream()

        answer = await jetstream.publish("jobs.a", b"one", Nats_Expected_Stream="orders")
        assert isinstance(answer, Stop)
        assert answer.reason == "wrong_stream"
        assert (await jetstream.api("STREAM.INFO.jobs"))["state"]["messages"] == 0

    async def test_a_subject_of_no_stream_has_no_responders(self, jetstream: JetStream) -> None:
        """The server says so at once."""
        await jetstream.stream()

        answer = await jetstream.publish("orders.a", b"one", Nats_Msg_Id="1")
        assert isinstance(answer, Again)
        assert answer.reason == "no_stream_responds"

    async def test_a_sealed_stream_takes_nothing(self, jetstream: JetStream) -> None:
        """Not even what it holds."""
        config = (await jetstream.stream())["config"]
        await jetstream.publish("jobs.a", b"one", Nats_Msg_Id="1")
        await jetstream.api("STREAM.UPDATE.jobs", {**config, "sealed": True})

        answer = await jetstream.publish("jobs.a", b"one", Nats_Msg_Id="1")
        assert isinstance(answer, Stop)
        assert answer.reason == "sealed"

    @pytest.mark.parametrize(
        ("data", "field", "reason"),
        [(b"x" * 101, "", "too_large"), (b"", "x" * 101, "too_large"), (b"", "x" * (64 << 10), "headers_too_large")],
    )
    async def test_size_is_what_is_wrong_with_a_message(
        self, jetstream: JetStream, data: bytes, field: str, reason: str
    ) -> None:
        """Over the stream's limit, headers counted, or with headers over 64 KiB."""
        limit = {} if reason == "headers_too_large" else {"max_msg_size": 100}
        await jetstream.stream(**limit)

        answer = await jetstream.publish("jobs.a", data, Field=field)
        assert isinstance(answer, Refuse)
        assert answer.reason == reason

    async def test_a_message_over_max_payload_ends_the_connection(self, jetstream: JetStream) -> None:
        """So it must never be sent; the next connection is sound."""
        await jetstream.stream()
        session = await jetstream.session()

        with pytest.raises(LinkDown):
            await session.request("jobs.a", bytes(session.max_payload + 1))
        assert await jetstream.publish("jobs.a", b"one") == Stored("jobs", 1, False)

    async def test_a_message_reads_back_as_it_was(self, jetstream: JetStream) -> None:
        """By its sequence or as the last of its subject: header block and body, both base64."""
        await jetstream.stream()
        await jetstream.publish("jobs.a", b"\0one\r\n", Nats_Msg_Id="1", Edge_Path="a%20b")
        await jetstream.publish("jobs.plain")
        block = b"NATS/1.0\r\nNats-Msg-Id: 1\r\nEdge-Path: a%20b\r\n\r\n"

        for ask in ({"seq": 1}, {"last_by_subj": "jobs.a"}):
            message = (await jetstream.api("STREAM.MSG.GET.jobs", ask))["message"]
            assert (message["seq"], message["subject"]) == (1, "jobs.a")
            assert base64.b64decode(message["hdrs"]) == block
            assert base64.b64decode(message["data"]) == b"\0one\r\n"
        plain = (await jetstream.api("STREAM.MSG.GET.jobs", {"seq": 2}))["message"]
        assert "hdrs" not in plain
        assert "data" not in plain

    async def test_what_is_not_there_is_not_found(self, jetstream: JetStream) -> None:
        """Message and stream alike."""
        await jetstream.stream()

        for ask in ({"seq": 1}, {"last_by_subj": "jobs.a"}):
            assert (await jetstream.api("STREAM.MSG.GET.jobs", ask))["error"]["err_code"] == 10037
        for call in ("STREAM.INFO.orders", "STREAM.MSG.GET.orders", "STREAM.PURGE.orders"):
            ask = {"seq": 1} if "GET" in call else None
            assert (await jetstream.api(call, ask))["error"]["err_code"] == 10059

    async def test_an_id_outlives_its_message(self, jetstream: JetStream) -> None:
        """`duplicate` says that it was stored once, not that it is there."""
        await jetstream.stream()
        await jetstream.publish("jobs.a", b"one", Nats_Msg_Id="1")
        assert (await jetstream.api("STREAM.PURGE.jobs"))["purged"] == 1

        assert await jetstream.publish("jobs.a", b"one", Nats_Msg_Id="1") == Stored("jobs", 1, True)
        assert "error" in await jetstream.api("STREAM.MSG.GET.jobs", {"seq": 1})


class TestHowAStreamIsPrepared:
    """`stream.prepare` at the first contact."""

    async def test_a_missing_stream_is_created_as_the_contract_says(self, jetstream: JetStream) -> None:
        """Limits, discard new, one message a subject, no deletion; and the rehearsal leaves nothing in it."""
        info = await prepare(await jetstream.session(), STREAM, PROBE)

        assert info is not None
        assert (info.name, info.subjects, info.last_seq) == ("jobs", ("edge.replay.*.*",), 0)
        assert info.horizon(per_digest=True) == float("inf")
        assert info.window == 120
        found = await jetstream.api("STREAM.INFO.jobs")
        assert found["state"]["messages"] == 0
        wanted = {
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "discard_new_per_subject": True,
            "deny_delete": True,
            "allow_direct": True,
            "allow_atomic": True,
            "max_age": 0,
            "max_bytes": -1,
            "num_replicas": 1,
        }
        assert {name: found["config"].get(name) for name in wanted} == wanted

    async def test_limits_of_the_settings_are_those_of_the_created_stream(self, jetstream: JetStream) -> None:
        """And its age is how long it remembers."""
        settings = (
            STREAM._replace(max_age=3600.0, max_bytes=1 << 20)
            if hasattr(STREAM, "_replace")
            else StreamSettings("jobs", "edge.replay.*.*", True, True, 3600.0, 1 << 20, 1)
        )
        info = await prepare(await jetstream.session(), settings, PROBE)

        assert info is not None
        assert info.horizon(per_digest=True) == 3600
        assert (await jetstream.api("STREAM.INFO.jobs"))["config"]["max_bytes"] == 1 << 20
