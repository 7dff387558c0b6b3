"""The link on a real server: it connects, notices, tells, and never sends late; and the guard over nats-py's inside.

The first part fails when an upgrade of nats-py moves what `link` reaches into.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import os
import re
import signal
import socket
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
import pytest
import structlog
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from syncdaemon.base.errors import ConnectTimeout, LinkDown
from syncdaemon.base.tasks import background
from syncdaemon.dev.server import HOST, NatsServer
from syncdaemon.link import Link, LinkSettings, Session, visit
from syncdaemon.link.frame import frame
from syncdaemon.link.session import STOPPED
from syncdaemon.link.words import explain
from tests.support.api import ask_api
from tests.support.certificates import Certificates
from tests.support.client import connect
from tests.support.daemon import MakeDaemon, eventually
from tests.support.issuer import Operator, key_pair
from tests.support.jetstream import messages
from tests.support.ports import own_port
from tests.support.relay import Relay
from tests.support.server import MakeNatsServer

pytestmark = pytest.mark.integration

PASSWORD = "correct-horse-battery"


# What of nats-py is used although it is private, and how it has to behave.


class Calls:
    """Stands in for the client behind a parser, and notes what it is told."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []

    async def _process_msg(self, *given: Any) -> None:
        self.made.append(("msg", *(bytes(it) if isinstance(it, bytearray) else it for it in given)))

    async def _process_pong(self) -> None:
        self.made.append(("pong",))

    async def _process_info(self, info: dict[str, Any]) -> None:
        self.made.append(("info", info))

    async def _process_err(self, text: str) -> None:
        self.made.append(("err", text))


async def test_the_parser_calls_what_the_link_overrides() -> None:
    """Messages, PONG and INFO reach the client by these names and with these arguments."""
    calls = Calls()
    parser = Parser(calls)
    await parser.parse(b"MSG a.1 7 5\r\nhello\r\n")
    await parser.parse(b"HMSG a.2 7 12 14\r\nNATS/1.0\r\n\r\nhi\r\n")
    await parser.parse(b'PONG\r\nINFO {"max_payload":9}\r\n')
    await parser.parse(b"-ERR 'Permissions Violation for Publish to \"A.b\"'\r\n")

    assert calls.made == [
        ("msg", 7, b"a.1", b"", b"hello", None),
        ("msg", 7, b"a.2", b"", b"hi", b"NATS/1.0\r\n\r\n"),
        ("pong",),
        ("info", {"max_payload": 9}),
        ("err", "'permissions violation for publish to \"a.b\"'"),
    ]


async def test_the_parser_keeps_what_is_not_whole_yet() -> None:
    """Our short cut goes by `buf` and `state`: whole lines are consumed, the start of one is kept."""
    parser = Parser(Calls())
    assert parser.state == AWAITING_CONTROL_LINE
    assert parser.buf == b""
    await parser.parse(b"MSG a.1 7 5\r")
    assert parser.state == AWAITING_CONTROL_LINE
    assert parser.buf == b"MSG a.1 7 5\r"
    await parser.parse(b"\nhel")
    assert parser.state != AWAITING_CONTROL_LINE


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_client_has_the_methods_that_the_link_overrides() -> None:
    """An override that nobody calls any more would be silent, so names and arguments are held."""
    assert parameters(Client._process_msg) == ["self", "sid", "subject", "reply", "data", "headers"]
    assert parameters(Client._process_pong) == ["self"]
    assert parameters(Client._process_info) == ["self", "info", "initial_connection"]
    for method in (Client._process_msg, Client._process_pong, Client._process_info, Parser.parse):
        assert inspect.iscoroutinefunction(method)


def test_a_new_client_has_the_attributes_that_the_link_uses() -> None:
    """Those that are read or replaced before there is a connection."""
    client = Client()
    assert isinstance(client._ps, Parser)
    assert client._transport is None
    assert client._pending == []
    assert client._pending_data_size == 0
    assert client._pongs == []
    assert client._server_info == {}
    assert client._current_server is None
    assert isinstance(client._max_payload, int)
    assert client.last_error is None


def test_connect_knows_every_option_that_the_link_gives() -> None:
    """A renamed one would raise at the first connection only."""
    known = set(parameters(Client.connect))
    login = LinkSettings(("tls://h:1",), "name").options()
    own = """name error_cb disconnected_cb closed_cb lame_duck_mode_cb allow_reconnect connect_timeout
        ping_interval pending_size flush_timeout"""
    assert set(own.split()) | set(login) <= known


async def test_a_connected_client_is_as_the_link_expects(nats_server: NatsServer) -> None:
    """Its transport's writer, its server, its subscription's number and its probes."""
    client = Client()
    await client.connect(nats_server.url, pending_size=-1)
    try:
        assert isinstance(client._transport, TcpTransport)
        writer = client._transport._io_writer
        assert isinstance(writer, asyncio.StreamWriter)
        assert writer.get_extra_info("socket").getpeername()[1] == nats_server.port
        assert client._current_server is not None
        assert client._current_server.uri.scheme == "nats"
        assert {"server_name", "server_id", "version", "max_payload"} <= set(client._server_info)
        assert client._max_payload == client.max_payload == client._server_info["max_payload"]
        inbox = client.new_inbox()
        assert re.fullmatch(r"_INBOX\.\w+", inbox)
        first = await client.subscribe(inbox + ".*", cb=nobody)
        second = await client.subscribe(inbox + ".x", cb=nobody)
        assert second._id == first._id + 1

        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        client._pongs.append(pong)
        await client._process_pong()
        assert pong.done()
        assert client._pongs == []
    finally:
        await client.close()


