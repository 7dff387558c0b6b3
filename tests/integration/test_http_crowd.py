"""However many connections are opened to the HTTP port, and whatever they do: probes get in, and delivery goes on.

The daemon runs as it is deployed: as user 10001, with a limit of open files.
"""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from syncdaemon.dev.server import HOST, NatsServer
from tests.support import needs
from tests.support.callers import Address, Crowd, get, many_descriptors, said, slowest
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually

pytestmark = [pytest.mark.integration, pytest.mark.alone]

USER = 10_001
PROBE_SECONDS = 1.0
LOG_BYTES = 20_000

METRICS = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
NEVER_SENT = b"Content-Length: 1000000\r\n\r\n"
CROWDS = {
    "idle": b"",
    "half a request": b"GET /livez HTT",
    "half a header": b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "a body that never comes": b"POST /livez HTTP/1.1\r\nHost: x\r\n" + NEVER_SENT,
    "a chunk that never ends": b"GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
    "an upgrade": b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "many requests whose answers are not read": METRICS * 1000,
}
_OFTEN = ("half a request", "many requests whose answers are not read")
EACH_CROWD = [crowd if crowd in _OFTEN else pytest.param(crowd, marks=pytest.mark.lengthy) for crowd in CROWDS]

MakeDeployed = Callable[..., DaemonProcess]


@pytest.fixture
def deployed(nats_server: NatsServer) -> Iterator[MakeDeployed]:
    """Daemons of user 10001; `files` is how many open files one may have."""
    needs.root()
    setpriv = needs.program("setpriv")
    made: list[DaemonProcess] = []
    with TemporaryDirectory(prefix="syncdaemon-http-") as folder, many_descriptors(6000):
        os.chmod(folder, 0o711)

        def make(files: int = 1024, **settings: str) -> DaemonProcess:
            daemon = DaemonProcess(Path(folder), nats_server.url, **settings)
            daemon.ledger.mkdir()
            for path in (daemon.replay, daemon.ledger):
                os.chown(path, USER, USER)
            limited = ["prlimit", f"--nofile={files}:{files}", setpriv, f"--reuid={USER}", f"--regid={USER}"]
            daemon.command = [*limited, "--clear-groups", *daemon.command]
            made.append(daemon)
            return daemon

        yield make
        for daemon in made:
            daemon.kill()


def where(daemon: DaemonProcess) -> Address:
    return HOST, daemon.port


def descriptors(daemon: DaemonProcess) -> int:
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


def memory(daemon: DaemonProcess) -> int:
    """The bytes that it has in memory."""
    return int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1]) * resource.getpagesize()


def delivers(daemon: DaemonProcess, name: str) -> None:
    """A file that is dropped now has its receipt soon."""
    before = len(daemon.rows_so_far("published"))
    path = daemon.drop(name, name.encode())
    os.chown(path, USER, USER)
    eventually(lambda: len(daemon.rows_so_far("published")) > before, 10, f"{name} is delivered")


def quiet(daemon: DaemonProcess) -> None:
    """The log has stayed small, and has no traceback."""
    assert len(daemon.log()) < LOG_BYTES
    assert "Traceback" not in daemon.log()


@pytest.mark.parametrize("crowd", EACH_CROWD)
def test_a_thousand_connections_keep_no_probe_out(deployed: MakeDeployed, crowd: str) -> None:
    daemon = deployed(files=1024)
    daemon.start(within=60)
    before = descriptors(daemon)
    with Crowd(where(daemon), 1000, CROWDS[crowd]) as held:
        assert slowest(where(daemon), 3.0) < PROBE_SECONDS
        eventually(lambda: held.complete, 30, "all are open, or were")
        delivers(daemon, "while-they-are-held")
        assert slowest(where(daemon), 1.0) < PROBE_SECONDS
        assert slowest(where(daemon), 1.0, "/metrics") < 5.0
        assert held.still_open() <= 64
        assert descriptors(daemon) <= before + 64 + 16
    assert daemon.stop() == 0
    quiet(daemon)


