"""No room: at the stream, in the account, on the ledger's disk, on the replay directory's. It waits and says so."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import starmap
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support import needs
from tests.support.audit import Audit, File, audit
from tests.support.client import connect
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.lengthy]

STREAM = "swarm_jobs"
FILES = [(b"%d/f%d" % (number % 5, number), b"evidence %d " % number * 100) for number in range(60)]


def drop_all(daemon: DaemonProcess, files: list[tuple[bytes, bytes]] = FILES) -> None:
    """As producers should."""
    for name, data in files:
        daemon.drop(name, data)


def audited(url: str, daemon: DaemonProcess, files: list[tuple[bytes, bytes]] = FILES) -> Audit:
    """After all is delivered and the daemon has ended in good order."""
    eventually(lambda: not daemon.waiting(), 60, "all is delivered")
    assert daemon.stop() == 0
    return audit(url, STREAM, daemon.replay, daemon.ledger, starmap(File.of, files))


# The stream.


async def make_stream(url: str, **config: Any) -> None:
    """The stream, smaller than what is to come."""
    client = await connect(url)
    try:
        await client.jetstream().add_stream(name=STREAM, subjects=["edge.replay.*.*"], discard="new", **config)
    finally:
        await client.close()


async def widen(url: str) -> None:
    """The owner of the stream gives it room."""
    client = await connect(url)
    try:
        js = client.jetstream()
        config = (await js.stream_info(STREAM)).config
        config.max_bytes = config.max_msgs = -1
        await js.update_stream(config)
    finally:
        await client.close()


@pytest.mark.parametrize("limit", [{"max_msgs": 20}, {"max_bytes": 30_000}], ids=["messages", "bytes"])
def test_a_full_stream_is_waited_for(nats_server: NatsServer, make_daemon: MakeDaemon, limit: dict[str, int]) -> None:
    """What fits is delivered, the rest is kept; health and one line of the log say why; then it goes on by itself."""
    asyncio.run(make_stream(nats_server.url, **limit))
    daemon = make_daemon(nats_server.url)
    drop_all(daemon)
    daemon.start()
    eventually(lambda: daemon.ailment("lane").startswith("stream_full: maximum"), what="health says that it is full")
    eventually(
        lambda: len(daemon.waiting()) == daemon.metric("replay_queue_depth"), what="what was stored is let go of"
    )
    left = len(daemon.waiting())
    eventually(
        lambda: daemon.metric('syncdaemon_publish_errors_total{reason="stream_full"}') > left, what="it tries again"
    )
    assert 0 < left < len(FILES)
    assert daemon.metric("replay_queue_depth") == left
    assert daemon.page("/readyz")[0] == 200
    assert len(daemon.logged("lane_paused", at_least=1)) == 1
    asyncio.run(widen(nats_server.url))
    assert audited(nats_server.url, daemon).problems == []


def test_a_stream_that_is_nearly_full_is_said_to_be_before_anything_waits(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """In health, in status and, with what its size costs, in one line of the log at the start."""
    asyncio.run(make_stream(nats_server.url, max_msgs=5))
    daemon = make_daemon(nats_server.url)
    daemon.start()
    drop_all(daemon, FILES[:3])
    eventually(lambda: not daemon.waiting(), what="three are delivered")
    assert daemon.stop() == 0
    daemon.start()
    words = "60 % full: 3 of 5 messages"
    eventually(lambda: json.loads(daemon.get("/status"))["stream_room"] == words, what="the stream was looked at")
    assert daemon.ailment("room") == ""
    (said,) = (line for line in daemon.logged("stream_size", at_least=1) if line["messages"] == 3)
    assert said["expected"] == 3

    drop_all(daemon, FILES[3:4])
    eventually(lambda: not daemon.waiting(), what="the fourth is delivered")
    assert daemon.stop() == 0
    daemon.start()
    eventually(lambda: daemon.ailment("room") == "80 % full: 4 of 5 messages", what="health says so")
    assert daemon.ailment("lane") == ""


async def limit_bucket(url: str, most: int) -> None:
    """Makes the bucket of large files, or gives it another limit."""
    client = await connect(url)
    try:
        subjects = ["$O.edge_replay_test-site.C.>", "$O.edge_replay_test-site.M.>"]
        config = {"name": "OBJ_edge_replay_test-site", "subjects": subjects, "discard": "new", "max_bytes": most}
        for call in ("CREATE", "UPDATE"):
            told = json.dumps({**config, "allow_rollup_hdrs": True, "allow_direct": True}).encode()
            answer = await client.request(f"$JS.API.STREAM.{call}.OBJ_edge_replay_test-site", told)
        assert b'"error"' not in answer.data
    finally:
        await client.close()


def test_a_full_bucket_holds_up_large_files_only(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Health, status and metrics say so, for as long as there is such a file; with room the upload goes on."""
    asyncio.run(limit_bucket(nats_server.url, 1 << 20))
    daemon = make_daemon(nats_server.url)
    daemon.start()
    files = [(b"large.bin", os.urandom(3 << 20)), (b"small.bin", b"small")]
    drop_all(daemon, files)
    eventually(lambda: daemon.ailment("objects").startswith("bucket_full: bucket edge_replay_test-site: maximum bytes"))
    eventually(lambda: [path.name for path in daemon.waiting()] == ["large.bin"], what="the small file is delivered")
    assert json.loads(daemon.get("/status"))["paused"].startswith("bucket_full: ")
    errors = 'syncdaemon_publish_errors_total{reason="bucket_full"}'
    tried = daemon.metric(errors)
    eventually(lambda: daemon.metric(errors) > tried, what="it tries again, and the counter says so")
    asyncio.run(limit_bucket(nats_server.url, -1))
    eventually(lambda: not daemon.waiting(), 60, "it goes on")
    assert daemon.ailment("objects") == ""
    assert audited(nats_server.url, daemon, files).problems == []