async def test_the_link_takes_its_answers_out_of_the_way_of_nats_py(nats_server: NatsServer) -> None:
    """No task and no queue of nats-py for an answer: its own count of messages stays at 0."""
    async with running(nats_server.url) as link:
        session = await link.wait_up()
        for _ in range(3):
            assert await ask_api(session, "$JS.API.INFO")
        data, headers = await session.request("nobody.listens")
        assert data == b""
        assert headers is not None
        assert headers.startswith(b"NATS/1.0 503")
        assert session._client.stats["in_msgs"] == 0


# What the tests below share.


async def nobody(_message: object) -> None:
    """Takes what a subscription of nats-py gets."""


class Sink:
    """Waits for answers, and keeps them."""

    def __init__(self) -> None:
        self.answers: dict[int, bytes] = {}
        self.reasons: list[str] = []

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        assert key not in self.answers
        assert latency >= 0
        self.answers[key] = data

    def lost(self, reason: str) -> None:
        self.reasons.append(reason)


class Changes(list[str]):
    """What a link tells of itself: `up`, or the reason of a loss."""

    def note(self, session: Session | None, reason: str) -> None:
        self.append("up" if session else reason)


@asynccontextmanager
async def running(*urls: str, changes: Changes | None = None, **login: Any) -> AsyncIterator[Link]:
    """A link at work; an error that ends it comes out."""
    link = Link(LinkSettings(urls, "syncdaemon test", **login), (Changes() if changes is None else changes).note)
    async with background(link.run()) as failed:
        yield link
        if failed.done():
            failed.result()


async def until(check: Callable[[], object], within: float = 10.0, what: str = "") -> float:
    """The seconds until `check` was true; fails with `what` when it is not within so many."""
    began = time.monotonic()
    while not check():
        if time.monotonic() - began > within:
            pytest.fail(f"not within {within:g} s: {what or check}")
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def works(link: Link, within: float = 10.0) -> Session:
    """The session, which has answered a request."""
    await until(lambda: link.session is not None, within, f"the link is up; its problem: {link.problem}")
    assert link.session is not None
    assert await ask_api(link.session, "$JS.API.INFO")
    assert link.problem == ""
    assert link.proved()
    return link.session


async def refusal(link: Link, within: float = 5.0) -> str:
    """The reason why there is no connection."""
    await until(lambda: link.problem != "not connected yet", within, "the link says why it is not up")
    assert link.session is None
    assert not link.proved()
    return link.problem


def frames(session: Session, sink: Sink, count: int, payload: bytes = b"x", start: int = 0) -> list[bytes]:
    """So many messages for the subject `frozen.<n>`, their answers going to `sink`."""
    return [pub(b"frozen.%d" % n, session.expect(sink, n), payload) for n in range(start, start + count)]


def pub(subject: bytes, reply: bytes, payload: bytes) -> bytes:
    """One message of the client protocol."""
    return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(payload), payload)


# Coming and going.


@pytest.mark.alone
async def test_it_connects_when_the_server_comes_later(make_nats_server: MakeNatsServer) -> None:
    """Before, it says what is wrong; within 2 s of the server's start it is up."""
    server = make_nats_server()
    async with running(server.url) as link:
        assert str(server.port) in await refusal(link)
        server.start()
        await works(link, within=2.0)
        assert link.connects == 1
        assert link.shown_url == server.url


@pytest.mark.alone
async def test_it_goes_on_to_the_next_url_when_the_first_is_dead(nats_server: NatsServer) -> None:
    """The first that answers is taken, and shown."""
    dead = f"nats://{HOST}:{own_port()}"
    async with running(dead, dead, nats_server.url) as link:
        await works(link, within=4.0)
        assert link.shown_url == nats_server.url


async def test_a_site_without_any_server_is_not_told_the_same_again_and_again() -> None:
    """With two dead URLs each of them is warned about, not each attempt."""
    dead = [f"nats://{HOST}:{own_port()}" for _ in range(2)]
    with structlog.testing.capture_logs() as logged:
        async with running(*dead) as link:
            await until(lambda: link._failures > 6, what="some attempts fail")
    warned = [line["url"] for line in logged if line["event"] == "no_connection"]
    assert sorted(warned) == sorted(dead)


async def test_a_port_that_says_nothing_is_given_up(make_daemon: MakeDaemon) -> None:
    """Something accepts the connection and never speaks: after 5 s this is told, and the next URL gets its turn."""
    silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(60), HOST, 0)
    port = silent.sockets[0].getsockname()[1]
    try:
        async with running(f"nats://{HOST}:{port}") as link:
            assert "no answer within 5 seconds" in await refusal(link, within=6.0)
    finally:
        silent.close()


