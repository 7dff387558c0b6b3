"""One contract, held by the server in memory and by a real nats-server: what is true of one is true of the other."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from syncdaemon.base.errors import LanePaused, LinkDown, NotAnswered, SettingsError
from syncdaemon.base.model import (
    AsObject,
    Attempt,
    Content,
    Held,
    Later,
    Outcome,
    Receipt,
    Refusal,
    Row,
    Stamp,
    StoredHeaders,
)
from syncdaemon.dev.server import NatsServer
from syncdaemon.link import Link, LinkSettings, Session, Sink
from syncdaemon.link.conversation import Reply
from syncdaemon.publish import PROBE_ID, Lane, Publisher
from syncdaemon.publish.atomic import AtomicFlight
from syncdaemon.publish.batches import SMALL
from syncdaemon.publish.choice import SAMPLE, Choice, Way
from syncdaemon.publish.flight import Flight
from syncdaemon.publish.message import Message, encode
from syncdaemon.settings import parts
from syncdaemon.settings.values import Settings
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.history import since
from syncdaemon.stream.info import Memory, StreamInfo
from syncdaemon.stream.prepare import prepare
from syncdaemon.stream.presence import lost
from syncdaemon.stream.stored import StoredMessage
from syncdaemon.stream.verdict import (
    Again,
    BatchRejected,
    Committed,
    Known,
    Refuse,
    Stop,
    Stored,
    Verdict,
    judge,
    judge_batch,
)
from tests.simulate.fake_jetstream import Answer, FakeJetStream, FakeLink
from tests.support.api import ask_api
from tests.support.server import MakeNatsServer


def settings(**variables: str) -> Settings:
    """The settings with these variables, for a site called `here` and a stream called `jobs`."""
    return Settings.load({"SITE": "here", "SYNC_STREAM": "jobs", **variables}, {}, {}).settings


Changed = Callable[[Session | None, str], None]


class JetStream:
    """A server under contract, and a link to it. `tick` lets a little of its time pass."""

    def __init__(self, make_link: Callable[[Changed], Link], tick: Callable[[], Awaitable[None]]) -> None:
        self._came_up: asyncio.Queue[Session | None] = asyncio.Queue()
        self.link = make_link(lambda session, reason: self._came_up.put_nowait(session))
        self.tick = tick
        self.heard = Heard()
        self.noted = Noted()

    async def session(self) -> Session:
        """The connection, as soon as there is one."""
        return await self.link.wait_up()

    async def next_session(self, old: Session) -> None:
        """Waits for the connection that takes the place of this one."""
        while await self._came_up.get() in (None, old):
            pass

    async def api(self, call: str, ask: dict[str, Any] | None = None) -> dict[str, Any]:
        """A call of the JetStream API, and its answer."""
        answer = await ask_api(await self.session(), f"$JS.API.{call}", ask)
        assert answer is not None
        return answer

    async def stream(self, name: str = "jobs", **config: Any) -> dict[str, Any]:
        """Has a stream made; it captures `<name>.>` unless `subjects` says otherwise."""
        answer = await self.api(f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name}.>"], **config})
        assert "error" not in answer
        return answer

    async def delete(self, name: str = "jobs") -> None:
        """Has a stream deleted, while another one stays.

        nats-server 2.15.1 removes the folder of all streams in the background when the last of them is deleted. It can
        do so in the middle of the next creation, which fails then: "error creating store for stream".
        """
        await self.stream("stays")
        answer = await self.api(f"STREAM.DELETE.{name}")
        assert "error" not in answer

    async def ask(self, subject: str, data: bytes = b"", **fields: object) -> Answer:
        """Publishes a message with these header fields; the raw answer."""
        return await (await self.session()).request(subject, data, header_block(fields))

    async def publish(self, subject: str, data: bytes = b"", **fields: object) -> Verdict:
        """The same; what the daemon makes of the answer."""
        return judge(*await self.ask(subject, data, **fields))

    async def prepare(self, **variables: str) -> StreamInfo:
        """Has the stream prepared as the daemon does it at the first contact."""
        wanted = settings(**variables)
        info = await prepare(Api(await self.session()), parts.stream(wanted), wanted.subject_for(PROBE_ID))
        assert info is not None
        return info

    async def publisher(self, **variables: str) -> Publisher:
        """A publisher whose lane is open."""
        publisher = self.newborn(**variables)
        await publisher.ready()
        return publisher

    def newborn(self, **variables: str) -> Publisher:
        """A publisher that has not asked for anything yet."""
        wanted = settings(**variables)
        lane = Lane(self.link, parts.message(wanted), parts.stream(wanted), self.noted)
        return Publisher(lane, parts.message(wanted), self.heard)

    async def lose_answers(self) -> Session:
        """The connection, which from here on ends before the first answer is heard.

        What a connection can carry is known by then, so that it is not the first message alone that is sent.
        """
        session = await self.session()
        headers = header_block({})
        flight = Flight([Message(content("any", b"", 1), "", "nobody.listens", headers, b"", len(headers))])
        await flight.send(session)
        await flight.landed
        expect = session.expect
        session.expect = lambda sink, key, size=0: expect(Deaf(session, sink), key, size)  # type: ignore[method-assign]
        return session


@contextmanager
def losing_fresh_answers(session: Session) -> Iterator[None]:
    """Messages that are sent afresh are stored, and their answers never come: the connection breaks before them."""

    async def send(flight: Flight, over: Session, send: Any = Flight.send) -> None:
        if "." in flight.messages[0].msg_id:
            expect = session.expect
            session.expect = lambda sink, key, size=0: expect(Deaf(session, sink), key, size)  # type: ignore[method-assign]
        await send(flight, over)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flight, "send", send)
        yield


class Deaf:
    """In the place of a sink: hears nothing; when an answer comes, the connection has just broken."""

    def __init__(self, session: Session, sink: Sink) -> None:
        self._session = session
        self._sink = sink

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        """So the message is stored, and nobody here knows."""
        self._session.fail("cut before the answer")
        self._sink.lost("cut before the answer")

    def lost(self, reason: str) -> None:
        """Handed on."""
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


class Noted:
    """In the place of the ledger: what was noted before it was sent."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.next_row = 1

    async def record(self, entries: Sequence[tuple[str, Row]]) -> None:
        """Kept."""
        self.rows += [row for _, row in entries]
        self.next_row += len(entries)


def header_block(fields: dict[str, object]) -> bytes:
    """`Nats_Msg_Id=1` as a header block."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode() if fields else b""


def content(path: str, data: bytes, mtime_ns: int = 1) -> Content:
    """A file as the reader hands it on."""
    stamp = Stamp(1, 1, len(data), mtime_ns, 1)
    return Content(path.encode(), quote(path), stamp, data, sha256(data).hexdigest(), 1)


def receipts(outcomes: Sequence[Outcome]) -> list[Receipt]:
    """Those that are."""
    return [outcome for outcome in outcomes if isinstance(outcome, Receipt)]


def told(outcomes: Sequence[Outcome]) -> dict[str, tuple[str, int] | str]:
    """What became of each file: its event and sequence, or why it was refused."""
    return {one.content.name: _told(one) for one in outcomes}


def _told(outcome: Outcome) -> tuple[str, int] | str:
    match outcome:
        case Refusal():
            return outcome.reason
        case AsObject():
            return "as an object"
        case Later():
            return "later"
    return "duplicate" if outcome.duplicate else "published", outcome.seq


KINDS = ["fake", pytest.param("real", marks=pytest.mark.integration)]
READ_BACK = ("$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The server in memory, or a real one."""
    return str(request.param)


@pytest.fixture
async def jetstream(request: pytest.FixtureRequest, kind: str) -> AsyncIterator[JetStream]:
    """A server and a link to it."""
    async with connected(request, kind, ()) as found:
        yield found


@pytest.fixture
async def blind_jetstream(request: pytest.FixtureRequest, kind: str) -> AsyncIterator[JetStream]:
    """The same, where we are not allowed to read a message back."""
    async with connected(request, kind, READ_BACK) as found:
        yield found