def account(limit: str) -> str:
    """A server's configuration with one account, and the storage that it may use."""
    user = "{user: edge, password: secret}"
    return f"accounts {{ edge: {{ users: [{user}], jetstream: {{ max_file: {limit} }} }} }}\nno_auth_user: edge"


def reload(server: NatsServer, old: str, new: str) -> None:
    """Its operator changes the configuration of the running server."""
    path = server.folder / "nats-server.conf"
    path.write_text(path.read_text().replace(old, new))
    os.kill(server.pid, signal.SIGHUP)


def test_an_account_at_its_limit_is_waited_for(make_nats_server: MakeNatsServer, make_daemon: MakeDaemon) -> None:
    """The same, with the account's own reason; a reload that grants more ends it."""
    server = make_nats_server(config=account("30K"))
    server.start()
    daemon = make_daemon(server.url)
    drop_all(daemon)
    daemon.start()
    eventually(lambda: daemon.ailment("lane").startswith("account_limit: "), what="health says what the limit is")
    assert daemon.waiting()
    assert len(daemon.logged("lane_paused", at_least=1)) == 1
    reload(server, "max_file: 30K", "max_file: 30M")
    assert audited(server.url, daemon).problems == []


def test_a_server_that_is_asked_too_much_is_asked_again(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """429: what it had no room for in its queue is sent anew, until all of it is stored, once."""
    server = make_nats_server(jetstream="max_buffered_msgs: 5")
    server.start()
    daemon = make_daemon(server.url)
    files = [(b"f%d" % number, b"%d" % number) for number in range(600)]
    drop_all(daemon, files)
    daemon.start()
    eventually(lambda: not daemon.waiting(), 60, "all is delivered")
    assert daemon.metric('syncdaemon_publish_errors_total{reason="too_many_requests"}') > 0
    assert audited(server.url, daemon, files).problems == []


# The disks.


DISKS = {
    "tmpfs of 64 KiB": "-t tmpfs -o size=64k",
    "tmpfs of 4 MiB": "-t tmpfs -o size=4m",
    "tmpfs of few bytes": "-t tmpfs -o size=400k",
    "tmpfs of few inodes": "-t tmpfs -o size=4m,nr_inodes=100",
    "ext4": "-t ext4 -o loop",
}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path, str], None]]:
    """Makes a folder a small file system of its own; of which kind is a word of `DISKS`."""
    needs.root()
    mounted: list[Path] = []

    def mount(place: Path, disk: str) -> None:
        place.mkdir(parents=True, exist_ok=True)
        image = tmp_path / f"{place.name}.image"
        if disk == "ext4":
            image.touch()
            os.truncate(image, 2 << 20)
            subprocess.run([needs.program("mkfs.ext4"), "-q", "-m", "0", image], check=True)
        subprocess.run([needs.program("mount"), *DISKS[disk].split(), image, place], check=True)
        mounted.append(place)

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path, leave: int = 0) -> Path:
    """Somebody else fills the disk, but for so many bytes; the file that does it."""
    ballast = place / ".ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    os.truncate(ballast, ballast.stat().st_size - leave)
    return ballast


SmallDisk = Callable[[Path, str], None]