async def test_it_ends_whatever_it_is_doing(nats_server: NatsServer) -> None:
    """Given up at any moment of connecting, as when a drain finds nothing to deliver."""
    for steps in range(0, 60, 3):
        async with asyncio.timeout(5.0), running(nats_server.url):
            for _ in range(steps):
                await asyncio.sleep(0)


async def test_a_frozen_server_is_noticed_and_all_that_is_in_flight_is_told_lost(nats_server: NatsServer) -> None:
    """Within 6 s, each once; the gauge is down by then, and after the thaw the link is back within 2 s."""
    changes = Changes()
    async with running(nats_server.url, changes=changes) as link:
        session = await works(link)
        nats_server.freeze()
        sinks = [Sink(), Sink()]
        for sink in sinks:
            await session.send(frames(session, sink, 50))
        request = asyncio.create_task(session.request("frozen.too"))

        await until(lambda: len(changes) == 2, 6.0, "a frozen server is noticed")
        assert not link.proved()
        assert [(sink.answers, len(sink.reasons)) for sink in sinks] == [({}, 1), ({}, 1)]
        assert sinks[0].reasons[0] == changes[1] == link.problem
        assert "silent" in link.problem
        with pytest.raises(LinkDown, match="silent"):
            await request
        with pytest.raises(LinkDown, match="silent"):
            await session.send([b"PING\r\n"])

        nats_server.thaw()
        await works(link, within=2.0)
        assert [len(sink.reasons) for sink in sinks] == [1, 1]
    assert changes[2:] == ["up", STOPPED]


