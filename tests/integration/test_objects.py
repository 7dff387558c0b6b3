"""Files that no message can hold, over a real server: read back by a client of others, whatever came between."""

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

from syncdaemon.dev.server import HOST, NatsServer
from tests.support.client import connect
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import held, messages, read_object
from tests.support.relay import MakeRelay, Relay
from tests.support.server import MakeNatsServer

pytestmark = pytest.mark.integration

BUCKET, STREAM, CHUNK = "edge_replay_test-site", "OBJ_edge_replay_test-site", 128 << 10
WINDOW = 16 << 20
MIB = 1 << 20


def large(size: int, seed: int = 1) -> bytes:
    """Bytes of no pattern, the same at every run."""
    return random.Random(seed).randbytes(size)


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def receipts(daemon: DaemonProcess, count: int, within: float = 60.0) -> list[dict[str, object]]:
    """The rows of so many delivered files, as soon as they are there and the files are out of the way."""
    eventually(
        lambda: len(daemon.rows_so_far("published") + daemon.rows_so_far("duplicate")) >= count,
        within,
        f"{count} receipts; its log: {daemon.log()[-1500:]}",
    )
    eventually(lambda: not daemon.waiting(), 20, "the files are out of the way")
    return daemon.rows("published", "duplicate")


def progress(daemon: DaemonProcess) -> dict[str, int] | None:
    """What the daemon says of the upload that is under way."""
    found: dict[str, int] | None = json.loads(daemon.get("/status"))["upload"]
    return found