@asynccontextmanager
async def connected(request: pytest.FixtureRequest, kind: str, denied: tuple[str, ...]) -> AsyncIterator[JetStream]:
    """A server of this kind, where so many subjects may not be published to, and a link to it that is kept up."""
    if kind == "fake":
        fake = FakeJetStream()
        fake.denied = denied

        async def tick() -> None:
            fake.clock.advance(0.02)

        found = JetStream(lambda changed: FakeLink(fake, changed), tick)
    else:
        deny = f"permissions: {{ publish: {{ deny: {list(denied)} }} }}" if denied else ""
        login = f"authorization {{ users: [ {{ user: site, password: secret, {deny} }} ] }}".replace("'", '"')
        server = request.getfixturevalue("make_nats_server")(config=login)
        server.start()
        found = JetStream(lambda changed: real_link(server, changed), lambda: asyncio.sleep(0.02))
    running = asyncio.create_task(found.link.run())
    yield found
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def real_link(server: NatsServer, changed: Changed) -> Link:
    """A link to a real server."""
    return Link(LinkSettings((server.url,), "contract", user="site", password="secret"), changed)


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

    @pytest.mark.parametrize("limit", [{"max_msgs": 1}, {"max_bytes": 150}], ids=str)
    async def test_a_full_stream_takes_nothing_new(self, jetstream: JetStream, limit: dict[str, Any]) -> None:
        """And what it holds already is told as ever."""
        await jetstream.stream("jobs", discard="new", **limit)
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
        await jetstream.stream(max_msg_size=-1 if reason == "headers_too_large" else 100)

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
            assert (await jetstream.api(call, {"seq": 1} if "GET" in call else None))["error"]["err_code"] == 10059

    async def test_a_direct_get_tells_the_newest_message_of_a_subject(self, jetstream: JetStream) -> None:
        """Its place comes in headers that no message can forge: the server's are the last ones (ADR-31)."""
        await jetstream.stream(allow_direct=True)
        await jetstream.publish("jobs.a", b"older")
        await jetstream.publish(
            "jobs.a", b"\0one\r\n", Nats_Msg_Id="1", Nats_Sequence=77, Nats_Subject="x", Nats_Stream="y"
        )
        await jetstream.publish("jobs.plain")
        api = Api(await jetstream.session())

        found, plain = await api.direct("jobs", "jobs.a"), await api.direct("jobs", "jobs.plain")
        assert isinstance(found, StoredMessage)
        assert isinstance(plain, StoredMessage)
        assert (found.seq, found.subject, found.msg_id, found.data) == (2, "jobs.a", "1", b"\0one\r\n")
        assert (plain.seq, plain.subject, plain.data) == (3, "jobs.plain", b"")
        assert found.at is not None

    async def test_a_direct_get_finds_no_message_and_no_stream(self, jetstream: JetStream) -> None:
        """404 is one thing, and 503 another: that stream is not there, or lets nobody read it so."""
        await jetstream.stream(allow_direct=True)
        await jetstream.stream("closed")
        await jetstream.publish("closed.a")
        api = Api(await jetstream.session())

        assert await api.direct("jobs", "jobs.a") is None
        for stream in ("closed", "orders"):
            refused = await api.direct(stream, f"{stream}.a")
            assert isinstance(refused, ApiRefusal)
            assert refused.unanswered

    async def test_the_leader_says_whether_a_subject_has_a_message_and_stores_nothing(
        self, jetstream: JetStream
    ) -> None:
        """By what it refuses first: the expected sequence, or the last id that never was."""
        await jetstream.stream()
        await jetstream.publish("jobs.a", b"one")
        await jetstream.publish("jobs.b", b"two")
        api = Api(await jetstream.session())

        assert [await api.occupied(subject) for subject in ("jobs.a", "jobs.b", "jobs.c")] == [1, 2, 0]
        assert (await jetstream.api("STREAM.INFO.jobs"))["state"]["last_seq"] == 2

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
        info = await jetstream.prepare()

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
        info = await jetstream.prepare(
            SYNC_STREAM_MAX_AGE="1h", SYNC_STREAM_MAX_BYTES="1Mi", SYNC_STREAM_MAX_MSGS="250000"
        )

        assert info.horizon(per_digest=True) == 3600
        config = (await jetstream.api("STREAM.INFO.jobs"))["config"]
        assert (config["max_bytes"], config["max_msgs"]) == (1 << 20, 250_000)

    async def test_a_stream_that_is_there_is_never_altered(self, jetstream: JetStream) -> None:
        """Whatever it is like: it is the operator's."""
        before = (await jetstream.stream(subjects=["edge.>"], max_msgs=7))["config"]
        info = await jetstream.prepare()

        assert (info.subjects, info.discard) == (("edge.>",), "old")
        assert (await jetstream.api("STREAM.INFO.jobs"))["config"] == before

    async def test_a_missing_stream_that_may_not_be_created_is_a_wrong_setting(self, jetstream: JetStream) -> None:
        """SYNC_STREAM_CREATE=false."""
        with pytest.raises(SettingsError, match="SYNC_STREAM: there is no stream jobs"):
            await jetstream.prepare(SYNC_STREAM_CREATE="false")

    async def test_a_stream_that_does_not_capture_our_subjects_is_a_wrong_setting(self, jetstream: JetStream) -> None:
        """Those of another site do not help."""
        await jetstream.stream(subjects=["edge.replay.there.*"])

        with pytest.raises(SettingsError, match=r"SYNC_SUBJECT: the stream jobs captures edge\.replay\.there\.\*, not"):
            await jetstream.prepare()

    async def test_subjects_of_another_stream_are_a_wrong_setting(self, jetstream: JetStream) -> None:
        """The stream can't be created beside it."""
        await jetstream.stream("orders", subjects=["edge.>"])

        with pytest.raises(SettingsError, match=r"SYNC_STREAM: jobs can't be created .* subjects overlap"):
            await jetstream.prepare()

    async def test_more_replicas_than_servers_are_a_wrong_setting(self, jetstream: JetStream) -> None:
        """In the server's own words."""
        with pytest.raises(SettingsError, match=r"SYNC_STREAM: jobs can't be created .* replicas > 1 not supported"):
            await jetstream.prepare(SYNC_STREAM_REPLICAS="3")

    async def test_a_sealed_stream_is_a_wrong_setting(self, jetstream: JetStream) -> None:
        """It will never take a message again."""
        config = (await jetstream.stream(subjects=["edge.>"]))["config"]
        await jetstream.api("STREAM.UPDATE.jobs", {**config, "sealed": True})

        with pytest.raises(SettingsError, match="SYNC_STREAM: jobs is sealed"):
            await jetstream.prepare()

    async def test_a_stream_without_acknowledgements_is_a_wrong_setting(self, jetstream: JetStream) -> None:
        """Nothing could ever be proved."""
        await jetstream.stream(subjects=["edge.>"], no_ack=True)

        with pytest.raises(SettingsError, match="SYNC_STREAM: jobs acknowledges nothing"):
            await jetstream.prepare()


class TestWhatIsReadBack:
    """The headers of what a stream holds, in order."""

    async def seen(self, jetstream: JetStream, subject: str, first_seq: int = 1) -> list[StoredHeaders]:
        """All of it."""
        return [seen async for seen in since(Api(await jetstream.session()), "jobs", subject, first_seq)]

    async def test_the_messages_of_a_subject_in_order(self, jetstream: JetStream) -> None:
        """With their own subject, their headers, and the size of a body that is not sent."""
        await jetstream.stream()
        for number in range(5):
            await jetstream.ask(f"jobs.{number % 2}.x", b"body" * number, Nats_Msg_Id=f"id-{number}")
        found = await self.seen(jetstream, "jobs.1.*")
        assert [(one.seq, one.subject, one.size) for one in found] == [(2, "jobs.1.x", 4), (4, "jobs.1.x", 12)]
        assert [one.headers["Nats-Msg-Id"] for one in found] == ["id-1", "id-3"]

    async def test_from_a_sequence_on(self, jetstream: JetStream) -> None:
        """That one included; beyond the last there is nothing."""
        await jetstream.stream()
        for _ in range(5):
            await jetstream.ask("jobs.a")
        assert [one.seq for one in await self.seen(jetstream, "jobs.>", 4)] == [4, 5]
        assert [one.seq for one in await self.seen(jetstream, "jobs.>", 0)] == [1, 2, 3, 4, 5]
        assert await self.seen(jetstream, "jobs.>", 6) == []
        assert await self.seen(jetstream, "jobs.b") == []

    async def test_more_than_one_request_brings(self, jetstream: JetStream) -> None:
        """As many requests as it takes."""
        await jetstream.stream()
        session = await jetstream.session()
        await asyncio.gather(*(session.request("jobs.a", b"%d" % number) for number in range(2_345)))
        assert [one.seq for one in await self.seen(jetstream, "jobs.a")] == list(range(1, 2_346))

    async def test_nothing_is_left_behind(self, jetstream: JetStream) -> None:
        """Neither a subscription nor a hole in the connection: it goes on to answer."""
        await jetstream.stream()
        await jetstream.ask("jobs.a")
        await self.seen(jetstream, "jobs.>")
        session = await jetstream.session()
        assert session._client._listeners == {}
        assert isinstance(await jetstream.publish("jobs.a"), Stored)

    async def test_a_stream_that_is_not_there(self, jetstream: JetStream) -> None:
        """Is told in the server's words."""
        with pytest.raises(LanePaused, match="stream not found"):
            await self.seen(jetstream, "jobs.>")

    async def test_a_work_queue_is_not_touched(self, jetstream: JetStream) -> None:
        """Its messages are for their one consumer."""
        await jetstream.stream(retention="workqueue")
        with pytest.raises(LanePaused, match="can't be read"):
            await self.seen(jetstream, "jobs.>")

    async def test_a_connection_that_ends_while_it_reads(self, jetstream: JetStream) -> None:
        """The reader is told, and not left waiting."""
        await jetstream.stream()
        session = await jetstream.session()
        await asyncio.gather(*(session.request("jobs.a") for _ in range(1_500)))
        reading = since(Api(session), "jobs", "jobs.a", 1)
        assert (await anext(reading)).seq == 1
        session.fail("cut")
        with pytest.raises(LinkDown, match="cut"):
            [seen async for seen in reading]