@pytest.mark.parametrize("crowd", ["idle", "half a request"])
def test_few_descriptors_are_not_all_given_to_connections(deployed: MakeDeployed, crowd: str) -> None:
    """With a limit of 100 there are some left for files and the link, whatever 150 connections do."""
    daemon = deployed(files=100)
    daemon.start(within=60)
    with Crowd(where(daemon), 150, CROWDS[crowd]) as held:
        assert slowest(where(daemon), 3.0) < PROBE_SECONDS
        eventually(lambda: held.complete, 30, "all are open, or were")
        assert descriptors(daemon) < 75
        delivers(daemon, "while-they-are-held")
        assert slowest(where(daemon), 1.0) < PROBE_SECONDS
    assert daemon.stop() == 0
    quiet(daemon)


def test_a_peer_that_has_gone_costs_no_page(deployed: MakeDeployed) -> None:
    """Each asks for pages that cost time and leaves. What it asked for is not made, and not kept in memory."""
    daemon = deployed(files=256)
    daemon.start(within=60)
    get(where(daemon), "/metrics")
    before = memory(daemon)
    for _ in range(1500):
        with socket.create_connection(where(daemon), timeout=10) as connection:
            connection.sendall(METRICS * 50)
    began = time.monotonic()
    assert get(where(daemon), "/metrics").status == 200
    assert time.monotonic() - began < 4
    assert memory(daemon) < before + (24 << 20)
    assert daemon.stop(within=5) == 0
    quiet(daemon)


@pytest.mark.slow
def test_one_client_with_five_thousand_connections(deployed: MakeDeployed) -> None:
    daemon = deployed(files=1024)
    daemon.start(within=60)
    with Crowd(where(daemon), 5000) as held:
        worst = 0.0
        while not held.complete:
            worst = max(worst, slowest(where(daemon), 0.5))
        assert worst < PROBE_SECONDS
        assert slowest(where(daemon), 2.0) < PROBE_SECONDS
        delivers(daemon, "while-they-are-held")
    assert daemon.stop() == 0
    quiet(daemon)


def test_a_byte_a_second_buys_no_more_than_five_seconds(deployed: MakeDeployed) -> None:
    daemon = deployed()
    daemon.start(within=60)
    with Crowd(where(daemon), 20, CROWDS["half a header"]) as held:
        eventually(lambda: held.complete)
        began = time.monotonic()
        while held.still_open():
            held.trickle()
            time.sleep(0.5)
            assert time.monotonic() - began < 8.0
        assert time.monotonic() - began > 3.0
    quiet(daemon)


@pytest.mark.slow
def test_an_idle_connection_is_closed_after_half_a_minute(deployed: MakeDeployed) -> None:
    """Before its first request, and after one."""
    daemon = deployed()
    daemon.start(within=60)
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with Crowd(where(daemon), 3) as silent, Crowd(where(daemon), 3, request) as asked:
        eventually(lambda: silent.complete and asked.complete)
        time.sleep(25.0)
        assert (silent.still_open(), asked.still_open()) == (3, 3)
        eventually(lambda: silent.still_open() + asked.still_open() == 0, 10, "they are closed")


def test_a_flood_of_headers_is_refused(deployed: MakeDeployed) -> None:
    """Many, one that is endless, and an endless first line."""
    daemon = deployed()
    daemon.start(within=60)
    memory = resident(daemon)
    for sent in (
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(50_000)),
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"y" * 5_000_000,
        b"GET /" + b"y" * 5_000_000,
        bytes(range(256)) * 1000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500),
    ):
        assert said(where(daemon), sent)[:12] in (b"HTTP/1.1 400", b"HTTP/1.0 400", b"")
        assert get(where(daemon)).status == 200
    assert resident(daemon) - memory < 32 << 20
    assert daemon.stop() == 0
    quiet(daemon)


@pytest.mark.lengthy
def test_no_descriptor_at_all_is_said_once_a_minute(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """The limit falls while it runs: nothing can be accepted, and the loop must not turn for nothing."""
    daemon = make_daemon(nats_server.url)
    daemon.start(within=60)
    with Crowd(where(daemon), 40) as held:
        eventually(lambda: held.complete)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (10, 1024))
        with Crowd(where(daemon), 200):
            used = processor_seconds(daemon)
            time.sleep(5.0)
            assert processor_seconds(daemon) - used < 2.0
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (1024, 1024))
        assert slowest(where(daemon), 2.0) < PROBE_SECONDS
    assert len(daemon.logged("http_not_accepting", at_least=1)) == 1
    quiet(daemon)


def resident(daemon: DaemonProcess) -> int:
    return int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_seconds(daemon: DaemonProcess) -> float:
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