def test_without_room_for_a_receipt_the_file_stays(
    nats_server: NatsServer, make_daemon: MakeDaemon, small_disk: SmallDisk
) -> None:
    """The ledger's disk is full: stored and not recorded is not let go of; with room again the row is written, once."""
    daemon = make_daemon(nats_server.url, SYNC_MIN_FREE_BYTES="0", SYNC_HOLD_SECONDS="0")
    small_disk(daemon.ledger, "tmpfs of 64 KiB")
    daemon.start()
    eventually(lambda: daemon.metric("edge_link_status") == 1 and daemon.rows_so_far("link"), what="the link is up")
    ballast = fill(daemon.ledger)
    drop_all(daemon)
    eventually(lambda: "No space left on device" in daemon.ailment("ledger"), what="health says that the disk is full")
    assert daemon.page("/readyz")[0] == 503
    daemon.logged("ledger_paused", at_least=1)
    recorded = len(daemon.rows_so_far("published"))  # those few whose rows had room in the file's last block
    assert recorded < len(FILES)
    eventually(lambda: len(daemon.waiting()) == len(FILES) - recorded, what="only what is recorded is let go of")
    ballast.unlink()
    assert audited(nats_server.url, daemon).problems == []
    assert len(daemon.logged("ledger_paused")) == 1


def test_started_on_a_full_disk_it_says_so_and_waits(
    nats_server: NatsServer, make_daemon: MakeDaemon, small_disk: SmallDisk
) -> None:
    """Killed on it, and started until not even its first row can be written: it can be asked, it can be stopped."""
    daemon = make_daemon(nats_server.url, SYNC_MIN_FREE_BYTES="0", SYNC_HOLD_SECONDS="0")
    small_disk(daemon.ledger, "tmpfs of 64 KiB")
    daemon.start()
    eventually(lambda: daemon.rows_so_far("link"), what="the link is up")
    ballast = fill(daemon.ledger)
    drop_all(daemon)
    eventually(lambda: daemon.ailment("ledger"), what="health says that the disk is full")

    def started_once_more() -> bool:
        """Whether its first row was written; if not, it says why."""
        before = len(daemon.rows_so_far("open"))
        daemon.kill()
        daemon.launch()
        eventually(lambda: len(daemon.rows_so_far("open")) > before or _ailment(daemon), what="it tells of itself")
        return len(daemon.rows_so_far("open")) > before

    while started_once_more():
        pass
    assert "No space left on device" in _ailment(daemon)
    assert daemon.page("/readyz")[0] == 503
    assert daemon.page("/livez")[0] == 200
    assert daemon.stop() == 0
    daemon.launch()
    eventually(lambda: "No space left on device" in _ailment(daemon), what="it says so again")
    ballast.unlink()
    assert audited(nats_server.url, daemon).problems == []


def _ailment(daemon: DaemonProcess) -> str:
    with suppress(OSError):  # it does not listen yet
        return daemon.ailment("ledger")
    return ""


def test_below_its_reserve_nothing_is_sent(
    nats_server: NatsServer, make_daemon: MakeDaemon, small_disk: SmallDisk
) -> None:
    """SYNC_MIN_FREE_BYTES: what could not be recorded is not even begun; with room again it goes on by itself."""
    daemon = make_daemon(nats_server.url, SYNC_MIN_FREE_BYTES="1Mi")
    small_disk(daemon.ledger, "tmpfs of 4 MiB")
    daemon.start()
    ballast = fill(daemon.ledger, leave=512 << 10)
    drop_all(daemon)
    eventually(lambda: "SYNC_MIN_FREE_BYTES is 1048576" in daemon.ailment("ledger"), what="health says what is missing")
    eventually(lambda: daemon.metric("replay_queue_depth") == len(FILES), what="all are counted")
    assert daemon.page("/readyz")[0] == 503
    assert daemon.metric("syncdaemon_published_files_total") == 0
    ballast.unlink()
    assert audited(nats_server.url, daemon).problems == []


@pytest.mark.parametrize("hold", ["0", "1"])
@pytest.mark.parametrize("disk", ["tmpfs of few bytes", "tmpfs of few inodes", "ext4"])
def test_a_full_replay_directory_is_emptied(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, small_disk: SmallDisk, disk: str, hold: str
) -> None:
    """Producers have filled it: that is when delivering matters most, and it takes no room to do it."""
    server = make_nats_server()
    daemon = make_daemon(server.url, SYNC_HOLD_SECONDS=hold)
    small_disk(daemon.replay, disk)
    daemon.start()
    files: list[tuple[bytes, bytes]] = []
    size = 4000 if disk == "tmpfs of few bytes" else 400
    with suppress(OSError):
        while True:
            name, data = b"f%d" % len(files), b"%d " % len(files) * (size // 4)
            daemon.drop(name, data)
            files.append((name, data))
    for path in daemon.replay.glob(".*.part"):
        path.unlink()
    server.start()
    assert len(files) > 50
    found = audited(server.url, daemon, files)
    assert found.problems == []
