"""One GiB over a link that is cut five times, and who reads it back: nats-py and the JavaScript client."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.javascript import ReadByJavaScript
from tests.support.jetstream import held, messages, read_object
from tests.support.relay import MakeRelay, Relay
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]

BUCKET = "edge_replay_test-site"
SIZE, CHUNK, WINDOW, MOST_MEMORY = 1 << 30, 128 << 10, 16 << 20, 120_000_000


class Cut(NamedTuple):
    """What ends a connection, and from which part of the file on."""

    part: float
    act: Callable[[NatsServer, DaemonProcess, Relay], None]


def kill_the_daemon(server: NatsServer, daemon: DaemonProcess, relay: Relay) -> None:
    """SIGKILL; the next process has to take the digest anew."""
    daemon.kill()
    daemon.launch()


def kill_the_server(server: NatsServer, daemon: DaemonProcess, relay: Relay) -> None:
    """SIGKILL, and it comes back with what it has on disk."""
    server.kill()
    server.start()


def freeze_the_server(server: NatsServer, daemon: DaemonProcess, relay: Relay) -> None:
    """A black hole: connections stay, and nothing is answered, until the daemon has given up on it."""
    server.freeze()
    eventually(lambda: daemon.metric("edge_link_status") == 0, 60, "the link is known to be down")
    server.thaw()


CUTS = (
    Cut(0.10, kill_the_daemon),
    Cut(0.30, kill_the_server),
    Cut(0.45, freeze_the_server),
    Cut(0.65, kill_the_daemon),
    Cut(0.90, kill_the_server),
)


def make_file(path: Path) -> str:
    """The file, complete and in its place; its digest."""
    digest, dice, hidden = sha256(), random.Random(5), path.with_name(".large.part")
    with hidden.open("wb") as file:
        for _ in range(SIZE >> 20):
            piece = dice.randbytes(1 << 20)
            digest.update(piece)
            file.write(piece)
    hidden.rename(path)
    return digest.hexdigest()


def stored(daemon: DaemonProcess) -> int:
    """How many bytes of the file the bucket has, as the daemon says; 0 while it does not upload."""
    try:
        upload = json.loads(daemon.get("/status"))["upload"]
    except OSError:
        return 0
    return int(upload["stored"]) if upload else 0


def wait_until_stored(daemon: DaemonProcess, part: float) -> None:
    """Until the bucket has this part of the file."""
    eventually(lambda: stored(daemon) > part * SIZE, 300, f"{part:.0%} of it is stored")


def peak(daemon: DaemonProcess) -> int:
    """The most memory that this process had so far, in bytes (VmHWM)."""
    lines = Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_a_gibibyte_through_five_cuts(
    make_nats_server: MakeNatsServer,
    make_daemon: MakeDaemon,
    make_relay: MakeRelay,
    read_by_javascript: ReadByJavaScript,
) -> None:
    """At most a window is sent twice for each cut, no chunk is stored twice, and memory is that of any file."""
    server = make_nats_server()
    server.start()
    relay = make_relay(server)
    daemon = make_daemon(relay.url)
    digest = make_file(daemon.replay / "large.bin")
    daemon.start()

    peaks = []
    for part, act in CUTS:
        wait_until_stored(daemon, part)
        peaks.append(peak(daemon))
        act(server, daemon, relay)
    eventually(lambda: daemon.rows_so_far("published"), 300, f"it is delivered; the log: {daemon.log()[-2000:]}")
    peaks.append(peak(daemon))
    eventually(lambda: not daemon.waiting(), 60, "the file is out of the way")

    chunks = SIZE // CHUNK
    bucket = asyncio.run(held(server.url, f"OBJ_{BUCKET}"))
    twice = (relay.sent - SIZE) / CHUNK
    began = time.monotonic()
    by_python = asyncio.run(read_object(server.url, BUCKET, digest, 300))
    middle = time.monotonic()
    by_javascript = read_by_javascript(server.url, BUCKET, digest)
    print(
        f"| {SIZE >> 20} MiB | {len(CUTS)} cuts | {bucket.last_seq} messages for {chunks} chunks and a meta | "
        f"{twice:.0f} chunks' worth of bytes beyond the file, headers included | "
        f"peak RSS {max(peaks) / 1e6:.0f} MB | read back by nats-py in {middle - began:.0f} s, "
        f"by @nats-io/obj in {time.monotonic() - middle:.0f} s |"
    )
    assert by_python == digest
    assert by_javascript == {"sha256": digest, "size": SIZE, "chunks": chunks}
    assert (bucket.messages, bucket.last_seq) == (chunks + 1, chunks + 1), "no chunk was ever stored twice"
    headers = chunks * 400
    assert relay.sent <= SIZE + len(CUTS) * WINDOW + headers, "at most a window for each cut"
    assert max(peaks) <= MOST_MEMORY, peaks

    (message,) = asyncio.run(messages(server.url, "swarm_jobs"))
    (row,) = daemon.rows("published", "duplicate")
    assert message.headers["Edge-Object"] == row["object"] == f"{BUCKET}/{digest}"
    assert (message.data, row["event"], row["size"]) == (b"", "published", SIZE)
    assert daemon.stop() == 0
