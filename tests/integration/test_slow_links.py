"""Large files over thin lines, with cuts on the way: in chunks of about a second, none of them for nothing."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from hashlib import sha256

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import Stored, held, messages, read_object
from tests.support.network import HUB, Network
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.lengthy]

PORT = 4222
BUCKET, STREAM = "edge_replay_test-site", "OBJ_edge_replay_test-site"
MakeNetwork = Callable[..., Network]


class Site:
    """A server on the hub, a daemon on the edge, and a line of so many kbit/s between them."""

    def __init__(self, network: Network, server: NatsServer, daemon: DaemonProcess, kbit: int) -> None:
        self.network, self.server, self.daemon = network, server, daemon
        network.rate(kbit)
        with network.hub:
            server.start()
        with network.edge:
            daemon.start()
            eventually(lambda: daemon.metric("edge_link_status") == 1, 60, what="the link is up")

    def stored(self) -> int:
        """Bytes of the file under way that the bucket has, as far as the daemon knows; 0 where none is under way."""
        upload = json.loads(self.daemon.get("/status"))["upload"]
        return upload["stored"] if upload else 0

    def comes_to(self, size: int, within: float) -> None:
        """So many bytes of the file are stored."""
        eventually(lambda: self.stored() >= size, within, f"{size} bytes are stored; {self.daemon.log()[-1500:]}")

    def objects(self) -> list[Stored]:
        """What the bucket holds: chunks and, last, the meta."""
        with self.network.hub:
            return asyncio.run(messages(self.server.url, STREAM))

    def check(self, data: bytes) -> int:
        """The object reads back, by nats-py; chunks that were stored beyond its own, and taken out again."""
        name = sha256(data).hexdigest()
        with self.network.hub:
            assert asyncio.run(read_object(self.server.url, BUCKET, name)) == name
            found = asyncio.run(held(self.server.url, STREAM))
        return found.last_seq - found.messages

    def cut(self, seconds: float) -> None:
        """Connections are reset, and new ones refused for a while."""
        self.network.reset()
        time.sleep(seconds)
        self.network.restore()

    def sent_bytes(self) -> int:
        """What has left the edge, headers of every layer included."""
        with self.network.edge, open("/proc/thread-self/net/dev") as devices:
            (line,) = (line for line in devices if line.strip().startswith("wire:"))
        return int(line.split()[9])


@pytest.fixture
def make_site(
    make_network: MakeNetwork, make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> Callable[[int], Site]:
    """With a line of this speed."""

    def make(kbit: int) -> Site:
        server = make_nats_server(port=PORT, config=f'listen: "0.0.0.0:{PORT}"')
        return Site(make_network(), server, make_daemon(f"nats://{HUB}:{PORT}", SYNC_SETTLE_SECONDS="0"), kbit)

    return make


@pytest.mark.timeout(1200)
def test_900_kb_over_32_kbit_with_cuts_and_small_files_beside_it(make_site: Callable[[int], Site]) -> None:
    """A reset, a hole, a kill: it goes on each time. Small files are delivered within seconds all the while."""
    site, data = make_site(32), random.Random(1).randbytes(900_000)
    daemon = site.daemon
    with site.network.edge:
        before = site.sent_bytes()
        daemon.drop("large.bin", data)
        site.comes_to(100_000, 120)
        waits = []
        for number in range(4):
            daemon.drop(f"small-{number}", b"%d" % number * 500)
            began = time.monotonic()
            eventually(lambda: daemon.waiting() == [daemon.replay / "large.bin"], 60, "a small file is delivered")
            waits.append(time.monotonic() - began)
            assert daemon.metric("edge_link_status") == 1
            assert daemon.metric("edge_bandwidth_bps") > 8_000

        site.cut(1)
        site.comes_to(250_000, 120)
        site.network.black_hole()
        eventually(lambda: daemon.metric("edge_link_status") == 0, what="the hole shows")
        site.network.restore()
        site.comes_to(400_000, 120)
        daemon.kill()
        daemon.start()
        site.comes_to(550_000, 120)
        eventually(lambda: not daemon.waiting(), 300, "it is delivered")
        sent = site.sent_bytes() - before
        assert daemon.stop() == 0

    assert site.check(data) == 0, "no chunk was stored twice"
    largest = max(len(message.data) for message in site.objects())
    print(
        f"small files took {waits} s; chunks of {largest} bytes; {sent / len(data):.2f} bytes left for each of the file"
    )
    assert largest <= 4 << 10
    assert max(waits) < 15
    assert sent <= 1.35 * len(data)
    assert {row["path"]: row["event"] for row in daemon.rows("published", "duplicate")} == {
        "large.bin": "published",
        **{f"small-{number}": "published" for number in range(4)},
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("restart", [False, True], ids=["same process", "another process"])
def test_a_link_that_becomes_faster_does_not_begin_an_upload_again(
    make_site: Callable[[int], Site], restart: bool
) -> None:
    """The chunks that are there are of the size that suited the slow link; it goes on with that size."""
    site, data = make_site(64), random.Random(2).randbytes(1_500_000)
    daemon = site.daemon
    with site.network.edge:
        daemon.drop("large.bin", data)
        site.comes_to(200_000, 120)
        site.network.rate(20_000)
        if restart:
            daemon.kill()
            daemon.start()
        else:
            site.cut(1)
        eventually(lambda: not daemon.waiting(), 120, f"it is delivered; {daemon.log()[-1500:]}")
        assert daemon.stop() == 0

    assert site.check(data) == 0
    (size,) = {len(message.data) for message in site.objects()[:-2]}
    assert size in (4 << 10, 8 << 10), "a chunk takes half a second or a second of the slow link"