def check(server: NatsServer, daemon: DaemonProcess, data: bytes, stored_once: bool = True) -> None:
    """The object reads back, its chunks are there once, and one message names it."""
    name = digest(data)
    assert asyncio.run(read_object(server.url, BUCKET, name)) == name
    found = asyncio.run(held(server.url, STREAM))
    chunks = -(-len(data) // CHUNK)
    assert found.messages == chunks + 1
    if stored_once:
        assert found.last_seq == chunks + 1, "nothing was stored twice, not even to be taken out again"
    (message,) = asyncio.run(messages(server.url, "swarm_jobs"))
    assert message.data == b""
    assert message.headers["Edge-Object"] == f"{BUCKET}/{name}"
    assert message.headers["Edge-Sha256"] == message.headers["Nats-Msg-Id"] == name
    assert message.headers["Edge-Size"] == str(len(data))
    (row,) = daemon.rows("published")
    assert (row["object"], row["sha256"], row["stream_seq"]) == (f"{BUCKET}/{name}", name, message.seq)


class Begun(NamedTuple):
    """A large file on its way to the server, through a relay that holds the rest of it back."""

    relay: Relay
    daemon: DaemonProcess
    data: bytes


HeldUpload = Callable[[int, int], Begun]
"""Takes the size of the file, and how many bytes of it and of all else get through."""


@pytest.fixture
def held_upload(nats_server: NatsServer, make_daemon: MakeDaemon, make_relay: MakeRelay) -> HeldUpload:
    """Starts a daemon behind a relay, and returns when as much is sent as may be."""

    def begin(size: int, passes: int) -> Begun:
        relay, data = make_relay(nats_server), large(size)
        daemon = make_daemon(relay.url)
        daemon.start()
        relay.hold_after(passes)
        daemon.drop("large.bin", data)
        eventually(lambda: relay.held, 30, "a part of it is sent")
        return Begun(relay, daemon, data)

    return begin


def cut(relay: Relay) -> None:
    """Every connection ends, and what was held back is lost; new ones are let through."""
    relay.reset()
    relay.restore()


def test_a_large_file_is_read_back_by_any_client(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """And counted as one file of its size; the hold lets go of it like of any other."""
    daemon, data = make_daemon(nats_server.url, SYNC_HOLD_SECONDS="0"), large(5 * MIB + 17)
    daemon.start()
    daemon.drop("large.bin", data)
    receipts(daemon, 1)

    check(nats_server, daemon, data)
    assert daemon.metric("syncdaemon_published_files_total") == 1
    assert daemon.metric("syncdaemon_published_bytes_total") == len(data)
    assert daemon.metric("edge_bandwidth_bps") >= len(data) * 8 / 5
    assert progress(daemon) is None
    folder = daemon.replay / ".syncdaemon" / "held"
    eventually(lambda: not any(path.is_file() for path in folder.rglob("*")), what="nothing is held")
    assert asyncio.run(listing(nats_server)) == [(digest(data), len(data))]


async def listing(server: NatsServer) -> list[tuple[str | None, int | None]]:
    """The bucket as nats-py lists it."""
    client = await connect(server.url)
    try:
        store = await client.jetstream().object_store(BUCKET)
        return [(info.name, info.size) for info in await store.list()]
    finally:
        await client.close()


def test_two_files_of_the_same_bytes_are_one_object(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Of one site or of two: `published` and `duplicate`, each with the object; with SYNC_MSG_ID=path two messages."""
    data = large(3 * MIB)
    daemon = make_daemon(nats_server.url)
    daemon.drop("one.bin", data)
    daemon.drop("two.bin", data)
    daemon.start()
    rows = receipts(daemon, 2)
    assert [row["event"] for row in rows] == ["published", "duplicate"]
    assert {row["object"] for row in rows} == {f"{BUCKET}/{digest(data)}"}
    assert {row["stream_seq"] for row in rows} == {1}
    check(nats_server, daemon, data)

    other = make_daemon(nats_server.url, "other", SITE="other", SYNC_MSG_ID="path")
    other.drop("one.bin", data)
    other.drop("two.bin", data)
    other.start()
    assert [row["event"] for row in receipts(other, 2)] == ["published", "published"]
    found = asyncio.run(held(nats_server.url, STREAM))
    assert (found.messages, found.last_seq) == (25, 25)
    assert len(asyncio.run(messages(nats_server.url, "swarm_jobs"))) == 3


@pytest.mark.alone
def test_small_files_do_not_wait_for_a_large_one(
    nats_server: NatsServer, make_daemon: MakeDaemon, make_relay: MakeRelay
) -> None:
    """They are delivered while it is held up in the middle of its upload, and while its digest is taken."""
    relay, data = make_relay(nats_server), large(100 * MIB)
    daemon = make_daemon(relay.url, SYNC_SETTLE_SECONDS="0", SYNC_BWLIMIT="40M")
    daemon.start()
    daemon.drop("large.bin", data)
    delivered = 0
    while daemon.waiting():
        daemon.drop(f"small-{delivered}", b"%d" % delivered)
        eventually(lambda: daemon.waiting() in ([], [daemon.replay / "large.bin"]), 20, "a small file is delivered")
        delivered += 1
    rows = receipts(daemon, delivered + 1)
    before = [str(row["path"]) for row in rows].index("large.bin")
    assert before >= 3, f"{before} small files were delivered before the large one"
    assert asyncio.run(read_object(nats_server.url, BUCKET, digest(data))) == digest(data)


@pytest.mark.parametrize("victim", ["link", "daemon", "server"])
def test_after_any_cut_the_upload_goes_on(nats_server: NatsServer, held_upload: HeldUpload, victim: str) -> None:
    """Behind the last chunk that is stored: at most a window of them is sent twice, and none is stored twice."""
    relay, daemon, data = held_upload(40 * MIB, 26 * MIB)
    eventually(lambda: (progress(daemon) or {"stored": 0})["stored"] > 18 * MIB, 30, "and known to be stored")
    if victim == "daemon":
        daemon.kill()
    elif victim == "server":
        nats_server.kill()
        nats_server.start()
    cut(relay)
    if victim == "daemon":
        daemon.start()
    receipts(daemon, 1)

    check(nats_server, daemon, data)
    assert relay.sent < len(data) + WINDOW + MIB, "headers and everything else count as well"


def test_a_server_that_hangs_is_a_cut(nats_server: NatsServer, held_upload: HeldUpload) -> None:
    """It may have read what was sent before it, and store it when it goes on: after the daemon has asked, or before."""
    relay, daemon, data = held_upload(24 * MIB, 12 * MIB)
    nats_server.freeze()
    relay.restore()
    eventually(lambda: daemon.metric("edge_link_status") == 0, 30, "the link is down")
    nats_server.thaw()
    receipts(daemon, 1)

    check(nats_server, daemon, data)


def test_an_upload_with_a_hole_is_begun_again(nats_server: NatsServer, held_upload: HeldUpload) -> None:
    """Found when it is gone on with; and a bucket that somebody takes away altogether is filled anew."""
    relay, daemon, data = held_upload(16 * MIB, 8 * MIB)
    eventually(lambda: (progress(daemon) or {"stored": 0})["stored"] > 7 * CHUNK, 30, "seven chunks are stored")
    daemon.kill()
    asyncio.run(delete_chunk(nats_server, 7))
    cut(relay)
    daemon.start()
    receipts(daemon, 1)
    check(nats_server, daemon, data, stored_once=False)
    assert daemon.logged("upload_begun_again", at_least=1)


async def delete_chunk(server: NatsServer, seq: int) -> None:
    client = await connect(server.url)
    await client.jetstream().delete_msg(STREAM, seq)
    await client.close()


def test_a_bucket_that_is_deleted_under_way_is_filled_anew(nats_server: NatsServer, held_upload: HeldUpload) -> None:
    """The chunks in flight have nowhere to go; the file is kept, and delivered in the end."""
    relay, daemon, data = held_upload(16 * MIB, 8 * MIB)
    asyncio.run(delete_stream(nats_server, STREAM))
    relay.restore()
    receipts(daemon, 1)
    check(nats_server, daemon, data)


async def delete_stream(server: NatsServer, name: str) -> None:
    client = await connect(server.url)
    await client.jetstream().delete_stream(name)
    await client.close()


def test_a_file_that_is_written_to_under_way_settles_again(nats_server: NatsServer, held_upload: HeldUpload) -> None:
    """Only what it is in the end is delivered, and nothing is left of what it was."""
    relay, daemon, content = held_upload(40 * MIB, 8 * MIB)
    data = bytearray(content)
    path = daemon.replay / "large.bin"
    with path.open("r+b") as file:
        file.seek(39 * MIB)  # far beyond what is in flight, and in buffers
        file.write(b"another end")
    data[39 * MIB : 39 * MIB + 11] = b"another end"
    relay.restore()
    receipts(daemon, 1)

    check(nats_server, daemon, bytes(data), stored_once=False)
    assert daemon.logged("changed_under_way", at_least=1)


def test_it_ends_in_good_order_in_the_middle_of_an_upload(nats_server: NatsServer, held_upload: HeldUpload) -> None:
    """Without waiting for the rest of it; the next process goes on."""
    relay, daemon, data = held_upload(16 * MIB, 8 * MIB)
    eventually(lambda: (progress(daemon) or {"stored": 0})["stored"] > 0, 30, "it is said how far it is")
    began = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - began < 9.0, "the ten seconds are for acknowledgements"
    cut(relay)
    daemon.start()
    receipts(daemon, 1)
    check(nats_server, daemon, data)


def test_an_object_that_the_server_lost_is_sent_again_from_the_hold(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """Its message is still there: only who looks at the object as well sees that the file is lost."""
    daemon, data = make_daemon(nats_server.url), large(5 * MIB)
    daemon.start()
    daemon.drop("large.bin", data)
    receipts(daemon, 1)
    asyncio.run(delete_chunk(nats_server, 7))
    nats_server.kill()
    nats_server.start()
    eventually(lambda: daemon.rows_so_far("held_lost"), 30, "it is missed")
    receipts(daemon, 2)

    name = digest(data)
    assert asyncio.run(read_object(nats_server.url, BUCKET, name)) == name
    assert [row["event"] for row in daemon.rows("published", "held_lost")] == ["published", "held_lost", "published"]
    assert {row["stream_seq"] for row in daemon.rows("published", "held_lost")} == {1}
    assert daemon.metric("syncdaemon_held_lost_total") == 1


def test_a_bucket_that_is_denied_holds_up_large_files_only(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """Said by health and in the log; when it is permitted they go."""
    denied = "authorization { users: [{user: edge, password: edge, permissions: {publish: {deny: '$O.>'}}}, "
    users = denied + "{user: admin, password: admin}] }"
    server = make_nats_server(config=users)
    server.start()
    daemon = make_daemon(server.url, NATS_USER="edge", NATS_PASSWORD="edge")
    daemon.start()
    daemon.drop("large.bin", large(2 * MIB))
    eventually(lambda: "objects_paused" in daemon.log(), 20, "it is said")
    daemon.drop("small.bin", b"small")
    eventually(lambda: daemon.rows_so_far("published"), 20, "the small file is delivered")
    eventually(lambda: [path.name for path in daemon.waiting()] == ["large.bin"], what="and the other one waits")
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0
    assert "bucket_denied" in json.loads(daemon.get("/status"))["paused"]

    server.config = users.replace("deny: '$O.>'", "deny: 'nothing'")
    server.stop()
    server.start()
    receipts(daemon, 2)
    admin = f"nats://admin:admin@{HOST}:{server.port}"
    assert asyncio.run(read_object(admin, BUCKET, digest(large(2 * MIB)))) == digest(large(2 * MIB))


def test_files_over_the_streams_own_limit_are_objects(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Its `max_msg_size` counts like the server's `max_payload`."""
    asyncio.run(make_stream(nats_server, 2_000))
    daemon = make_daemon(nats_server.url)
    daemon.start()
    daemon.drop("small", b"x" * 1_000)
    daemon.drop("large", b"x" * 2_000)
    rows = receipts(daemon, 2)
    assert {row["path"]: row.get("object") for row in rows} == {
        "small": None,
        "large": f"{BUCKET}/{digest(b'x' * 2_000)}",
    }
    assert asyncio.run(read_object(nats_server.url, BUCKET, digest(b"x" * 2_000))) == digest(b"x" * 2_000)


async def make_stream(server: NatsServer, max_msg_size: int) -> None:
    client = await connect(server.url)
    await client.jetstream().add_stream(name="swarm_jobs", subjects=["edge.replay.*.*"], max_msg_size=max_msg_size)
    await client.close()


def test_memory_does_not_grow_with_the_file(nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path) -> None:
    """Two files, one eight times as large as the other: the same peak, but for a little."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    peaks = []
    for number, size in enumerate((24 * MIB, 192 * MIB), 1):
        daemon.drop(f"{number}.bin", large(size, number))
        receipts(daemon, number, 120)
        peaks.append(peak(daemon))
    assert peaks[1] - peaks[0] < 12 * MIB, peaks


def peak(daemon: DaemonProcess) -> int:
    """The most memory that it had so far, in bytes (VmHWM)."""
    lines = Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