class TestWhatThePublisherMakesOfIt:
    """Batches of files, and what is certain of each."""

    async def test_a_batch_of_all_kinds_has_an_outcome_for_each(self, jetstream: JetStream) -> None:
        """New, new and empty, equal to one of the same batch, in an object, too large by its headers alone.

        A file that is too large with its data has none: it is read again, and then it goes as an object.
        """
        publisher = await jetstream.publisher()
        session = await jetstream.session()
        batch = [
            content("a", b"one"),
            content("larger than the limit is by now", bytes(session.max_payload)),
            content("object", b"large")._replace(data=None),
            content("\0" * session.max_payload, b"named")._replace(data=None),
            content("empty", b""),
            content("b", b"one"),
        ]

        assert told(await publisher.publish(batch, session)) == {
            "a": ("published", 1),
            "object": ("published", 2),
            "empty": ("published", 3),
            "b": ("duplicate", 1),
            "%00" * session.max_payload: "too_large",
        }
        assert not session.lost.done(), "what is too large must never be sent"
        assert (await jetstream.api("STREAM.INFO.jobs"))["state"]["messages"] == 3
        assert not publisher.in_doubt

    async def test_the_message_is_the_contracts(self, jetstream: JetStream) -> None:
        """Subject, headers and body, as they read back."""
        publisher = await jetstream.publisher()
        file = content("dir/ä b", b"one", mtime_ns=1234)
        await publisher.publish([file], await jetstream.session())
        message = (await jetstream.api("STREAM.MSG.GET.jobs", {"seq": 1}))["message"]

        assert message["subject"] == f"edge.replay.here.{file.sha256}"
        assert base64.b64decode(message["data"]) == b"one"
        assert base64.b64decode(message["hdrs"]).decode().split("\r\n") == [
            "NATS/1.0",
            f"Nats-Msg-Id: {file.sha256}",
            "Nats-Expected-Stream: jobs",
            "Nats-Expected-Last-Subject-Sequence: 0",
            "Edge-Site: here",
            "Edge-Path: dir/%C3%A4%20b",
            f"Edge-Sha256: {file.sha256}",
            "Edge-Size: 3",
            "Edge-Mtime-Ns: 1234",
            "",
            "",
        ]

    async def test_content_that_was_there_before_is_a_duplicate(self, jetstream: JetStream) -> None:
        """Whoever brought it: the receipt names the message that is there."""
        publisher = await jetstream.publisher()
        session = await jetstream.session()
        await publisher.publish([content("a", b"one"), content("b", b"two")], session)

        again = [content("elsewhere", b"two"), content("a", b"one")]
        assert told(await publisher.publish(again, session)) == {"elsewhere": ("duplicate", 2), "a": ("duplicate", 1)}

    async def test_lost_answers_end_as_published_once_with_the_first_sequence(self, jetstream: JetStream) -> None:
        """Our own messages, sent again after a cut: `published`, and what came under another path is a duplicate."""
        publisher = await jetstream.publisher()
        batch = [content("a", b"one", 1), content("b", b"two", 2), content("copy", b"one", 3)]
        session = await jetstream.lose_answers()

        assert await publisher.publish(batch, session) == []
        assert publisher.in_doubt
        assert jetstream.heard.failures == [("link_down", 3)]

        await jetstream.next_session(session)
        outcomes = told(await publisher.publish(batch, await publisher.ready()))
        stored = {
            base64.b64decode(message["data"]): message["seq"]
            for message in [(await jetstream.api("STREAM.MSG.GET.jobs", {"seq": seq}))["message"] for seq in (1, 2)]
        }
        assert outcomes == {
            "a": ("published", stored[b"one"]),
            "b": ("published", stored[b"two"]),
            "copy": ("duplicate", stored[b"one"]),
        }
        assert (await jetstream.api("STREAM.INFO.jobs"))["state"]["last_seq"] == 2
        assert not publisher.in_doubt

    async def test_answers_that_a_crash_lost_end_the_same(self, jetstream: JetStream) -> None:
        """A new process knows of nothing in doubt, but that its ledger ends before what the stream holds."""
        await (await jetstream.publisher()).publish([content("a", b"one", 1)], await jetstream.session())

        reborn = await jetstream.publisher()
        batch = [content("a", b"one", 1), content("b", b"one", 2)]
        outcomes = told(await reborn.publish(batch, await jetstream.session()))
        assert outcomes == {"a": ("published", 1), "b": ("duplicate", 1)}

    async def test_another_message_on_the_subject_is_refused(self, jetstream: JetStream) -> None:
        """Neither the id nor the body is ours: the file is set aside, never let go of."""
        publisher = await jetstream.publisher()
        file = content("a", b"one")
        await jetstream.ask(f"edge.replay.here.{file.sha256}", b"something else")

        assert told(await publisher.publish([file], await jetstream.session())) == {"a": "subject_taken"}

    @pytest.mark.parametrize("mark", [{"Edge_Tombstone": "1"}, {"Nats_Marker_Reason": "MaxAge"}])
    async def test_a_tombstone_on_the_subject_is_refused_by_default(
        self, jetstream: JetStream, mark: dict[str, str]
    ) -> None:
        """It may be forged. So it lets go of no file, of an empty one neither, whose bytes it seems to have."""
        publisher = await jetstream.publisher()
        files = [content("a", b"one"), content("empty", b"")]
        for file in files:
            await jetstream.ask(f"edge.replay.here.{file.sha256}", b"", **mark)

        outcomes = await publisher.publish(files, await jetstream.session())
        assert told(outcomes) == {"a": "subject_freed", "empty": "subject_freed"}
        for outcome in outcomes:
            assert isinstance(outcome, Refusal)
            assert "SYNC_TOMBSTONES=delivered" in outcome.detail

    async def test_a_tombstone_counts_as_delivered_where_the_operator_says_so(self, jetstream: JetStream) -> None:
        """The file is a duplicate, and its row names the tombstone; the same after an answer that was lost."""
        publisher = await jetstream.publisher(SYNC_TOMBSTONES="delivered")
        files = [content("a", b"one"), content("empty", b"")]
        for file in files:
            await jetstream.ask(f"edge.replay.here.{file.sha256}", b"", Edge_Tombstone="1")

        outcomes = told(await publisher.publish(files, await jetstream.session()))
        assert outcomes == {"a": ("duplicate", 1), "empty": ("duplicate", 2)}

    async def test_a_body_or_a_files_headers_make_no_tombstone(self, jetstream: JetStream) -> None:
        """Whatever else it says of itself: it is another's message."""
        publisher = await jetstream.publisher(SYNC_TOMBSTONES="delivered")
        files = [content("a", b"one"), content("b", b"two")]
        await jetstream.ask(f"edge.replay.here.{files[0].sha256}", b"x", Edge_Tombstone="1")
        await jetstream.ask(f"edge.replay.here.{files[1].sha256}", b"", Edge_Tombstone="1", Edge_Sha256="0" * 64)

        outcomes = told(await publisher.publish(files, await jetstream.session()))
        assert outcomes == {"a": "subject_taken", "b": "subject_taken"}

    async def test_on_a_plain_subject_a_tombstone_says_nothing(self, jetstream: JetStream) -> None:
        """It is not known whose message was freed there. An id that points to one is used by somebody else."""
        publisher = await jetstream.publisher(SYNC_SUBJECT="edge.replay.here.all", SYNC_TOMBSTONES="delivered")
        file = content("empty", b"")
        await jetstream.ask("edge.replay.here.all", b"", Edge_Tombstone="1", Nats_Msg_Id=file.sha256)

        assert told(await publisher.publish([file], await jetstream.session())) == {"empty": ("published", 2)}

    async def test_a_neighbours_message_under_our_id_stores_nothing_of_ours(self, jetstream: JetStream) -> None:
        """Whoever knows a file can take its id first. Ours is sent once more, with an id that nobody can foresee."""
        publisher = await jetstream.publisher()
        session = await jetstream.session()
        files = [content("a", b"one"), content("b", b"two"), content("copy", b"one")]
        for file in files[:2]:
            await jetstream.ask(f"edge.replay.there.{file.sha256}", b"garbage", Nats_Msg_Id=file.sha256)

        outcomes = await publisher.publish(files, session)
        assert told(outcomes) == {"a": ("published", 3), "b": ("published", 4), "copy": ("duplicate", 3)}
        for receipt in receipts(outcomes):
            stored = await Api(session).message("jobs", receipt.seq)
            assert isinstance(stored, StoredMessage)
            assert (stored.subject, stored.msg_id) == (receipt.subject, receipt.msg_id)
            assert re.fullmatch(rf"{receipt.content.sha256}\.[0-9a-f]{{8}}", receipt.msg_id)
            assert stored.data == receipt.content.data
        again = await publisher.publish([content("again", b"one")], session)
        assert told(again) == {"again": ("duplicate", 3)}
        assert not publisher.in_doubt

    async def test_another_sites_copy_is_not_ours(self, jetstream: JetStream) -> None:
        """Equal content of two sites is stored once for each."""
        publisher = await jetstream.publisher()
        await jetstream.ask(
            f"edge.replay.there.{content('a', b'one').sha256}", b"one", Nats_Msg_Id=content("a", b"one").sha256
        )

        outcomes = await publisher.publish([content("a", b"one")], await jetstream.session())
        assert told(outcomes) == {"a": ("published", 2)}

    async def test_an_id_whose_message_is_gone_stores_nothing(self, jetstream: JetStream) -> None:
        """The server knows the id for a while, and has no message any more: the file is stored under another id."""
        publisher = await jetstream.publisher()
        session = await jetstream.session()
        await publisher.publish([content("a", b"one")], session)
        await jetstream.api("STREAM.PURGE.jobs")

        outcomes = await publisher.publish([content("again", b"one")], session)
        assert told(outcomes) == {"again": ("published", 2)}
        assert (await jetstream.api("STREAM.INFO.jobs"))["state"]["messages"] == 1

    @pytest.mark.parametrize("answer", [b"[]", b"{}", b'{"message":{}}', b'{"error":{"code":500,"err_code":10003}}'])
    async def test_an_answer_without_a_message_is_no_message(
        self, jetstream: JetStream, answer: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The id is known, and what comes back proves nothing: the file is not let go of for that."""
        publisher = await jetstream.publisher()
        session = await jetstream.session()
        file = content("a", b"one")
        await jetstream.ask(f"edge.replay.there.{file.sha256}", b"garbage", Nats_Msg_Id=file.sha256)
        request = session.request

        async def misled(subject: str, *arguments: Any, **more: Any) -> Answer:
            return (answer, None) if ".MSG.GET." in subject else await request(subject, *arguments, **more)

        monkeypatch.setattr(session, "request", misled)
        assert told(await publisher.publish([file], session)) == {"a": ("published", 2)}

    async def test_a_message_that_was_sent_afresh_and_not_answered_is_stored_once(self, jetstream: JetStream) -> None:
        """The answer to the fresh one is lost, and the process perhaps as well: the next attempt finds our bytes."""
        publisher = await jetstream.publisher()
        file = content("a", b"one")
        await jetstream.ask(f"edge.replay.there.{file.sha256}", b"garbage", Nats_Msg_Id=file.sha256)
        session = await jetstream.session()
        with losing_fresh_answers(session):
            assert await publisher.publish([file], session) == []
        assert publisher.in_doubt
        await jetstream.next_session(session)

        reborn = await jetstream.publisher()
        for process in (publisher, reborn):
            (receipt,) = receipts(await process.publish([file], await process.ready()))
            assert (receipt.seq, receipt.duplicate) == (2, False)
            assert receipt.msg_id.startswith(f"{file.sha256}.")
        assert (await jetstream.api("STREAM.INFO.jobs"))["state"]["last_seq"] == 2

    async def test_what_fits_into_a_message_is_told_with_its_name(self, jetstream: JetStream) -> None:
        """To within the digits of sizes and times; the stream's own limit counts too."""
        await jetstream.stream(subjects=["edge.>"], max_msg_size=5_000)
        publisher = await jetstream.publisher()
        session = await jetstream.session()
        fit = publisher.fit(session)
        largest = fit.message
        fits = content("name", b"x" * (largest - len("name")))

        assert told(await publisher.publish([fits], session)) == {"name": ("published", 1)}
        assert 5_000 - 40 < largest + len(encode(content("", b""), publisher._settings).headers) <= 5_000
        assert fit.link == fit.message, "of this link, which is fast"

    async def test_a_full_stream_keeps_every_file(self, jetstream: JetStream) -> None:
        """No outcome, and the lane pauses."""
        publisher = await jetstream.publisher(SYNC_STREAM_MAX_BYTES="1000")
        batch = [content("a", b"x" * 400), content("b", b"y" * 400)]

        assert told(await publisher.publish(batch, await jetstream.session())) == {"a": ("published", 1)}
        assert publisher.lane.paused.startswith("stream_full: maximum bytes exceeded")
        assert jetstream.heard.failures == [("stream_full", 1)]
        assert not publisher.in_doubt, "the server answered: it is not stored"

    async def test_reasons_that_take_turns_are_said_once_each(self, jetstream: JetStream) -> None:
        """As in an election, where some answers are that nobody leads, and others that a twin is under way."""
        lane = (await jetstream.publisher()).lane
        with structlog.testing.capture_logs() as log:
            for _ in range(50):
                lane.pause("no_leader", "nobody leads", 1.0)
                lane.pause("twin", "the same is under way", 1.0)
        assert [line["reason"] for line in log] == ["no_leader", "twin"]

    async def test_a_stream_that_is_gone_keeps_every_file(self, jetstream: JetStream) -> None:
        """The subject has no responders."""
        publisher = await jetstream.publisher()
        await jetstream.delete()

        assert await publisher.publish([content("a", b"one")], await jetstream.session()) == []
        assert publisher.lane.paused.startswith("no_stream_responds")
        assert not publisher.in_doubt

    async def test_a_subject_that_went_over_to_another_stream_keeps_every_file(self, jetstream: JetStream) -> None:
        """The message says which stream it is meant for, and this is another."""
        publisher = await jetstream.publisher()
        await jetstream.delete()
        await jetstream.stream("orders", subjects=["edge.>"])

        assert await publisher.publish([content("a", b"one")], await jetstream.session()) == []
        assert publisher.lane.paused.startswith("wrong_stream")
        assert (await jetstream.api("STREAM.INFO.orders"))["state"]["messages"] == 0

    async def test_a_plain_subject_relies_on_the_window(self, jetstream: JetStream) -> None:
        """No expected sequence there; within the window the id is enough."""
        publisher = await jetstream.publisher(SYNC_SUBJECT="edge.files")
        session = await jetstream.session()

        assert told(await publisher.publish([content("a", b"one")], session)) == {"a": ("published", 1)}
        batch = [content("b", b"one"), content("c", b"two")]
        assert told(await publisher.publish(batch, session)) == {"b": ("duplicate", 1), "c": ("published", 2)}

    async def test_an_id_by_path_stores_equal_contents_of_two_files(self, jetstream: JetStream) -> None:
        """SYNC_MSG_ID=path: each path is a message of its own, and still stored only once."""
        publisher = await jetstream.publisher(SYNC_MSG_ID="path")
        session = await jetstream.session()
        batch = [content("a", b"one"), content("b", b"one")]

        assert told(await publisher.publish(batch, session)) == {"a": ("published", 1), "b": ("published", 2)}
        assert told(await publisher.publish(batch, session)) == {"a": ("duplicate", 1), "b": ("duplicate", 2)}


class TestWhatTheStreamHasLost:
    """Of what it acknowledged."""

    async def held(self, jetstream: JetStream, names: Iterable[str]) -> list[Held]:
        """Files that were delivered."""
        files = [content(name, name.encode()) for name in names]
        receipts = await (await jetstream.publisher()).publish(files, await jetstream.session())
        return [Held(b"", b"", one.seq, one.content.sha256) for one in receipts if isinstance(one, Receipt)]

    async def lost(
        self,
        jetstream: JetStream,
        held: Sequence[Held],
        subject: str = "edge.replay.here.*",
        objects: Collection[str] = (),
    ) -> list[Held]:
        """Those that it has no longer, where these objects are gone."""

        async def gone(session: Session, names: Collection[str]) -> set[str]:
            return set(names) & set(objects)

        return await lost(Api(await jetstream.session()), "jobs", subject, held, gone)

    @pytest.mark.parametrize("files", [3, 20])
    async def test_nothing(self, jetstream: JetStream, files: int) -> None:
        """Asked for one by one, or read through."""
        assert await self.lost(jetstream, await self.held(jetstream, map(str, range(files)))) == []

    @pytest.mark.parametrize("files", [3, 20])
    async def test_all_of_a_stream_that_was_made_anew(self, jetstream: JetStream, files: int) -> None:
        """As after a server that came back empty; also where other messages have these sequences by now."""
        held = await self.held(jetstream, map(str, range(files)))
        await jetstream.delete()
        await jetstream.stream(subjects=["edge.replay.*.*"])
        assert await self.lost(jetstream, held) == held
        await self.held(jetstream, ["another", "one"])
        assert await self.lost(jetstream, held) == held

    async def test_what_lies_beyond_its_end(self, jetstream: JetStream) -> None:
        """And nothing else."""
        held = await self.held(jetstream, map(str, range(20)))
        beyond = Held(b"", b"", 21, "0" * 64)
        assert await self.lost(jetstream, [*held, beyond]) == [beyond]

    async def test_what_somebody_purged_from_a_stream_that_forgets_nothing(self, jetstream: JetStream) -> None:
        """Nobody can tell it from a loss; so it is one."""
        held = await self.held(jetstream, ["a", "b"])
        await jetstream.api("STREAM.PURGE.jobs")
        assert await self.lost(jetstream, held) == held

    async def test_what_went_from_a_stream_that_forgets_is_not_lost(self, jetstream: JetStream) -> None:
        """Its own rules may have taken it out."""
        await jetstream.stream(subjects=["edge.replay.*.*"], max_age=3_600_000_000_000)
        held = await self.held(jetstream, ["a", "b"])
        await jetstream.api("STREAM.PURGE.jobs")
        assert await self.lost(jetstream, [*held, Held(b"", b"", 3, "0" * 64)]) == [Held(b"", b"", 3, "0" * 64)]

    @pytest.mark.parametrize("files", [3, 20])
    async def test_a_message_whose_object_is_gone(self, jetstream: JetStream, files: int) -> None:
        """It names what nobody can read any more."""
        batch = [content(str(number), b"%d" % number)._replace(data=None) for number in range(files)]
        receipts = await (await jetstream.publisher()).publish(batch, await jetstream.session())
        held = [Held(b"", b"", one.seq, one.content.sha256) for one in receipts if isinstance(one, Receipt)]
        assert await self.lost(jetstream, held) == []
        assert await self.lost(jetstream, held, objects=[f"edge_replay_here/{held[1].sha256}"]) == [held[1]]

    async def test_what_was_consumed_from_a_work_queue_is_not_lost(self, jetstream: JetStream) -> None:
        """Unless the queue ends before it."""
        await jetstream.stream(subjects=["edge.replay.*.*"], retention="workqueue")
        held = await self.held(jetstream, ["a", "b"])
        await jetstream.api("STREAM.PURGE.jobs")
        assert await self.lost(jetstream, held) == []
        assert await self.lost(jetstream, [Held(b"", b"", 3, "0" * 64)]) == [Held(b"", b"", 3, "0" * 64)]

    @pytest.mark.parametrize("files", [3, 20])
    async def test_another_sites_message_with_the_same_content_will_not_do(
        self, jetstream: JetStream, files: int
    ) -> None:
        """What lies on a subject that is not ours can be anything by tomorrow."""
        held = await self.held(jetstream, map(str, range(files)))
        assert await self.lost(jetstream, held, "edge.replay.there.*") == held

    async def test_a_message_that_only_says_so_is_not_the_files(self, jetstream: JetStream) -> None:
        """The server lost ours; another has its sequence by now, our digest in its headers, and zeros in its body."""
        held = await self.held(jetstream, ["a", "b"])
        await jetstream.delete()
        await jetstream.stream(subjects=["edge.replay.*.*"])
        claims = {"Nats_Msg_Id": held[0].sha256, "Edge_Sha256": held[0].sha256, "Edge_Site": "here"}
        await jetstream.ask("edge.replay.there.x", b"0", **claims)
        await jetstream.ask(f"edge.replay.here.{held[1].sha256}", b"0", Nats_Msg_Id=held[1].sha256)
        assert await self.lost(jetstream, held) == held


PLAIN = {"SYNC_SUBJECT": "jobs.plain"}
WINDOW_NS = 150_000_000


class TestWhatIsInDoubtOnAPlainSubject:
    """The stream would take a second copy, once the window has passed."""

    async def past_the_window(self, jetstream: JetStream) -> None:
        """The server knows the ids of what was stored before no longer."""
        began = time.monotonic()
        while time.monotonic() < began + 1.2 * WINDOW_NS / 1e9:
            await jetstream.tick()

    async def cut(self, jetstream: JetStream, publisher: Publisher, batch: Sequence[Content]) -> None:
        """The batch is stored, no answer is heard, the window passes."""
        session = await jetstream.lose_answers()
        assert await publisher.publish(batch, session) == []
        await jetstream.next_session(session)
        await self.past_the_window(jetstream)

    async def stored_ids(self, jetstream: JetStream) -> list[str]:
        """The ids of all messages."""
        reading = since(Api(await jetstream.session()), "jobs", "jobs.>", 1)
        return [seen.headers.get("Nats-Msg-Id", "") async for seen in reading]

    async def test_after_a_cut_it_is_looked_for_and_not_sent_again(self, jetstream: JetStream) -> None:
        """Also a copy, which the server refused as such while nobody heard it."""
        await jetstream.stream(duplicate_window=WINDOW_NS)
        publisher = await jetstream.publisher(**PLAIN)
        await jetstream.ask("jobs.plain", b"somebody else's")
        batch = [content("a", b"one", 1), content("b", b"two", 2), content("copy", b"one", 3)]
        await self.cut(jetstream, publisher, batch)

        published = await publisher.publish(batch, await publisher.ready())
        outcomes = told(published)
        ids = await self.stored_ids(jetstream)
        at = {msg_id: seq for seq, msg_id in enumerate(ids, 1)}
        one, two = at[batch[0].sha256], at[batch[1].sha256]
        assert len(ids) == 3
        assert outcomes == {"a": ("published", one), "b": ("published", two), "copy": ("duplicate", one)}
        assert not publisher.in_doubt
        publisher.receipts_written(receipts(published))
        assert publisher.lane.doubt.oldest_row == 0

    async def test_what_was_found_is_named_with_where_it_is(self, jetstream: JetStream) -> None:
        """By the row after the look: who reads the ledger after a crash would look behind it otherwise."""
        await jetstream.stream(duplicate_window=WINDOW_NS)
        publisher = await jetstream.publisher(**PLAIN)
        one, two = content("a", b"one", 1), content("b", b"two", 2)
        await self.cut(jetstream, publisher, [one, two])
        await publisher.ready()
        row = jetstream.noted.rows[-1]
        assert (row["resolved"], row["first_seq"], row["count"]) == (True, 1, 2)

    async def test_what_did_not_arrive_is_sent(self, jetstream: JetStream) -> None:
        """Only that."""
        await jetstream.stream(duplicate_window=WINDOW_NS)
        publisher = await jetstream.publisher(**PLAIN)
        arrived, lost = content("a", b"one", 1), content("b", b"two", 2)
        await publisher.lane.note([encode(lost, parts.message(settings(**PLAIN)))])
        await self.cut(jetstream, publisher, [arrived])

        outcomes = told(await publisher.publish([arrived, lost], await publisher.ready()))
        assert outcomes == {"a": ("published", 1), "b": ("published", 2)}
        assert await self.stored_ids(jetstream) == [arrived.sha256, lost.sha256]
        assert [row["ids"] for row in jetstream.noted.rows if not row.get("resolved")] == [
            lost.sha256,
            arrived.sha256,
            lost.sha256,
        ]

    async def test_after_a_crash_the_ledger_says_what_to_look_for(self, jetstream: JetStream) -> None:
        """A new process, however late."""
        await jetstream.stream(duplicate_window=WINDOW_NS)
        files = [content(f"{number}", b"%d" % number, number) for number in range(5)]
        before = await jetstream.publisher(**PLAIN)
        await self.cut(jetstream, before, files[:4])
        attempts = {one.sha256: Attempt(int(jetstream.noted.rows[0]["first_seq"]), 1, 1) for one in files}

        reborn = jetstream.newborn(**PLAIN)
        reborn.lane.doubt.take_over(attempts)
        outcomes = await reborn.publish(files, await reborn.ready())
        assert all(outcome[0] == "published" for outcome in told(outcomes).values())
        assert sorted(await self.stored_ids(jetstream)) == sorted(one.sha256 for one in files)

    @pytest.mark.parametrize("crash", [True, False])
    async def test_what_was_sent_afresh_is_looked_for_as_well(self, jetstream: JetStream, crash: bool) -> None:
        """No row says so: it belongs to the attempt of its first id."""
        await jetstream.stream(duplicate_window=WINDOW_NS)
        publisher = await jetstream.publisher(**PLAIN)
        file = content("a", b"one", 1)
        await jetstream.ask("jobs.there", b"garbage", Nats_Msg_Id=file.sha256)
        session = await jetstream.session()
        with losing_fresh_answers(session):
            assert await publisher.publish([file], session) == []
        await jetstream.next_session(session)
        await self.past_the_window(jetstream)
        assert [row["ids"] for row in jetstream.noted.rows] == [file.sha256]
        if crash:
            publisher = jetstream.newborn(**PLAIN)
            publisher.lane.doubt.take_over({file.sha256: Attempt(1, 1, 1)})

        published = await publisher.publish([file], await publisher.ready())
        assert told(published) == {"a": ("published", 2)}
        assert receipts(published)[0].msg_id.startswith(f"{file.sha256}.")
        publisher.receipts_written(receipts(published))
        assert publisher.lane.doubt.oldest_row == 0
        assert len(await self.stored_ids(jetstream)) == 2

    @pytest.mark.parametrize("in_doubt", [True, False])
    async def test_what_is_gone_from_a_work_queue_counts_only_where_it_was_in_doubt(
        self, jetstream: JetStream, in_doubt: bool
    ) -> None:
        """Then it was most likely ours, and consumed. Else it is the id of a message that we never sent."""
        await jetstream.stream(retention="workqueue")
        publisher = await jetstream.publisher(SYNC_SUBJECT="jobs.plain")
        file = content("a", b"one", 1)
        if in_doubt:
            session = await jetstream.lose_answers()
            assert await publisher.publish([file], session) == []
            await jetstream.next_session(session)
        else:
            await jetstream.ask("jobs.there", b"garbage", Nats_Msg_Id=file.sha256)
        await jetstream.api("STREAM.PURGE.jobs")

        outcomes = told(await publisher.publish([file], await publisher.ready()))
        assert outcomes == {"a": ("published", 1 if in_doubt else 2)}
        assert (await jetstream.api("STREAM.INFO.jobs"))["state"]["messages"] == (0 if in_doubt else 1)

    async def test_while_the_server_knows_the_ids_nothing_is_read(self, jetstream: JetStream) -> None:
        """It refuses the second copy itself."""
        await jetstream.stream()
        publisher = await jetstream.publisher(**PLAIN)
        session = await jetstream.lose_answers()
        batch = [content("a", b"one", 1), content("b", b"two", 2)]
        assert await publisher.publish(batch, session) == []
        await jetstream.next_session(session)

        outcomes = told(await publisher.publish(batch, await publisher.ready()))
        assert sorted(outcomes.values()) == [("published", 1), ("published", 2)]
        assert not [row for row in jetstream.noted.rows if row.get("resolved")]

    async def test_who_asks_at_the_same_time_waits_for_the_same_look(self, jetstream: JetStream) -> None:
        """Batches and large files have one lane: what one of them sends must not be taken for what is looked for."""
        await jetstream.stream(duplicate_window=WINDOW_NS)
        publisher = await jetstream.publisher(**PLAIN)
        await self.cut(jetstream, publisher, [content("a", b"one", 1)])

        sessions = await asyncio.gather(*(publisher.ready() for _ in range(3)))
        assert len(set(sessions)) == 1
        assert len([row for row in jetstream.noted.rows if row.get("resolved")]) == 1

    async def test_each_batch_is_noted_before_it_leaves(self, jetstream: JetStream) -> None:
        """With the first sequence that it could be stored at, and once only."""
        await jetstream.stream()
        publisher = await jetstream.publisher(**PLAIN)
        session = await jetstream.session()
        for name in "ab":
            batch = [content(name, name.encode()), content(name * 2, name.encode() * 2)]
            publisher.receipts_written(receipts(await publisher.publish(batch, session)))
        first, second = jetstream.noted.rows
        assert (first["first_seq"], first["count"], first["open_since"]) == (1, 2, 0)
        assert (second["first_seq"], second["count"], second["open_since"]) == (3, 2, 0)

    async def test_an_attempt_is_open_until_its_receipt_is_recorded(self, jetstream: JetStream) -> None:
        """Stored and not recorded when the process dies: the next one has to know that it was sent."""
        await jetstream.stream(duplicate_window=WINDOW_NS)
        publisher = await jetstream.publisher(**PLAIN)
        session = await jetstream.session()
        published = await publisher.publish([content("a", b"one")], session)
        await publisher.publish([content("b", b"two")], session)
        assert jetstream.noted.rows[-1]["open_since"] == 1
        publisher.receipts_written(receipts(published))
        await publisher.publish([content("c", b"three")], session)
        assert jetstream.noted.rows[-1]["open_since"] == 2

    async def test_on_a_subject_per_digest_nothing_is_noted(self, jetstream: JetStream) -> None:
        """The stream itself knows."""
        publisher = await jetstream.publisher()
        await publisher.publish([content("a", b"one")], await jetstream.session())
        assert jetstream.noted.rows == []

    @pytest.mark.parametrize("subject", ["jobs.plain", "jobs.{sha256}"])
    async def test_on_a_work_queue_few_are_in_flight(
        self, jetstream: JetStream, monkeypatch: pytest.MonkeyPatch, subject: str
    ) -> None:
        """Nobody could tell later which of them were stored, and consumed since."""
        await jetstream.stream(retention="workqueue")
        sizes: list[int] = []

        async def send(flight: Flight, session: Session, send: Any = Flight.send) -> None:
            sizes.append(len(flight.messages))
            await send(flight, session)

        monkeypatch.setattr(Flight, "send", send)
        publisher = await jetstream.publisher(SYNC_SUBJECT=subject)
        assert publisher.lane.horizon == 120.0
        outcomes = await publisher.publish([content(f"{n}", b"%d" % n) for n in range(200)], await jetstream.session())
        assert len(outcomes) == 200
        assert sizes == [64, 64, 64, 8]
        assert jetstream.noted.rows == []


async def test_where_history_is_denied_few_are_in_flight(request: pytest.FixtureRequest, kind: str) -> None:
    """What cannot be looked for is like a work queue, and is known before anything is sent."""
    async with connected(request, kind, ("$JS.API.CONSUMER.>",)) as jetstream:
        await jetstream.stream()
        publisher = await jetstream.publisher(**PLAIN)
        assert publisher.lane.memory is Memory.WINDOW
        assert publisher.lane.horizon == 120.0
        assert told(await publisher.publish([content("a", b"one")], await publisher.ready())) == {"a": ("published", 1)}


@pytest.mark.parametrize("denied", ["$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.MSG.NEXT.>"])
async def test_history_that_is_denied_is_said_and_ends_no_connection(
    request: pytest.FixtureRequest, kind: str, denied: str
) -> None:
    """Whichever of the two rights is missing."""
    async with connected(request, kind, (denied,)) as jetstream:
        await jetstream.stream()
        await jetstream.ask("jobs.a")
        session = await jetstream.session()
        with pytest.raises(PermissionError):
            [seen async for seen in since(Api(session), "jobs", "jobs.>", 1)]
        assert not session.lost.done()


async def test_reading_back_that_is_denied_makes_only_those_files_wait(blind_jetstream: JetStream) -> None:
    """Known files by the batch: each is refused by the server, and each stays. Others go on, over this connection."""
    publisher = await blind_jetstream.publisher()
    session = await blind_jetstream.session()
    batch = [content(f"{number}", b"%d" % number) for number in range(40)]
    assert len(await publisher.publish(batch, session)) == 40

    assert set(told(await publisher.publish(batch, session)).values()) == {"later"}
    assert await publisher.ready() is session
    assert told(await publisher.publish([content("new", b"new")], session)) == {"new": ("published", 41)}
    await ask_api(session, "$JS.API.STREAM.INFO.jobs")
    session._look_for_overdue(time.monotonic() + 60)
    assert not session.lost.done(), "what was denied is not waited for"


async def test_a_question_that_is_not_answered_ends_no_connection(jetstream: JetStream) -> None:
    """The server answers others, and not this: that is an answer. A message without an answer is in doubt."""
    session = await jetstream.session()
    question, message = Reply("some.api", asks=True), Reply("some.subject")
    session.expect(question, 0)
    session._look_for_overdue(time.monotonic() + 60)
    assert not session.lost.done()
    with pytest.raises(NotAnswered, match=r"no answer to some\.api within 10 seconds"):
        await question.future
    session.expect(message, 0)
    session._look_for_overdue(time.monotonic() + 60)
    assert session.lost.done()
    with pytest.raises(LinkDown):
        await message.future


async def test_a_site_that_may_read_its_own_subject_alone_reads_it_back(
    request: pytest.FixtureRequest, kind: str
) -> None:
    """As where sites share a stream. Of the same content under a neighbour's subject it sees nothing."""
    async with connected(request, kind, ("$JS.API.STREAM.MSG.GET.*",)) as jetstream:
        publisher = await jetstream.publisher()
        session = await jetstream.session()
        two = content("b", b"two")
        await publisher.publish([content("a", b"one")], session)
        await jetstream.ask(f"edge.replay.there.{two.sha256}", b"two", Nats_Msg_Id=two.sha256)
        outcomes = told(await publisher.publish([content("again", b"one"), two], session))
        assert outcomes == {"again": ("duplicate", 1), "b": ("published", 3)}


class TestWhatAStreamAnswersToABatch:
    """ADR-50, word for word."""

    async def test_each_message_arrives_and_the_last_commits_all(self, jetstream: JetStream) -> None:
        """One acknowledgement, with the last one's sequence; nothing is there before."""
        await jetstream.stream(allow_atomic=True)
        assert await jetstream.ask("jobs.a", Nats_Batch_Id="x", Nats_Batch_Sequence=1) == (b"", None)
        assert await jetstream.ask("jobs.b", Nats_Batch_Id="x", Nats_Batch_Sequence=2) == (b"", None)
        assert (await jetstream.api("STREAM.INFO.jobs"))["state"]["last_seq"] == 0
        answer = await jetstream.ask("jobs.c", Nats_Batch_Id="x", Nats_Batch_Sequence=3, Nats_Batch_Commit=1)
        assert answer == (b'{"stream":"jobs","seq":3,"batch":"x","count":3}', None)

    async def test_what_is_not_committed_is_never_there(self, jetstream: JetStream) -> None:
        """The connection ends; its messages can be stored by others."""
        await jetstream.stream(allow_atomic=True)
        await jetstream.ask("jobs.a", Nats_Batch_Id="x", Nats_Batch_Sequence=1, Nats_Msg_Id="1")
        (session := await jetstream.session()).fail("cut")
        await jetstream.next_session(session)
        assert await jetstream.publish("jobs.a", Nats_Msg_Id="1") == Stored("jobs", 1, False)
        late = await jetstream.ask("jobs.b", Nats_Batch_Id="x", Nats_Batch_Sequence=2, Nats_Batch_Commit=1)
        assert judge_batch(*late) == BatchRejected("atomic publish batch contains duplicate message id (10201)", False)

    async def test_a_stream_that_does_not_allow_it(self, jetstream: JetStream) -> None:
        """Says so to each message."""
        await jetstream.stream()
        answer = await jetstream.ask("jobs.a", Nats_Batch_Id="x", Nats_Batch_Sequence=1, Nats_Batch_Commit=1)
        assert judge_batch(*answer) == BatchRejected("atomic publish is disabled (10174)", True)

    async def test_a_thousand_and_not_one_more(self, jetstream: JetStream) -> None:
        """Nothing of the larger one is stored."""
        await jetstream.stream(allow_atomic=True)
        session = await jetstream.session()
        for most in (1_000, 1_001):
            asks = (
                session.request(
                    "jobs.a", b"", header_block({"Nats_Batch_Id": f"{most}", "Nats_Batch_Sequence": number})
                )
                for number in range(1, most)
            )
            await asyncio.gather(*asks)
            fields: dict[str, Any] = {"Nats_Batch_Id": f"{most}", "Nats_Batch_Sequence": most, "Nats_Batch_Commit": 1}
            answer = judge_batch(*await jetstream.ask("jobs.a", **fields))
            if most == 1_000:
                assert answer == Committed("jobs", "1000", 1_000, 1_000)
            else:
                assert answer == BatchRejected("atomic publish batch is too large: 1000 (10199)", False)


class TestWhatThePublisherMakesOfABatch:
    """Many files, one answer, and what is certain of each."""

    async def publisher(self, jetstream: JetStream, **variables: str) -> Publisher:
        """One that sends batches wherever it may."""
        publisher = await jetstream.publisher(**variables)
        publisher.batches.choice = Choice(Way.BATCH, least=2)
        return publisher

    async def stored(self, jetstream: JetStream, seqs: Iterable[int]) -> list[tuple[bytes, bool]]:
        """The bodies at these sequences, and whether each came in a batch."""
        session = await jetstream.session()
        asked = [ask_api(session, "$JS.API.STREAM.MSG.GET.jobs", {"seq": seq}) for seq in seqs]
        found = [answer["message"] for answer in await asyncio.gather(*asked) if answer]
        return [
            (base64.b64decode(one.get("data", "")), b"Nats-Batch-Id" in base64.b64decode(one["hdrs"])) for one in found
        ]

    @pytest.mark.parametrize("subject", ["edge.replay.{site}.{sha256}", "edge.plain"])
    async def test_each_file_has_its_own_sequence_while_others_write(self, jetstream: JetStream, subject: str) -> None:
        """Several batches at once, and two others that publish into the stream all the time, singly and in batches."""
        await jetstream.stream(subjects=["edge.>"], allow_atomic=True)
        publisher = await self.publisher(jetstream, SYNC_SUBJECT=subject)
        session = await jetstream.session()
        busy = True

        async def singly() -> None:
            while busy:
                await asyncio.gather(*(jetstream.ask("edge.other", b"single") for _ in range(20)))

        async def in_batches() -> None:
            for number in count():
                if not busy:
                    return
                name = f"other-{number}"
                await asyncio.gather(
                    jetstream.ask("edge.other", Nats_Batch_Id=name, Nats_Batch_Sequence=1),
                    jetstream.ask("edge.other", Nats_Batch_Id=name, Nats_Batch_Sequence=2, Nats_Batch_Commit=1),
                )

        others = [asyncio.create_task(singly()), asyncio.create_task(in_batches())]
        for turn in range(3):
            batches = [[content(f"{turn}-{n}-{m}", b"%d-%d-%d" % (turn, n, m)) for m in range(200)] for n in range(4)]
            found = await asyncio.gather(*(publisher.publish(batch, session) for batch in batches))
            for batch, outcomes in zip(batches, found, strict=True):
                receipts = [one for one in outcomes if isinstance(one, Receipt)]
                assert [receipt.content for receipt in receipts] == batch
                assert not any(receipt.duplicate for receipt in receipts)
                assert await self.stored(jetstream, (one.seq for one in receipts)) == [
                    (one.data, True) for one in batch
                ]
        busy = False
        await asyncio.gather(*others)
        last = (await jetstream.api("STREAM.INFO.jobs"))["state"]["last_seq"]
        assert last > 2_400, "the others wrote too"

    async def test_a_known_message_makes_singles_of_the_batch_at_once(self, jetstream: JetStream) -> None:
        """Nothing of it was stored; all is delivered in the same breath, the known one as the duplicate that it is."""
        publisher = await self.publisher(jetstream)
        session = await jetstream.session()
        await publisher.publish([content("known", b"one")], session)
        batch = [content("a", b"two"), content("again", b"one"), content("b", b"three")]
        assert told(await publisher.publish(batch, session)) == {
            "a": ("published", 2),
            "again": ("duplicate", 1),
            "b": ("published", 3),
        }
        assert [batched for _, batched in await self.stored(jetstream, (1, 2, 3))] == [False] * 3
        assert publisher.batches.allowed
        assert jetstream.heard.failures == []

    async def test_where_others_hold_all_open_batches_messages_go_one_by_one_for_a_while(
        self, jetstream: JetStream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A stream keeps 50 open (nats-server 2.15). Ours are stored at once, counted, and tried again later."""
        publisher = await self.publisher(jetstream)
        for number in range(50):
            await jetstream.ask("edge.replay.there.x", Nats_Batch_Id=f"held-{number}", Nats_Batch_Sequence=1)
        session = await jetstream.session()
        batch = [content(name, name.encode(), number) for number, name in enumerate("abc", 1)]

        outcomes = told(await publisher.publish(batch, session))
        assert outcomes == {name: ("published", number) for number, name in enumerate("abc", 1)}
        assert jetstream.heard.failures == [("batch_slots", 3)]
        assert not publisher.batches.allowed
        monkeypatch.setattr(publisher.batches, "_busy_until", time.monotonic())
        assert publisher.batches.allowed

    async def test_copies_within_a_batch_do_not_spoil_it(self, jetstream: JetStream) -> None:
        """One of them goes with it, the others after it."""
        publisher = await self.publisher(jetstream)
        batch = [content("a", b"one"), content("copy", b"one"), content("b", b"two"), content("copy-2", b"two")]
        assert told(await publisher.publish(batch, await jetstream.session())) == {
            "a": ("published", 1),
            "b": ("published", 2),
            "copy": ("duplicate", 1),
            "copy-2": ("duplicate", 2),
        }
        assert [batched for _, batched in await self.stored(jetstream, (1, 2))] == [True] * 2

    async def test_a_message_that_the_stream_refuses_takes_no_other_with_it(self, jetstream: JetStream) -> None:
        """It is over the stream's own limit, and becomes an object."""
        await jetstream.stream(subjects=["edge.>"], allow_atomic=True, max_msg_size=700)
        publisher = await self.publisher(jetstream)
        batch = [content("a", b"one"), content("large", bytes(700)), content("b", b"two")]
        assert told(await publisher.publish(batch, await jetstream.session())) == {
            "a": ("published", 1),
            "large": "as an object",
            "b": ("published", 2),
        }

    async def test_one_that_is_too_large_only_with_a_batchs_headers_goes_by_itself(self, jetstream: JetStream) -> None:
        """The server would end the connection."""
        publisher = await self.publisher(jetstream)
        session = await jetstream.session()
        headers = encode(content("large", b"x" * session.max_payload), parts.message(settings())).size
        large = content("large", b"x" * (2 * session.max_payload - headers))
        batch = [content("a", b"one"), large, content("b", b"two")]
        assert encode(large, parts.message(settings())).size == session.max_payload
        assert told(await publisher.publish(batch, session)) == {
            "a": ("published", 1),
            "b": ("published", 2),
            "large": ("published", 3),
        }
        assert not session.lost.done()

    async def test_only_small_messages_go_in_a_batch(self, jetstream: JetStream) -> None:
        """The others of their group go after it, one by one."""
        publisher = await self.publisher(jetstream)
        batch = [content(f"{n}", bytes([n]) * (SMALL if n % 2 else 10)) for n in range(6)]
        assert len(await publisher.publish(batch, await jetstream.session())) == 6
        stored = await self.stored(jetstream, range(1, 7))
        assert [(len(data), batched) for data, batched in stored] == [(10, True)] * 3 + [(SMALL, False)] * 3

    async def test_a_full_stream_takes_what_fits(self, jetstream: JetStream) -> None:
        """The rest stays."""
        await jetstream.stream(subjects=["edge.>"], allow_atomic=True, discard="new", max_msgs=2)
        publisher = await self.publisher(jetstream)
        batch = [content(name, name.encode()) for name in "abc"]
        outcomes = told(await publisher.publish(batch, await jetstream.session()))
        assert outcomes == {"a": ("published", 1), "b": ("published", 2)}
        assert jetstream.heard.failures == [("stream_full", 1)]
        assert not publisher.in_doubt

    async def test_a_stream_that_allows_it_no_longer_is_asked_once(self, jetstream: JetStream) -> None:
        """And again when it is prepared anew."""
        config = (await jetstream.stream(subjects=["edge.>"], allow_atomic=True))["config"]
        publisher = await self.publisher(jetstream)
        await jetstream.api("STREAM.UPDATE.jobs", {**config, "allow_atomic": False})
        session = await jetstream.session()
        assert publisher.batches.allowed
        outcomes = await publisher.publish([content("a", b"one"), content("b", b"two")], session)
        assert told(outcomes) == {"a": ("published", 1), "b": ("published", 2)}
        assert not publisher.batches.allowed

        await jetstream.api("STREAM.UPDATE.jobs", config)
        session.fail("cut")
        await jetstream.next_session(session)
        await publisher.ready()
        assert publisher.batches.allowed

    @pytest.mark.parametrize("config", [{}, {"retention": "workqueue", "allow_atomic": True}], ids=str)
    async def test_where_it_is_not_allowed_or_nobody_could_tell_later_there_are_none(
        self, jetstream: JetStream, config: dict[str, Any]
    ) -> None:
        """They are singles from the start."""
        await jetstream.stream(subjects=["edge.>"], **config)
        publisher = await self.publisher(jetstream)
        assert not publisher.batches.allowed
        outcomes = await publisher.publish([content("a", b"one"), content("b", b"two")], await jetstream.session())
        assert told(outcomes) == {"a": ("published", 1), "b": ("published", 2)}

    @pytest.mark.parametrize("subject", ["edge.replay.{site}.{sha256}", "edge.plain"])
    async def test_a_batch_in_doubt_is_sent_again_as_singles(self, jetstream: JetStream, subject: str) -> None:
        """It was stored, and the answer lost: each file is published once, at the sequence that it has."""
        await jetstream.stream(subjects=["edge.>"], allow_atomic=True)
        publisher = await self.publisher(jetstream, SYNC_SUBJECT=subject)
        batch = [content(name, name.encode(), number) for number, name in enumerate("abc", 1)]
        session = await jetstream.lose_answers()
        assert await publisher.publish(batch, session) == []
        assert len(publisher.in_doubt) == 3
        assert jetstream.heard.failures == [("link_down", 3)]
        await jetstream.next_session(session)

        outcomes = told(await publisher.publish([*batch, content("d", b"new", 4)], await publisher.ready()))
        assert outcomes == {name: ("published", number) for number, name in enumerate("abcd", 1)}
        assert await self.stored(jetstream, range(1, 5)) == [(b"a", True), (b"b", True), (b"c", True), (b"new", False)]
        assert not publisher.in_doubt

    async def test_a_batch_that_was_cut_before_its_commit_is_in_no_doubt(
        self, jetstream: JetStream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing of it is there, and it may go as a batch again."""
        publisher = await self.publisher(jetstream)
        session = await jetstream.session()
        send, pieces = session.send, count(1)

        async def cut(frames: Sequence[bytes]) -> None:
            await send(frames)
            if next(pieces) == 2:
                session.fail("cut")
                raise LinkDown("cut")

        monkeypatch.setattr(session, "send", cut)
        batch = [content(f"{number}", bytes([number]) * 20_000, number) for number in range(8)]
        assert await publisher.publish(batch, session) == []
        assert not publisher.in_doubt
        await jetstream.next_session(session)

        outcomes = told(await publisher.publish(batch, await publisher.ready()))
        assert outcomes == {f"{number}": ("published", number + 1) for number in range(8)}
        assert all(batched for _, batched in await self.stored(jetstream, range(1, 9)))

    @pytest.mark.parametrize(
        "answer", [b'{"stream":"jobs","seq":3}', b'{"stream":"jobs","seq":3,"batch":"other","count":3}', b"?"], ids=str
    )
    async def test_an_answer_that_is_not_understood_is_no_receipt(self, jetstream: JetStream, answer: bytes) -> None:
        """The files are in doubt, and no more batches are sent to a server that answers so."""
        publisher = await self.publisher(jetstream)
        session = await jetstream.session()
        batch = [content(name, name.encode(), number) for number, name in enumerate("abc", 1)]
        hear = AtomicFlight.answered
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AtomicFlight, "answered", lambda flight, key, *_: hear(flight, key, answer, None, 0.0))
            assert await publisher.publish(batch, session) == []
        assert len(publisher.in_doubt) == 3
        assert not publisher.batches.allowed
        outcomes = told(await publisher.publish(batch, session))
        assert outcomes == {name: ("published", number) for number, name in enumerate("abc", 1)}

    @pytest.mark.parametrize("subject", ["edge.replay.{site}.{sha256}", "edge.plain"])
    async def test_an_answer_that_names_a_wrong_sequence_is_noticed(self, jetstream: JetStream, subject: str) -> None:
        """The first message of a connection's first batch is looked at: the batch is in doubt, and none follows."""
        await jetstream.stream(subjects=["edge.>"], allow_atomic=True)
        publisher = await self.publisher(jetstream, SYNC_SUBJECT=subject)
        session = await jetstream.session()
        await publisher.publish([content("first", b"first")], session)
        batch = [content(name, name.encode(), number) for number, name in enumerate("abc", 1)]
        hear = AtomicFlight.answered

        def misheard(flight: AtomicFlight, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
            hear(flight, key, data.replace(b'"seq":4', b'"seq":3'), headers, latency)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AtomicFlight, "answered", misheard)
            assert await publisher.publish(batch, session) == []
        assert len(publisher.in_doubt) == 3
        assert not publisher.batches.allowed
        assert await publisher.ready() is session
        session.fail("cut")
        await jetstream.next_session(session)
        outcomes = told(await publisher.publish(batch, await publisher.ready()))
        assert outcomes == {name: ("published", number) for number, name in enumerate("abc", 2)}

    async def test_a_link_that_is_cut_before_the_look_leaves_the_batch_in_doubt(self, jetstream: JetStream) -> None:
        """Stored and answered, and not yet believed."""
        publisher = await self.publisher(jetstream)
        session = await jetstream.session()
        batch = [content(name, name.encode(), number) for number, name in enumerate("abc", 1)]
        land = AtomicFlight.land

        def cut(flight: AtomicFlight) -> None:
            land(flight)
            session.fail("cut")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AtomicFlight, "land", cut)
            assert await publisher.publish(batch, session) == []
        assert len(publisher.in_doubt) == 3
        await jetstream.next_session(session)
        outcomes = told(await publisher.publish(batch, await publisher.ready()))
        assert outcomes == {name: ("published", number) for number, name in enumerate("abc", 1)}

    async def test_a_trial_has_the_link_for_itself(self, jetstream: JetStream, monkeypatch: pytest.MonkeyPatch) -> None:
        """One message alone, some as singles, as many as a batch: each goes when the one before it has landed, and
        other groups wait; what it showed is remembered."""
        await jetstream.stream(subjects=["edge.>"], allow_atomic=True)
        publisher = await jetstream.publisher()
        session = await jetstream.session()
        sent: list[tuple[type[Flight], int, int]] = []
        flights: list[Flight] = []
        fly = publisher._fly

        async def noted(over: Session, flight: Flight) -> None:
            aloft = sum(not one.landed.done() for one in flights)
            sent.append((type(flight), len(flight.messages), aloft))
            flights.append(flight)
            await fly(over, flight)

        monkeypatch.setattr(publisher, "_fly", noted)
        groups = [[content(f"{n}-{m}", b"%d-%d" % (n, m)) for m in range(200)] for n in range(3)]
        found = await asyncio.gather(*(publisher.publish(group, session) for group in groups))
        assert sent[:3] == [(Flight, 1, 0), (Flight, SAMPLE, 0), (AtomicFlight, SAMPLE, 0)]
        assert sum(size for _, size, _ in sent) == 600
        for group, outcomes in zip(groups, found, strict=True):
            receipts = [one for one in outcomes if isinstance(one, Receipt)]
            assert sorted(receipt.content.path for receipt in receipts) == sorted(one.path for one in group)
            bodies = [body for body, _ in await self.stored(jetstream, (one.seq for one in receipts))]
            assert bodies == [one.content.data for one in receipts]

    async def test_every_message_has_a_latency_of_its_own(self, jetstream: JetStream) -> None:
        """From when it was sent to when the batch was stored."""
        publisher = await self.publisher(jetstream)
        session = await jetstream.session()
        flight = AtomicFlight(
            [encode(content(f"{n}", b"%d" % n), parts.message(settings())) for n in range(20)], "jobs"
        )
        await publisher._fly(session, flight)
        assert len(flight.latencies) == 20
        assert flight.latencies == sorted(flight.latencies, reverse=True)
        assert all(latency >= 0 for latency in flight.latencies)


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "Nats_Msg_Id": st.sampled_from("123"),
        "Nats_Expected_Stream": st.sampled_from(["{stream}", "other"]),
        "Nats_Expected_Last_Subject_Sequence": st.integers(0, 3),
        "Nats_Rollup": st.just("sub"),
    },
)
MESSAGE = st.tuples(st.sampled_from("abc"), st.sampled_from([b"", b"x", b"x" * 60]), FIELDS)
CALL = st.one_of(
    st.tuples(st.just("STREAM.PURGE"), st.fixed_dictionaries({}, optional={"filter": st.sampled_from("ab>")})),
    st.tuples(
        st.just("STREAM.PURGE"), st.fixed_dictionaries({"filter": st.sampled_from("ab"), "seq": st.integers(1, 6)})
    ),
    st.tuples(st.just("STREAM.MSG.DELETE"), st.fixed_dictionaries({"seq": st.integers(1, 4)})),
    st.tuples(st.just("STREAM.MSG.GET"), st.fixed_dictionaries({"last_by_subj": st.sampled_from("abc")})),
    st.tuples(st.just("STREAM.INFO"), st.fixed_dictionaries({"subjects_filter": st.sampled_from("ab*>")})),
)
CONVERSATION = st.lists(st.one_of(MESSAGE, CALL), max_size=14)
LIMITS = st.fixed_dictionaries(
    {"discard": st.sampled_from(["new", "old"])},
    optional={
        "max_msgs": st.integers(1, 4),
        "max_bytes": st.integers(1, 400),
        "max_msgs_per_subject": st.integers(1, 2),
        "max_msg_size": st.integers(40, 150),
        "discard_new_per_subject": st.just(True),
        "allow_rollup_hdrs": st.just(True),
        "deny_purge": st.just(True),
        "deny_delete": st.just(True),
    },
).filter(
    # How the server counts a message that it replaces against `max_bytes` is not modelled: no stream of ours does it.
    lambda limits: not {"max_bytes", "max_msgs_per_subject"} <= limits.keys() or "discard_new_per_subject" in limits
)
NUMBERS = count()