async def test_an_idle_link_to_a_frozen_server_is_noticed_too(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frozen peer's kernel takes the probes, some milliseconds later where it is far away: no sign of life."""
    changes = Changes()
    async with running(nats_server.url, changes=changes) as link:
        session = await works(link)
        unsent = session._wire.unsent
        monkeypatch.setattr(session._wire, "unsent", lambda: unsent() + len(b"PING\r\n"))  # the last one is under way
        nats_server.freeze()
        await until(lambda: len(changes) == 2, 6.0, "a frozen server is noticed")
        assert link.session is None


async def test_a_killed_server_is_noticed_at_once_with_all_that_is_in_flight(nats_server: NatsServer) -> None:
    """Its kernel says so, and nothing is waited for; the restarted one is found within 2 s."""
    async with running(nats_server.url) as link:
        session = await works(link)
        nats_server.freeze()  # so that it answers nothing
        sink = Sink()
        await session.send(frames(session, sink, 100))
        nats_server.kill()
        await until(lambda: sink.reasons, 1.0, "the loss is told")
        assert sink.answers == {}
        assert len(sink.reasons) == 1
        nats_server.start()
        await works(link, within=2.0)
        assert link.connects == 2


@pytest.mark.alone
async def test_a_link_that_is_lost_again_and_again_is_back_at_once_every_time(nats_server: NatsServer) -> None:
    """Connections that live for moments, as on a network that flaps: it is not the server that sends us away."""
    relay = Relay(nats_server.port)
    changes = Changes()
    try:
        async with running(relay.url, changes=changes) as link:
            for lost in range(12):
                await works(link)
                relay.reset()
                await until(lambda at=lost: len(changes) > 2 * at + 1, what="it is lost")  # type: ignore[misc]
                assert await until(lambda: link.session, 5.0, "it is back") < 2.0
    finally:
        relay.close()


async def test_nothing_is_flushed_after_an_abort(make_nats_server: MakeNatsServer) -> None:
    """Frozen, sent to, given up, thawed: the stream gets at most what the peer's kernel had before the abort."""
    server = make_nats_server(monitor_port=0)
    server.start()
    payload, count = b"x" * 1_024, 16_384  # 16 MiB, more than both kernels and we ourselves keep
    async with running(server.url) as link:
        session = await works(link)
        assert await ask_api(session, "$JS.API.STREAM.CREATE.frozen", {"name": "frozen", "subjects": ["frozen.*"]})

        server.freeze()
        sink, sent = Sink(), 0

        async def send_all() -> None:
            nonlocal sent
            for start in range(0, count, 64):
                await session.send(frames(session, sink, 64, payload, start))
                sent += 64

        sending = asyncio.create_task(send_all())
        await until(lambda: session.lost.done(), 8.0, "the frozen server is noticed")
        arrived = session._pulse.taken
        with pytest.raises(LinkDown):
            await sending
        assert 0 < sent < count
        assert len(sink.reasons) == 1

        server.thaw()
        session = await works(link)
        await until(lambda: gone(server, 1), what="the server has read the old connection to its end")
        marker = Sink()
        await session.send([pub(b"frozen.marker", session.expect(marker, 0), b"")])
        await until(lambda: marker.answers, what="what came before the marker is stored")

    stored = [message for message in await messages(server.url, "frozen") if message.subject != "frozen.marker"]
    assert len(stored) < sent
    assert sum(len(message.data) for message in stored) <= arrived
    assert [message.subject for message in stored] == [f"frozen.{n}" for n in range(len(stored))]


async def test_nothing_is_sent_on_a_connection_that_is_closing(make_nats_server: MakeNatsServer) -> None:
    """Its socket is open for a moment yet: what went there could be stored, or be behind half a message."""
    server = make_nats_server(monitor_port=0)
    server.start()
    async with running(server.url) as link:
        session = await works(link)
        assert await ask_api(session, "$JS.API.STREAM.CREATE.frozen", {"name": "frozen", "subjects": ["frozen.*"]})
        session._wire._writer.close()
        with pytest.raises(LinkDown):
            await session.send(frames(session, Sink(), 1))
        await until(lambda: link.session not in (None, session), what="it is back")
        await until(lambda: gone(server, 1), what="the server has read the old connection to its end")
    assert await messages(server.url, "frozen") == []


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_what_the_kernel_takes_in_parts_arrives_whole(
    make_nats_server: MakeNatsServer, certificates: Certificates, scheme: str
) -> None:
    """More at once than all buffers hold, the payloads slices of something larger: each message as it was sent."""
    server = make_nats_server(config=certificates.tls() if scheme == "tls" else "")
    server.start()
    whole, size, count = memoryview(os.urandom(32 << 20)), 512 << 10, 64
    async with running(tls_url(server, scheme), tls_ca=certificates.ca if scheme == "tls" else None) as link:
        session = await works(link)
        assert await ask_api(session, "$JS.API.STREAM.CREATE.parts", {"name": "parts", "subjects": ["parts"]})
        sink, parts = Sink(), [whole[at * size : (at + 1) * size] for at in range(count)]
        pieces = [frame(b"parts", session.expect(sink, at), b"", part) for at, part in enumerate(parts)]
        server.freeze()
        sending = asyncio.create_task(session.send([piece for message in pieces for piece in message]))
        await until(lambda: session._client.buffered, what="the kernel takes no more")
        server.thaw()
        await sending
        await until(lambda: len(sink.answers) == count, what="all are stored")
        for at, part in enumerate(parts, 1):
            answer = await ask_api(session, "$JS.API.STREAM.MSG.GET.parts", {"seq": at})
            assert answer is not None
            assert base64.b64decode(answer["message"]["data"]) == part


def gone(server: NatsServer, count: int) -> bool:
    """Whether so many connections of the link have ended, by the server's own account."""
    with urllib.request.urlopen(f"{server.monitor_url}/connz?state=closed") as answer:
        closed: list[dict[str, Any]] = json.load(answer)["connections"]
    return [connection.get("name") for connection in closed].count("syncdaemon test") >= count


@pytest.mark.alone
async def test_answers_to_probes_that_come_late_do_no_harm(nats_server: NatsServer) -> None:
    """A pause of 2.5 s leaves several PONGs to come at once; the same session goes on."""
    async with running(nats_server.url) as link:
        session = await works(link)
        nats_server.freeze()
        await until(lambda: time.monotonic() - session.proved_at > 2.5, what="several probes are unanswered")
        nats_server.thaw()
        await until(lambda: time.monotonic() - session.proved_at < 0.5, 2.0, "the probes are answered")
        assert await ask_api(session, "$JS.API.INFO")
        assert link.session is session
        assert link.connects == 1
        reading = session._client._reading_task
        assert reading is not None
        assert not reading.done()


async def test_an_answer_that_nobody_waits_for_is_dropped(nats_server: NatsServer) -> None:
    """A second answer to one message, or one to a message of long ago, changes nothing."""
    async with running(nats_server.url) as link:
        session = await works(link)
        sink = Sink()
        reply = session.expect(sink, 7)
        stray = b"%b%d" % (reply[: reply.rindex(b".") + 1], 999_999)
        for subject, text in ((reply, b"first"), (reply, b"second"), (stray, b"stray")):
            await session.send([pub(subject, b"", text)])
        await works(link)
        assert sink.answers == {7: b"first"}


def consumer(name: str) -> dict[str, Any]:
    """A request for a consumer of the stream `s` that gives every message, and asks for no acknowledgement."""
    return {"stream_name": "s", "config": {"name": name, "ack_policy": "none", "inactive_threshold": 60_000_000_000}}


async def test_what_is_said_of_an_earlier_request_is_no_answer_to_the_next(nats_server: NatsServer) -> None:
    """A server tells that a request is complete after its last message, when the next may be under way already."""
    async with running(nats_server.url) as link:
        session = await link.wait_up()
        await ask_api(session, "$JS.API.STREAM.CREATE.s", {"name": "s", "subjects": ["s"]})
        for _ in range(6):
            await session.request("s", b"x")
        await ask_api(session, "$JS.API.CONSUMER.CREATE.s.c", consumer("c"))
        async with session.converse("$JS.API.CONSUMER.MSG.NEXT.s.c") as conversation:
            for _ in range(3):
                await conversation.ask(b'{"batch": 2, "max_bytes": 100000, "no_wait": true}')
                heard = [await conversation.next(5), await conversation.next(5)]
                assert [(one.subject, one.data) for one in heard] == [(b"s", b"x")] * 2
                await ask_api(session, "$JS.API.STREAM.INFO.s")  # by now it has said so
            await conversation.ask(b'{"batch": 2, "no_wait": true}')
            assert b"404" in ((await conversation.next(5)).headers or b"")


async def test_requests_to_ever_new_subjects_leave_nothing_behind(nats_server: NatsServer) -> None:
    """As those for consumers of their own, a few for every large file."""
    async with running(nats_server.url) as link:
        session = await link.wait_up()
        for start in range(0, 3_000, 100):
            await asyncio.gather(*(session.request(f"nobody.{number}") for number in range(start, start + 100)))
            assert len(session._requests) <= 1_101


async def test_a_conversation_that_is_hung_up_is_heard_to_its_end(nats_server: NatsServer) -> None:
    """What the server sent until then is there when a request that was sent later is answered; and nothing after."""
    async with running(nats_server.url) as link:
        session = await link.wait_up()
        await ask_api(session, "$JS.API.STREAM.CREATE.s", {"name": "s", "subjects": ["s"]})
        await ask_api(session, "$JS.API.CONSUMER.CREATE.s.c", consumer("c"))
        async with session.converse("$JS.API.CONSUMER.MSG.NEXT.s.c") as conversation:
            await conversation.ask(b'{"batch": 1000, "expires": 30000000000}')
            for _ in range(100):
                await session.request("s", b"x" * 10_000)
            await conversation.hang_up()
            await ask_api(session, "$JS.API.STREAM.INFO.s")
            told = await ask_api(session, "$JS.API.CONSUMER.INFO.s.c")
            assert told is not None
            heard = [one for one in conversation.rest() if one.reply]
            assert len(heard) == told["delivered"]["consumer_seq"] > 0
            await session.request("s", b"late")
            await ask_api(session, "$JS.API.STREAM.INFO.s")
            assert conversation.rest() == []


@pytest.mark.alone
async def test_a_server_in_lame_duck_mode_is_left_for_the_next(make_nats_server: MakeNatsServer) -> None:
    """As soon as it says so, long before it closes the connection."""
    first, second = make_nats_server(), make_nats_server()
    first.start()
    second.start()
    changes = Changes()
    async with running(first.url, second.url, changes=changes) as link:
        await works(link)
        os.kill(first.pid, signal.SIGUSR2)
        await until(lambda: link.shown_url == second.url and link.session, 3.0, "the link moves on")
        await works(link)
        assert "lame duck" in changes[1]
    first.kill()


async def test_the_largest_payload_follows_what_the_server_tells(nats_server: NatsServer) -> None:
    """A later INFO changes it under the same session."""
    async with running(nats_server.url) as link:
        session = await works(link)
        assert session.max_payload == 1 << 20
        await session._client._ps.parse(b'INFO {"max_payload":4096}\r\n')
        assert session.max_payload == 4_096
        await works(link)


# Logins.


@asynccontextmanager
async def dripping(answer: bytes, piece: int, seconds: float) -> AsyncIterator[str]:
    """A server whose answer to any message comes in pieces, and the answers to probes behind it; its URL."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_id": "x", "server_name": "x", "version": "2.15.1", "headers": True, "max_payload": 1 << 20}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        with suppress(ConnectionError):
            while line := await reader.readline():
                if line.startswith(b"PING"):
                    writer.write(b"PONG\r\n")
                elif line.startswith(b"PUB"):
                    _, _, reply, size = line.split()
                    await reader.readexactly(int(size) + 2)
                    whole = b"MSG %b 1 %d\r\n%b\r\n" % (reply, len(answer), answer)
                    for at in range(0, len(whole), piece):
                        writer.write(whole[at : at + piece])
                        await asyncio.sleep(seconds)
        writer.close()

    server = await asyncio.start_server(greet, HOST, 0)
    try:
        yield f"nats://{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.alone
async def test_a_long_answer_over_a_slow_link_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes longer than a server may be silent, and than it may leave a message unanswered."""
    monkeypatch.setattr("syncdaemon.link.pulse.SILENT_SECONDS", 1.0)
    monkeypatch.setattr("syncdaemon.link.pace.patience.ANSWER_SECONDS", 1.5)
    answer = bytes(100_000)
    async with dripping(answer, 5_000, 0.2) as url, running(url) as link:
        session = await link.wait_up()
        assert await session.request("slow", b"tell me") == (answer, None)
        assert not session.lost.done()


async def test_a_long_answer_that_stops_in_the_middle_is_a_dead_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came of it before proves nothing for ever."""
    monkeypatch.setattr("syncdaemon.link.pulse.SILENT_SECONDS", 1.0)
    async with dripping(bytes(10_000), 5_000, 30.0) as url, running(url) as link:
        session = await link.wait_up()
        with pytest.raises(LinkDown, match="silent"):
            await asyncio.wait_for(session.request("slow", b"tell me"), 10.0)


def authorization(*users: str) -> str:
    return "authorization {\nusers: [\n" + "\n".join(users) + "\n]\n}"


EDGE = f"{{user: edge, password: {PASSWORD}}}"


async def test_user_and_password(make_nats_server: MakeNatsServer) -> None:
    """As settings, and as a part of the URL, which is never shown."""
    server = make_nats_server(config=authorization(EDGE))
    server.start()
    async with running(server.url, user="edge", password=PASSWORD) as link:
        await works(link)
    async with running(f"nats://edge:{PASSWORD}@{HOST}:{server.port}") as link:
        await works(link)
        assert link.shown_url == server.url


async def test_a_token(make_nats_server: MakeNatsServer) -> None:
    """As a setting, and as a part of the URL."""
    server = make_nats_server(config=f"authorization {{ token: {PASSWORD} }}")
    server.start()
    async with running(server.url, token=PASSWORD) as link:
        await works(link)
    async with running(f"nats://{PASSWORD}@{HOST}:{server.port}") as link:
        await works(link)
        assert link.shown_url == server.url


async def test_an_nkey_seed(make_nats_server: MakeNatsServer, tmp_path: Path) -> None:
    """Read from its file at each connect; another's seed is refused."""
    _, public, seed = key_pair(nkeys.PREFIX_BYTE_USER)
    file = tmp_path / "seed.nk"
    file.write_text(seed + "\n")
    server = make_nats_server(config=authorization(f"{{nkey: {public}}}"))
    server.start()
    async with running(server.url, nkey_seed=file) as link:
        await works(link)

    file.write_text(key_pair(nkeys.PREFIX_BYTE_USER)[2])
    async with running(server.url, nkey_seed=file) as link:
        assert "credentials" in await refusal(link)
        file.write_text(seed)
        await works(link)


async def test_creds(make_nats_server: MakeNatsServer, tmp_path: Path) -> None:
    """A JWT and its key; those of another operator's account are refused, with no part of them in the reason."""
    operator = Operator()
    server = make_nats_server(config=operator.config)
    server.start()
    file = tmp_path / "site.creds"
    file.write_text(operator.creds())
    async with running(server.url, creds=file) as link:
        await works(link)

    file.write_text(Operator().creds())
    async with running(server.url, creds=file) as link:
        reason = await refusal(link)
        assert "credentials" in reason
        assert not any(line in reason for line in file.read_text().splitlines() if len(line) > 40)


async def test_refused_credentials_are_told_once_and_clearly(make_nats_server: MakeNatsServer) -> None:
    """One reason for any number of attempts; it names the settings to look at, and not the password."""
    server = make_nats_server(config=authorization(EDGE))
    server.start()
    wrong = "wrong-" + PASSWORD
    with structlog.testing.capture_logs() as logged:
        async with running(f"nats://edge:{wrong}@{HOST}:{server.port}") as link:
            reason = await refusal(link)
            await until(lambda: link._failures > 2, what="some attempts fail")
    assert [line["reason"] for line in logged if line["event"] == "no_connection"] == [reason]
    assert reason.startswith(f"{server.url}: Authorization Violation: the server refused the credentials; check NATS_")
    assert PASSWORD not in repr(logged) + reason


async def test_credentials_that_were_refused_and_are_restored_work_again(make_nats_server: MakeNatsServer) -> None:
    """Taken from a running connection, and given back later: the link recovers by itself both times."""
    server = make_nats_server(config=authorization(EDGE))
    server.start()
    changes = Changes()
    async with running(server.url, user="edge", password=PASSWORD, changes=changes) as link:
        await works(link)

        server.stop()
        server.config = authorization("{user: edge, password: another}")
        server.start()
        await until(lambda: "credentials" in link.problem, what="the refusal is told")
        assert PASSWORD not in link.problem + repr(changes)

        server.stop()
        server.config = authorization(EDGE)
        server.start()
        await works(link, within=15.0)


async def test_credentials_that_are_taken_away_by_a_reload_end_the_session(make_nats_server: MakeNatsServer) -> None:
    """The server closes the connection; given back, the next attempt is let in."""
    server = make_nats_server(config=authorization(EDGE))
    server.start()
    config = server.folder / "nats-server.conf"
    granted = config.read_text()
    async with running(server.url, user="edge", password=PASSWORD) as link:
        await works(link)
        config.write_text(granted.replace(PASSWORD, "another"))
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: "credentials" in link.problem, what="the refusal is told")
        config.write_text(granted)
        os.kill(server.pid, signal.SIGHUP)
        await works(link, within=15.0)


