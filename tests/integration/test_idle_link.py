"""A link with nothing to send: what it costs, what is known of it, and how soon a file finds that it is dead."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable

import pytest

from benchmarks.idle import measure
from benchmarks.process import SITE
from benchmarks.process import DaemonProcess as BenchedDaemon
from benchmarks.wire import laid
from syncdaemon.base.tasks import background
from syncdaemon.dev.server import NatsServer
from syncdaemon.link import Link, LinkSettings, Session
from tests.support import needs
from tests.support.client import connect
from tests.support.daemon import DaemonProcess, Gauge, MakeDaemon, eventually
from tests.support.relay import Relay

pytestmark = pytest.mark.integration

FIRST_CONTACT, MONTH = 10_000, 30_000_000  # bytes


def ignore(_session: Session | None, _reason: str) -> None:
    """Nobody asks when the link comes and goes."""


async def until(check: Callable[[], bool], within: float) -> float:
    """The seconds until `check` is true."""
    began = time.monotonic()
    while not check():
        assert time.monotonic() - began < within, "in time"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_a_dead_link_is_found_when_there_is_something_to_send(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then its silence means nothing; and a request is something to send too."""
    monkeypatch.setattr("syncdaemon.link.pulse.SILENT_SECONDS", 1.0)
    waits = False
    link = Link(LinkSettings((nats_server.url,), "idle", probe_seconds=30.0), ignore, lambda: waits)
    async with background(link.run()):
        session = await link.wait_up()
        await until(lambda: session._pulse.rests, 2.0)
        nats_server.freeze()
        await asyncio.sleep(2.0)
        assert link.proved()
        assert link.session is session
        waits = True
        assert await until(lambda: link.session is None, 5.0) < 2.5
        assert not link.proved()
        nats_server.thaw()
        waits = False

        session = await link.wait_up()
        await until(lambda: session._pulse.rests, 2.0)
        nats_server.freeze()
        asking = asyncio.ensure_future(session.request("nobody.listens"))
        assert await until(lambda: session.lost.done(), 5.0) < 2.5
        await asyncio.wait((asking,))
        assert asking.exception() is not None
        nats_server.thaw()


async def test_an_idle_link_sends_next_to_nothing(nats_server: NatsServer) -> None:
    """No probe in two seconds; with the shortest pause there are some. The server itself asks once, soon after."""
    answer = len(b"PONG\r\n")
    for pause, least, most in ((30.0, 0, answer), (0.5, 2 * answer, 10 * answer)):
        relay = Relay(nats_server.port)
        link = Link(LinkSettings((relay.url,), "idle", probe_seconds=pause), ignore, lambda: False)
        try:
            async with background(link.run()):
                session = await link.wait_up()
                await asyncio.sleep(1.0)
                before = relay.sent
                await asyncio.sleep(2.0)
                assert least <= relay.sent - before <= most
                assert session is link.session
        finally:
            relay.close()


def idle_for(daemon: DaemonProcess, seconds: float) -> None:
    """The gauge is 1 all the time."""
    with Gauge(daemon, "edge_link_status") as seen:
        time.sleep(seconds)
    assert seen.curves["edge_link_status"] == [1]


@pytest.mark.lengthy
def test_a_file_that_comes_into_a_dead_idle_link_shows_it_within_six_seconds(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """Before it came, the link counted as up. After the thaw the file is delivered, and the link rests again."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    eventually(lambda: daemon.metric("edge_link_status") == 1, what="the link is up")
    time.sleep(5.0)
    nats_server.freeze()
    idle_for(daemon, 8.0)
    daemon.drop("evidence.bin", b"evidence")
    eventually(lambda: daemon.metric("edge_link_status") == 0, 6, "the gauge tells within 6 s")
    nats_server.thaw()
    eventually(lambda: daemon.metric("edge_link_status") == 1, 2, "it is back within 2 s")
    eventually(lambda: not daemon.waiting(), what="the file is delivered")
    assert daemon.stop() == 0


@pytest.mark.lengthy
def test_an_idle_dead_link_is_told_after_the_pause_and_five_seconds(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """With nothing to send."""
    daemon = make_daemon(nats_server.url, SYNC_PROBE_SECONDS="3")
    daemon.start()
    eventually(lambda: daemon.metric("edge_link_status") == 1, what="the link is up")
    time.sleep(5.0)
    nats_server.freeze()
    eventually(lambda: daemon.metric("edge_link_status") == 0, 3 + 5 + 0.5, "the gauge tells in time")
    nats_server.thaw()
    assert daemon.stop() == 0


@pytest.mark.lengthy
def test_a_healthy_link_never_counts_as_down_for_lack_of_a_probe(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """A file comes when the last proof is older than those of a busy link may be."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    eventually(lambda: daemon.metric("edge_link_status") == 1, what="the link is up")
    with Gauge(daemon, "edge_link_status") as seen:
        time.sleep(12.0)
        daemon.drop("evidence.bin", b"evidence")
        eventually(lambda: not daemon.waiting(), what="the file is delivered")
    assert seen.curves["edge_link_status"] == [1]
    assert daemon.stop() == 0


@pytest.mark.lengthy
@pytest.mark.timeout(300)
def test_an_idle_site_costs_little() -> None:
    """Over TLS, counted by the interface: the first contact, and two minutes that are projected to a month."""
    needs.root()
    needs.program("nft")
    found = measure(125.0, tls=True)
    assert found.contact.total <= FIRST_CONTACT
    assert found.month.total <= MONTH


@pytest.mark.lengthy
def test_a_first_contact_reads_no_message_of_the_stream() -> None:
    """The oldest message of the site is older than its ledger, and large."""
    needs.root()
    needs.program("nft")
    with laid(tls=False) as (wire, folder):
        with wire.edge:
            with BenchedDaemon(folder, wire.url):
                time.sleep(1.0)  # it makes the stream
            asyncio.run(_publish(wire.url, bytes(500_000)))
        (folder / "ledger").rename(folder / "ledger-that-was-lost")
        before = wire.counted()
        with wire.edge, BenchedDaemon(folder, wire.url):
            time.sleep(5.0)
            contact = wire.counted().since(before)
        assert "ledger_is_younger_than_stream" in (folder / "daemon.log").read_text()
    assert contact.total <= FIRST_CONTACT


@pytest.mark.lengthy
def test_a_first_contact_that_tries_the_rights_of_a_bucket_stays_cheap() -> None:
    """A large file made the bucket before, and nothing of it is held any more."""
    needs.root()
    needs.program("nft")
    with laid(tls=False) as (wire, folder):
        with wire.edge, BenchedDaemon(folder, wire.url, SYNC_HOLD_SECONDS="0") as daemon:
            (daemon.replay / "large.bin").write_bytes(bytes(3 << 20))
            eventually(lambda: not (daemon.replay / "large.bin").exists(), 30, "it is delivered")
            time.sleep(3.0)
        before = wire.counted()
        with wire.edge, BenchedDaemon(folder, wire.url, SYNC_HOLD_SECONDS="0"):
            time.sleep(5.0)
            contact = wire.counted().since(before)
    assert contact.total <= FIRST_CONTACT


async def _publish(url: str, data: bytes) -> None:
    client = await connect(url)
    try:
        digest = hashlib.sha256(data).hexdigest()
        await client.jetstream().publish(f"edge.replay.{SITE}.{digest}", data)
    finally:
        await client.close()