@pytest.fixture
async def both(make_nats_server: MakeNatsServer) -> AsyncIterator[list[JetStream]]:
    """The server in memory and a real one, side by side."""
    with make_nats_server() as server:
        fake = JetStream(lambda changed: FakeLink(FakeJetStream(), changed), lambda: asyncio.sleep(0))
        real = JetStream(lambda changed: real_link(server, changed), lambda: asyncio.sleep(0))
        running = [asyncio.create_task(one.link.run()) for one in (fake, real)]
        yield [fake, real]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.integration
@hypothesis_settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(LIMITS, CONVERSATION)
async def test_any_conversation_has_the_same_answers(
    both: list[JetStream], limits: dict[str, Any], conversation: list[tuple[Any, ...]]
) -> None:
    """Whatever the limits, messages and calls: every answer is the same, and so is the stream's state."""
    name = f"s{next(NUMBERS)}"

    async def answers(jetstream: JetStream) -> list[object]:
        created = await jetstream.api(f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name}.>"], **limits})
        found: list[object] = [created.get("error")]
        if "error" not in created:
            for said in conversation:
                found.append(await heard(jetstream, *said))
            state = (await jetstream.api(f"STREAM.INFO.{name}"))["state"]
            told = ("messages", "bytes", "last_seq", *(["first_seq"] if state["messages"] else []))
            found.append({key: state.get(key) for key in told})  # the first of none is told in two ways after a purge
            await jetstream.delete(name)
        return found

    async def heard(jetstream: JetStream, what: str, *about: Any) -> object:
        if len(about) == 2:
            data, fields = about
            block = {key: str(value).format(stream=name) for key, value in fields.items()}
            return await jetstream.ask(f"{name}.{what}", data, **block)
        ask = {key: value if key == "seq" else f"{name}.{value}" for key, value in about[0].items()}
        answer = await jetstream.api(f"{what}.{name}", ask)
        if what == "STREAM.MSG.DELETE":  # why there is nothing to delete is told in several ways
            return "error" in answer
        return {key: answer.get(key) for key in ("success", "error")}, subjects_and_message(answer)

    fake, real = both
    assert await answers(fake) == await answers(real)