async def test_an_inbox_that_may_not_be_subscribed_to_is_said(make_nats_server: MakeNatsServer) -> None:
    """Without it no answer ever comes; the link does not count as up for long, and says which right is missing."""
    denied = f"{{user: edge, password: {PASSWORD}, permissions: {{subscribe: {{deny: ['_INBOX.>']}}}}}}"
    server = make_nats_server(config=authorization(denied))
    server.start()
    async with running(server.url, user="edge", password=PASSWORD) as link:
        await until(lambda: "permissions violation for subscription" in link.problem, what="the reason is told")


# TLS.


def tls_url(server: NatsServer, scheme: str = "tls") -> str:
    return f"{scheme}://{HOST}:{server.port}"


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_tls_with_an_authority_of_our_own(
    make_nats_server: MakeNatsServer, certificates: Certificates, scheme: str
) -> None:
    """Under `tls://`, and under `nats://` where the server asks for TLS; then the connection is encrypted."""
    server = make_nats_server(config=certificates.tls() + "\n" + authorization(EDGE))
    server.start()
    url = tls_url(server, scheme)
    async with running(url, user="edge", password=PASSWORD, tls_ca=certificates.ca) as link:
        session = await works(link)
        assert isinstance(session._wire._writer.get_extra_info("ssl_object"), ssl.SSLObject)


