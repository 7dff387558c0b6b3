"""A server, or what stands in its place, that sends anything at all: no end of the process, no file lost, no memory."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.base.errors import LinkDown
from syncdaemon.base.tasks import cancel
from syncdaemon.link import Link, LinkSettings, Session
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.hostile import INFO, STREAM, HostileServer, greeting
from tests.support.server import MakeNatsServer

pytestmark = pytest.mark.integration

BLOCK = bytes(1 << 20)


def repeat(piece: bytes, times: int) -> list[bytes]:
    """The same piece again and again."""
    return [piece] * times


@asynccontextmanager
async def linked(server: HostileServer, losses: list[str] | None = None) -> AsyncIterator[Link]:
    """A link to this server, which must never end by itself. `losses` gets the reason of each."""

    def changed(session: Session | None, reason: str) -> None:
        if losses is not None and session is None:
            losses.append(reason)

    link = Link(LinkSettings((server.url,), "test"), changed)
    running = asyncio.create_task(link.run())
    try:
        yield link
        assert not running.done()
    finally:
        await cancel([running])


async def until(check: Callable[[], object], within: float = 10.0) -> None:
    """Returns as soon as `check` is true."""
    async with asyncio.timeout(within):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


MAX_PAYLOADS: tuple[object, ...] = ("x", None, 0, -1, 1.5, True, [1], {})
GREETINGS: dict[str, bytes] = {
    **{f"max_payload {told}": greeting(max_payload=told) for told in MAX_PAYLOADS},
    "no JSON": b"INFO {]\r\n",
    "a list": b"INFO [1]\r\n",
    "a number": b"INFO 7\r\n",
    "null": b"INFO null\r\n",
    "nothing": b"INFO \r\n",
    "no INFO": b"HELLO\r\n",
    "no UTF-8": b"INFO \xff\xfe\r\n",
    "nested": b"INFO " + b"[" * 20_000 + b"\r\n",
    "digits": b'INFO {"max_payload":' + b"9" * 5_000 + b"}\r\n",
    "endless": b"INFO " + b"x" * 400_000,
    "addresses that are none": greeting(tls_required="yes", connect_urls=["[", 7]),
}


@pytest.mark.parametrize("line", GREETINGS.values(), ids=GREETINGS.keys())
async def test_a_greeting_that_is_none_is_told_and_waited_out(line: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The link says why there is no connection, and tries again with ever longer pauses; nothing is a traceback."""
    with HostileServer(greeting=line) as server:
        async with linked(server) as link:
            await until(lambda: "not connected yet" not in link.problem and link.problem)
            await until(lambda: server.connections >= 2, 20.0)
            assert link.session is None
            assert server.url in link.problem
            assert len(link.problem) < 500
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def lines(*some: bytes) -> Iterable[bytes]:
    """Each as it is, over and over, to a server's heart's content: 64 MiB of them."""
    block = b"".join(some) * (65_536 // len(b"".join(some)) + 1)
    return repeat(block, 1_024)


GARBAGE: dict[str, Iterable[bytes]] = {
    "a message of 2 GB": [b"MSG a 1 2000000000\r\n", *repeat(BLOCK, 64)],
    "a message with headers of 2 GB": [b"HMSG a 1 12 2000000000\r\n", *repeat(BLOCK, 64)],
    "one byte over the most": [b"MSG a 1 %d\r\n" % (3 * (1 << 20) + 1)],
    "a negative size": [b"MSG a 1 -5\r\n"],
    "a size of no digits": [b"MSG a 1 x\r\n"],
    "a size of 5,000 digits": [b"MSG a 1 " + b"9" * 5_000 + b"\r\n"],
    "a size in other digits": ["MSG a 1 ٣\r\n".encode()],
    "a number of no digits": [b"MSG a one 5\r\nhello\r\n"],
    "headers longer than the message": [b"HMSG a 1 20 10\r\n0123456789\r\n"],
    "a message that goes on": [b"MSG a 1 2\r\nhello\r\n"],
    "too few words": [b"MSG\r\n"],
    "too many words": [b"MSG a 1 b c d 5\r\nhello\r\n"],
    "an unknown word": [b"HELP\r\n"],
    "an empty line": [b"\r\n"],
    "a line without an end": repeat(b"x" * 65_536, 1_024),
    "a MSG without an end": [b"MSG ", *repeat(b"x" * 65_536, 1_024)],
    "an -ERR without words": [b"-ERR\r\n"],
    "an -ERR without quotes": [b"-ERR nope\r\n"],
    "an -ERR that is no text": [b"-ERR '\xff\xfe'\r\n"],
    "a flood of -ERR": lines(b"-ERR 'no'\r\n"),
    "denied, again and again": [b"-ERR 'Permissions Violation for Publish to \"$js.api.stream.info.jobs\"'\r\n" * 500],
    "an INFO of text": [b'INFO "x"\r\n'],
    "an INFO that is nested": [b"INFO " + b"[" * 20_000 + b"\r\n"],
    "an INFO with max_payload null": [greeting(max_payload=None)],
    "an INFO with max_payload 0": [greeting(max_payload=0)],
    "an INFO with max_payload -1": [greeting(max_payload=-1)],
}


@pytest.mark.parametrize("then", GARBAGE.values(), ids=GARBAGE.keys())
async def test_what_is_not_the_protocol_ends_the_connection_in_words(
    then: Iterable[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """At once, and not only when the silence is noticed; then the link tries again."""
    losses: list[str] = []
    with HostileServer(then=then) as server:
        async with linked(server, losses):
            await until(lambda: losses or server.connections >= 2)
            assert not any("silent" in loss for loss in losses)
            assert all(len(loss) <= 300 for loss in losses)
            await until(lambda: server.connections >= 2)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


HARMLESS: dict[str, Iterable[bytes]] = {
    "answers that nothing waits for": [b"MSG a 99 5\r\nhello\r\n" * 1_000],
    "words in our inbox that are no token": [b"MSG _INBOX.x.y 1 5\r\nhello\r\n", b"MSG x 1 5\r\nhello\r\n"],
    "+OK": [b"+OK\r\n" * 1_000],
    "PONG": [b"PONG\r\n" * 1_000],
    "PING": [b"PING\r\n" * 1_000],
    "addresses": [greeting(connect_urls=[f"10.0.{at >> 8}.{at & 255}:4222" for at in range(1_000)])] * 20,
    "addresses that are none": [greeting(connect_urls=["[", 7, None])],
    "a max_payload that no server has": [greeting(max_payload=2**62)],
}


@pytest.mark.parametrize("then", HARMLESS.values(), ids=HARMLESS.keys())
async def test_what_is_odd_and_harms_nothing_is_passed_over(then: Iterable[bytes]) -> None:
    """The same connection answers afterwards; nothing of it is kept."""
    with HostileServer(then=then) as server:
        async with linked(server) as link:
            session = await link.wait_up()
            body, _ = await asyncio.wait_for(session.request("$JS.API.STREAM.INFO.jobs"), 10.0)
            await asyncio.sleep(0.2)
            assert json.loads(body)["config"]["name"] == "swarm_jobs"
            assert not session.lost.done()
            assert session.max_payload <= 64 << 20
            assert len(session._client._server_pool) == 1


@pytest.mark.parametrize(("times", "data"), [(100_000, b"x"), (100, BLOCK)])
async def test_more_than_was_asked_for_ends_the_connection(times: int, data: bytes) -> None:
    """A conversation that asked for 4 messages does not keep 100,000, nor 100 of the largest."""
    with HostileServer() as server:
        async with linked(server) as link:
            session = await link.wait_up()
            async with session.converse("jobs.next") as conversation:
                await conversation.ask(b"4")
                for _ in range(times):
                    conversation.hear(b"jobs.1", b"$JS.ACK.jobs.c.1.1.1.1.0", data, None)
                assert sum(len(heard.data) for heard in conversation.rest()) <= 64 << 20
                with pytest.raises(LinkDown, match="more than was asked for"):
                    await conversation.next(5.0)


def resident(daemon: DaemonProcess, which: str = "VmHWM") -> int:
    """Bytes of memory: the most that it ever had, or `VmRSS` that it has now."""
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(which))
    return int(line.split()[1]) << 10


FLOODS: dict[str, Iterable[bytes]] = {
    "a message of 2 GB, of which 400 MB come": [b"MSG a 1 2000000000\r\n", *repeat(BLOCK, 400)],
    "400 MB without a line's end": repeat(BLOCK, 400),
    "probes": repeat(b"PING\r\n" * 10_000, 1_000),
    "addresses": (
        greeting(connect_urls=[f"10.{turn}.{at >> 8}.{at & 255}:4222" for at in range(1_000)]) for turn in range(2_000)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("then", FLOODS.values(), ids=FLOODS.keys())
def test_memory_is_bounded(make_daemon: MakeDaemon, then: Iterable[bytes]) -> None:
    """Of the process, whatever is sent to it: it grows by less than 40 MiB, and lives on."""
    with HostileServer(then=then) as server:
        daemon = make_daemon(server.url)
        daemon.start()
        before = resident(daemon, "VmRSS")
        eventually(lambda: server.connections >= 1, what="it connects")
        time.sleep(8)
        assert resident(daemon) - before < 40 << 20
        assert "Traceback" not in daemon.log()
        assert daemon.stop() == 0


# Acknowledgements.

ACKS: dict[str, tuple[dict[str, Any], str]] = {
    "another stream": ({"stream": "OTHER", "seq": 1}, "OTHER"),
    "another stream, a duplicate": ({"stream": "OTHER", "seq": 1, "duplicate": True}, "OTHER"),
    "another domain": ({"stream": "swarm_jobs", "domain": "elsewhere", "seq": 1}, "elsewhere"),
    "a domain that is no text": ({"stream": "swarm_jobs", "domain": 7, "seq": 1}, "int"),
    "no stream": ({"seq": 1}, "seq"),
    "a sequence of 2^64": ({"stream": "swarm_jobs", "seq": 2**64}, "18446744073709551616"),
    "a sequence of 2^63": ({"stream": "swarm_jobs", "seq": 2**63}, "9223372036854775808"),
    "a sequence of 0": ({"stream": "swarm_jobs", "seq": 0}, "swarm_jobs"),
    "a sequence of 5,000 digits": ({"stream": "swarm_jobs", "seq": 10**4_000}, "swarm_jobs"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("ack", "named"), ACKS.values(), ids=ACKS.keys())
def test_an_acknowledgement_that_is_not_ours_lets_no_file_go(
    make_daemon: MakeDaemon, ack: dict[str, Any], named: str
) -> None:
    """The file stays, the pause names what answered, and the message is not sent again and again."""
    with HostileServer(ack=lambda: json.dumps(ack).encode()) as server:
        daemon = make_daemon(server.url)
        daemon.drop(b"evidence", b"1")
        daemon.start()
        eventually(lambda: daemon.logged("lane_paused"), what="the lane pauses")
        time.sleep(4)
        pause = daemon.logged("lane_paused")[0]
        assert named in pause["detail"]
        assert pause["reason"] in ("other_stream_acknowledged", "unreadable_answer")
        if "stream" in ack and pause["reason"].startswith("other"):
            assert "swarm_jobs" in pause["detail"]
        assert (daemon.replay / "evidence").read_bytes() == b"1"
        assert daemon.rows_so_far("published") == daemon.rows_so_far("duplicate") == []
        assert server.published <= 4
        assert "Traceback" not in daemon.log()
        assert daemon.stop() == 0


@pytest.mark.slow
def test_an_acknowledgement_of_our_stream_and_domain_counts(make_daemon: MakeDaemon) -> None:
    """The control of the tests above."""
    ack = b'{"stream":"swarm_jobs","domain":"hub","seq":7}'
    with HostileServer(stream=STREAM | {"domain": "hub"}, ack=lambda: ack) as server:
        daemon = make_daemon(server.url)
        daemon.drop(b"evidence", b"1")
        daemon.start()
        eventually(lambda: daemon.rows_so_far("published"), what="the receipt")


@pytest.mark.slow
def test_with_a_real_server_that_has_a_domain(make_nats_server: MakeNatsServer, make_daemon: MakeDaemon) -> None:
    """Its acknowledgements name the domain, as the stream's info does; also in the life in which the stream is made."""
    server = make_nats_server(jetstream="domain: hub")
    server.start()
    daemon = make_daemon(server.url)
    daemon.drop(b"small", b"1")
    daemon.drop(b"large", bytes(3 << 20))
    daemon.start()
    eventually(lambda: len(daemon.rows_so_far("published")) == 2, what="both are delivered")
    assert not daemon.logged("lane_paused")
    assert daemon.stop() == 0


API: dict[str, bytes] = {
    "a list": b"[]",
    "no JSON": b"{",
    "null": b"null",
    "nested": b"[" * 50_000,
    "a stream of lists": b'{"config":[],"state":[]}',
    "an endless refusal": json.dumps({"error": {"code": 500, "description": "x" * 1_000_000}}).encode(),
}


@pytest.mark.slow
@pytest.mark.parametrize("answer", API.values(), ids=API.keys())
def test_any_answer_of_the_api_is_a_pause(make_daemon: MakeDaemon, answer: bytes) -> None:
    """With words of a length that a log can bear."""
    with HostileServer(api=lambda subject: answer) as server:
        daemon = make_daemon(server.url)
        daemon.drop(b"evidence", b"1")
        daemon.start()
        eventually(lambda: daemon.logged("lane_paused"), what="the lane pauses")
        assert len(daemon.log()) < 20_000
        assert "Traceback" not in daemon.log()
        assert (daemon.replay / "evidence").exists()
        assert daemon.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("most", [0, -1, 1, 300])
def test_a_max_payload_that_no_message_fits_into_refuses_no_file(make_daemon: MakeDaemon, most: int) -> None:
    """The server is wrong, not the file: it stays, and health says what to raise."""
    with HostileServer(greeting=greeting(max_payload=most)) as server:
        daemon = make_daemon(server.url)
        daemon.drop(b"evidence", b"1")
        daemon.start()
        eventually(
            lambda: "max_payload" in daemon.ailment("lane") + daemon.ailment("link"), what="health names max_payload"
        )
        time.sleep(2)
        assert (daemon.replay / "evidence").exists()
        assert not daemon.rows_so_far("refused")
        assert server.published == 0
        assert daemon.stop() == 0


@pytest.mark.slow
def test_a_real_server_that_takes_too_little_is_waited_out(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """Small and large files are delivered when its `max_payload` is raised."""
    server = make_nats_server(config="max_payload: 300")
    server.start()
    daemon = make_daemon(server.url)
    daemon.drop(b"small", b"1")
    daemon.drop(b"large", bytes(3 << 20))
    daemon.start()
    eventually(lambda: "max_payload" in daemon.ailment("lane"), what="health names max_payload")
    assert not daemon.rows_so_far("refused")
    server.stop()
    server.config = "max_payload: 1MB"
    server.start()
    eventually(lambda: len(daemon.rows_so_far("published")) == 2, 60.0, "both are delivered")
    assert not daemon.rows_so_far("refused")
    assert daemon.stop() == 0


def test_the_greeting_of_these_tests_is_a_good_one() -> None:
    """So that what they change is what is wrong."""
    assert json.loads(greeting()[5:]) == INFO