BATCH = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.sampled_from([b"", b"x" * 60]),
        st.fixed_dictionaries(
            {},
            optional={
                "Nats_Msg_Id": st.sampled_from("1234567"),
                "Nats_Expected_Stream": st.sampled_from(["{stream}", "{stream}", "{stream}", "other"]),
                "Nats_Expected_Last_Subject_Sequence": st.just(0),
            },
        ),
    ),
    min_size=1,
    max_size=5,
)
SKIP = st.sampled_from([0, 0, 0, 0, 1])


@pytest.mark.integration
@hypothesis_settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(LIMITS, st.lists(MESSAGE, max_size=3), st.lists(st.tuples(BATCH, SKIP), max_size=4))
async def test_any_batches_have_the_same_answers(
    both: list[JetStream],
    limits: dict[str, Any],
    messages: list[tuple[str, bytes, dict[str, Any]]],
    batches: list[tuple[list[tuple[str, bytes, dict[str, Any]]], int]],
) -> None:
    """Into a stream that holds something: the same is stored, or nothing is, with the same words. Some have a gap."""
    name = f"b{next(NUMBERS)}"

    async def answers(jetstream: JetStream) -> list[object]:
        config = {"name": name, "subjects": [f"{name}.>"], "allow_atomic": True, **limits}
        created = await jetstream.api(f"STREAM.CREATE.{name}", config)
        found: list[object] = [created.get("error")]
        if "error" in created:
            return found
        for token, data, fields in messages:
            block = {key: str(value).format(stream=name) for key, value in fields.items()}
            found.append(await jetstream.ask(f"{name}.{token}", data, **block))
        for number, (batch, skip) in enumerate(batches):
            for at, (token, data, fields) in enumerate(batch, 1):
                block = {key: str(value).format(stream=name) for key, value in fields.items()}
                block |= {"Nats_Batch_Id": f"{number}", "Nats_Batch_Sequence": f"{at + (skip if at > 1 else 0)}"}
                if at == len(batch):
                    block["Nats_Batch_Commit"] = "1"
                found.append(await jetstream.ask(f"{name}.{token}", data, **block))
        state = (await jetstream.api(f"STREAM.INFO.{name}"))["state"]
        found.append({key: state.get(key) for key in ("messages", "bytes", "first_seq", "last_seq")})
        await jetstream.delete(name)
        return found

    fake, real = both
    assert await answers(fake) == await answers(real)


def subjects_and_message(answer: dict[str, Any]) -> object:
    """What an answer tells of subjects, of the message that was asked for, but for its time, and in numbers."""
    message = {key: value for key, value in answer.get("message", {}).items() if key != "time"}
    numbers = [answer.get(key, 0) for key in ("total", "offset", "limit", "purged")]
    return answer.get("state", {}).get("subjects"), message, numbers