def listens(server: NatsServer) -> bool:
    """Whether the server is there, which says nothing of itself."""
    with suppress(OSError), socket.create_connection((HOST, server.port), 1.0):
        return True
    return False


async def test_tls_before_the_greeting(
    make_nats_server: MakeNatsServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `handshake_first` of the server wants it, which says nothing in the clear. A side that differs is told so."""
    clear = make_nats_server(config=certificates.tls() + "\n" + authorization(EDGE))
    clear.start()
    monkeypatch.setattr(NatsServer, "_greets", listens)
    server = make_nats_server(config=certificates.tls("handshake_first: true") + "\n" + authorization(EDGE))
    server.start()
    login: dict[str, Any] = {"user": "edge", "password": PASSWORD, "tls_ca": certificates.ca}
    for scheme in ("tls", "nats"):
        async with running(tls_url(server, scheme), **login, tls_first=True) as link:
            session = await works(link)
            assert isinstance(session._wire._writer.get_extra_info("ssl_object"), ssl.SSLObject)
    async with running(tls_url(server), **login) as link:
        assert "NATS_TLS_FIRST=true" in await refusal(link, within=8.0)
    async with running(tls_url(clear), **login, tls_first=True) as link:
        assert "NATS_TLS_FIRST=false" in await refusal(link, within=8.0)


async def test_a_visit_tells_how_it_is_encrypted(
    make_nats_server: MakeNatsServer, certificates: Certificates, nats_server: NatsServer
) -> None:
    """And for how long the server's certificate is good; to the first server of several that lets us in."""
    server = make_nats_server(config=certificates.tls())
    server.start()
    nobody = f"nats://{HOST}:{own_port()}"
    async with visit(LinkSettings((nobody, tls_url(server)), "a visit", tls_ca=certificates.ca)) as session:
        assert session.tls is not None
        assert session.tls[0].startswith("TLSv1.")
        assert 1.0 < (ssl.cert_time_to_seconds(session.tls[1]) - time.time()) / 86_400 < 3.0
        assert (await ask_api(session, "$JS.API.INFO")) is not None
    async with visit(LinkSettings((nats_server.url,), "a visit")) as session:
        assert session.tls is None


async def test_a_visit_that_nobody_wants_says_why() -> None:
    """Of every server."""
    urls = tuple(f"nats://{HOST}:{own_port()}" for _ in range(2))
    with pytest.raises(ConnectTimeout) as caught:
        async with visit(LinkSettings(urls, "a visit")):
            pass
    assert all(url in str(caught.value) for url in urls)


async def test_a_frozen_server_is_noticed_and_aborted_behind_tls_too(
    make_nats_server: MakeNatsServer, certificates: Certificates
) -> None:
    """With more to send than any buffer holds: what is unsent is known, and the abort does not wait for the peer."""
    server = make_nats_server(config=certificates.tls())
    server.start()
    async with running(tls_url(server), tls_ca=certificates.ca) as link:
        session = await works(link)
        server.freeze()
        sink = Sink()
        sending = asyncio.create_task(session.send(frames(session, sink, 320, b"x" * 65_536)))
        await until(lambda: session._client.buffered > 8 << 20, what="what waits below TLS is counted too")
        assert session._wire.unsent() >= session._client.buffered
        await until(lambda: link.session is None and sink.reasons, 8.0, "the frozen server is noticed")
        with pytest.raises(LinkDown):
            await sending
        server.thaw()
        await works(link, within=2.0)
        assert len(sink.reasons) == 1


async def test_a_server_of_a_strange_authority_is_refused(
    make_nats_server: MakeNatsServer, certificates: Certificates
) -> None:
    """The reason speaks of its certificate."""
    server = make_nats_server(config=certificates.tls())
    server.start()
    async with running(tls_url(server), tls_ca=certificates.other_ca) as link:
        assert "certificate verify failed" in await refusal(link)


async def test_a_server_whose_certificate_has_another_name_is_refused(
    make_nats_server: MakeNatsServer, certificates: Certificates
) -> None:
    """Though an authority that we trust has signed it."""
    server = make_nats_server(config=certificates.tls())
    server.start()
    other_name = "127.1"  # another way to write the server's address, which its certificate does not have
    async with running(f"tls://{other_name}:{server.port}", tls_ca=certificates.ca) as link:
        assert "certificate verify failed" in await refusal(link)


async def test_a_client_certificate(make_nats_server: MakeNatsServer, certificates: Certificates) -> None:
    """Shown where the server asks for it; without one the connection is refused."""
    server = make_nats_server(config=certificates.mutual())
    server.start()
    ca, cert, key = certificates.ca, certificates.client_cert, certificates.client_key
    async with running(tls_url(server), tls_ca=ca, tls_cert=cert, tls_key=key) as link:
        await works(link)
    async with running(tls_url(server), tls_ca=ca) as link:
        assert "certificate" in await refusal(link)


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(32, "Broken pipe"), ConnectionResetError(104, "Connection reset by peer"), OSError("lost")],
    ids=["broken pipe", "reset", "lost"],
)
def test_a_tls_connection_that_is_cut_off_speaks_of_the_certificate(error: OSError) -> None:
    """Which of these a server's refusal comes as depends on who is quicker; the remedy is the same."""
    assert "NATS_TLS_CERT" in explain(error, "tls://127.0.0.1:4222")
    assert "certificate" not in explain(error, "nats://127.0.0.1:4222")


@asynccontextmanager
async def without_tls() -> AsyncIterator[tuple[int, bytearray]]:
    """A server that offers no TLS: its port, and all that it is sent."""
    heard = bytearray()
    asked = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_id": "x", "server_name": "x", "version": "2.15.1", "headers": True, "max_payload": 1024}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                heard.extend(data)
        asked.set()
        writer.close()

    server = await asyncio.start_server(greet, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
        await asyncio.wait_for(asked.wait(), 5.0)
    finally:
        server.close()


@pytest.mark.parametrize("login", [{"user": "edge", "password": PASSWORD}, {"token": PASSWORD}])
async def test_a_tls_url_never_sends_credentials_in_the_clear(login: dict[str, Any]) -> None:
    """To a server that offers no TLS not a byte is sent, and the reason says so."""
    async with without_tls() as (port, heard), running(f"tls://{HOST}:{port}", **login) as link:
        assert "offers no TLS" in await refusal(link)
    assert heard == b""


async def test_an_authority_to_trust_means_tls_under_any_url(certificates: Certificates) -> None:
    """Who names a CA wants TLS: a server, or somebody in between, that offers none gets no password."""
    async with (
        without_tls() as (port, heard),
        running(f"nats://{HOST}:{port}", user="edge", password=PASSWORD, tls_ca=certificates.ca) as link,
    ):
        await refusal(link, within=7.0)
    assert heard == b""


async def test_a_tls_url_to_a_real_server_without_tls_is_refused(nats_server: NatsServer) -> None:
    """The same with the real one."""
    async with running(tls_url(nats_server)) as link:
        assert "offers no TLS" in await refusal(link)


# Rights, as a daemon meets them.

ADMIN = "{user: admin, password: admin}"


def edge_with(permissions: str) -> str:
    return f"{{user: edge, password: {PASSWORD}, permissions: {{{permissions}}}}}"


def admin_url(server: NatsServer) -> str:
    return f"nats://admin:admin@{HOST}:{server.port}"


def test_a_subject_that_may_not_be_published_to_ends_the_daemon(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """At the first contact, with exit code 2 and one line that names SYNC_SUBJECT; the file stays."""
    server = make_nats_server(config=authorization(edge_with("publish: {deny: ['edge.replay.>']}")))
    server.start()
    daemon = make_daemon(server.url, NATS_USER="edge", NATS_PASSWORD=PASSWORD)
    daemon.drop("evidence.bin", b"evidence")
    daemon.launch()
    assert daemon.ended(15) == 2

    said = [line for line in daemon.log().splitlines() if not line.startswith("{")]
    assert len(said) == 1
    assert said[0].startswith("syncdaemon: SYNC_SUBJECT: these credentials may not publish to edge.replay.")
    assert PASSWORD not in daemon.log()
    assert [path.name for path in daemon.waiting()] == ["evidence.bin"]


async def test_a_stream_that_may_not_be_looked_at_works_with_a_warning(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """Its settings can't be checked, and that is said; the delivery goes on."""
    server = make_nats_server(
        config=authorization(ADMIN, edge_with("publish: {deny: ['$JS.API.STREAM.INFO.>', '$JS.API.STREAM.CREATE.>']}"))
    )
    server.start()
    client = await connect(admin_url(server))
    await client.jetstream().add_stream(name="swarm_jobs", subjects=["edge.replay.>"])
    await client.close()

    daemon = make_daemon(server.url, NATS_USER="edge", NATS_PASSWORD=PASSWORD)
    daemon.start()
    daemon.drop("evidence.bin", b"evidence")
    eventually(lambda: daemon.rows("published"), what="the file is delivered")
    assert daemon.metric("edge_link_status") == 1
    assert daemon.stop() == 0
    assert [message.data for message in await messages(admin_url(server), "swarm_jobs")] == [b"evidence"]
    warned = [json.loads(line) for line in daemon.log().splitlines() if "stream_unseen" in line]
    assert [line["level"] for line in warned] == ["warning"]
    assert "permissions violation" in warned[0]["reason"]


def test_a_stream_that_is_missing_and_may_not_be_created_ends_the_daemon(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """With one line that names SYNC_STREAM."""
    server = make_nats_server(config=authorization(edge_with("publish: {deny: ['$JS.API.STREAM.CREATE.>']}")))
    server.start()
    daemon = make_daemon(server.url, NATS_USER="edge", NATS_PASSWORD=PASSWORD)
    daemon.launch()
    assert daemon.ended(15) == 2
    said = [line for line in daemon.log().splitlines() if not line.startswith("{")]
    assert len(said) == 1
    assert said[0].startswith("syncdaemon: SYNC_STREAM: swarm_jobs is missing, and may not be created")
