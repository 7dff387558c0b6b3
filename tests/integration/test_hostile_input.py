"""Files that are made to be trouble: each is delivered byte for byte, or refused with its reason, and nothing stops."""

from __future__ import annotations

import asyncio
import json
import os
import random
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from itertools import starmap
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support import needs
from tests.support.audit import Audit, File, audit
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import each_message, read_object, refuse_large_files
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STREAM = "swarm_jobs"
Files = list[tuple[bytes, bytes]]


def gone(daemon: DaemonProcess, within: float = 30.0) -> None:
    """Waits until every file has left its place."""
    eventually(lambda: not daemon.waiting(), within, "all is delivered or set aside")


def audited(server: NatsServer, daemon: DaemonProcess, files: Files, refused: Files = []) -> Audit:  # noqa: B006
    """After all is delivered and the daemon has ended in good order."""
    gone(daemon)
    assert daemon.stop() == 0
    args = starmap(File.of, files), starmap(File.of, refused)
    return audit(server.url, STREAM, daemon.replay, daemon.ledger, *args)


# Where they lie.


def test_thirty_folders_deep(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """By a scan and by an event; nothing is too deep to be let go of either."""
    daemon = make_daemon(nats_server.url, SYNC_RESCAN_SECONDS="600")
    deep = b"/".join(b"level %d" % level for level in range(30))
    files = [(deep + b"/first", b"1"), (b"other/" + deep + b"/second", b"2"), (deep + b"/third", b"3")]
    daemon.drop(*files[0])
    daemon.start()
    for name, data in files[1:]:
        daemon.drop(name, data)
    assert audited(nats_server, daemon, files).problems == []


def test_a_path_that_is_too_long_for_the_kernel_is_told(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Over 4,096 bytes it can't be opened by its path: it stays, the log and health say so, and the others pass."""
    daemon = make_daemon(nats_server.url, SYNC_RESCAN_SECONDS="1")
    folder = os.open(daemon.replay, os.O_DIRECTORY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=folder)
        below = os.open("d" * 250, os.O_DIRECTORY, dir_fd=folder)
        os.close(folder)
        folder = below
    with os.fdopen(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=folder), "wb") as file:
        file.write(b"out of reach")
    daemon.start()
    daemon.drop(b"other", b"1")
    eventually(lambda: daemon.rows_so_far("published"), what="the other file is delivered")
    eventually(lambda: "File name too long" in daemon.ailment("folders"), what="health says which folder")
    assert len(daemon.logged("unread", at_least=1)) == 1
    assert daemon.stop() == 0
    os.unlink("file", dir_fd=folder)
    os.close(folder)


def test_a_folder_and_a_file_take_turns_at_a_name(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """`report.txt` is a folder, then a file, then a folder again: what is in it is delivered every time."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    files: Files = []
    for turn in range(3):
        for name in (b"report.txt/part", b"report.txt"):
            data = b"%b %d" % (name, turn)
            daemon.drop(name, data)
            files.append((name, data))
            gone(daemon)
            with suppress(NotADirectoryError, FileNotFoundError):
                (daemon.replay / "report.txt").rmdir()
    assert audited(nats_server, daemon, files).problems == []


def test_hard_links_are_files_of_their_own(nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path) -> None:
    """Two names of one file have a receipt each; a third one elsewhere keeps its content when they are let go of."""
    daemon = make_daemon(nats_server.url, SYNC_HOLD_SECONDS="0")
    outside = tmp_path / "outside"
    outside.write_bytes(b"linked")
    for name in ("a", "b"):
        os.link(outside, daemon.replay / name)
    daemon.start()
    assert audited(nats_server, daemon, [(b"a", b"linked"), (b"b", b"linked")]).problems == []
    assert outside.read_bytes() == b"linked"
    assert outside.stat().st_nlink == 1


def test_a_device_is_never_opened(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Not one that has no end to read, nor one that would block; they stay and are counted."""
    needs.root()
    daemon = make_daemon(nats_server.url, SYNC_RESCAN_SECONDS="1")
    os.mknod(daemon.replay / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.mknod(daemon.replay / "loop", stat.S_IFBLK | 0o666, os.makedev(7, 200))
    daemon.start()
    os.mknod(daemon.replay / "tty", stat.S_IFCHR | 0o666, os.makedev(5, 0))
    daemon.drop(b"other", b"1")
    eventually(lambda: daemon.rows_so_far("published"), what="the other file is delivered")
    eventually(lambda: daemon.logged("odd_entries"), what="they are told")
    odd = ["loop", "tty", "zero"]
    eventually(lambda: sorted(path.name for path in daemon.waiting()) == odd, what="only they are left")
    assert daemon.metric("replay_queue_depth") == 0


# What they say of themselves.


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_times_that_can_not_be(nats_server: NatsServer, make_daemon: MakeDaemon, order: str) -> None:
    """Modified before 1970, in 1970, in the far future: delivered like any other, with that time in the receipt."""
    daemon = make_daemon(nats_server.url, SYNC_ORDER=order)
    times = {b"before": -86_400 * 10**9, b"epoch": 0, b"one": 1, b"future": 15_000_000_000 * 10**9}
    for name, mtime_ns in times.items():
        path = daemon.replay / ".part"
        path.write_bytes(name)
        os.utime(path, ns=(mtime_ns, mtime_ns))
        path.rename(daemon.replay / os.fsdecode(name))
    daemon.start()
    assert audited(nats_server, daemon, [(name, name) for name in times]).problems == []
    assert {str(row["path"]).encode(): row["mtime_ns"] for row in daemon.rows("published")} == times


def test_holes_are_nothing_but_zeros(make_nats_server: MakeNatsServer, make_daemon: MakeDaemon) -> None:
    """A sparse file is delivered with all its zeros, in a message or as an object, by its size as it reads."""
    server = make_nats_server(config="max_payload: 1MB")
    server.start()
    daemon = make_daemon(server.url)
    small = b"\0" * 500_000 + b"end"
    for name, size in (("small", len(small)), ("large", 300 << 20)):
        with (daemon.replay / f".{name}").open("wb") as file:
            file.truncate(size - 3)
            file.seek(0, os.SEEK_END)
            file.write(b"end")
        (daemon.replay / f".{name}").rename(daemon.replay / name)
    daemon.start()
    gone(daemon)
    digest = sha256()
    for _ in range(300):
        digest.update(b"\0" * (1 << 20)) if _ < 299 else digest.update(b"\0" * ((1 << 20) - 3) + b"end")
    rows = {row["path"]: row for row in daemon.rows("published")}
    assert {path: (row["size"], row["sha256"]) for path, row in rows.items()} == {
        "small": (len(small), sha256(small).hexdigest()),
        "large": (300 << 20, digest.hexdigest()),
    }
    bucket, _, name = str(rows["large"]["object"]).partition("/")
    assert asyncio.run(read_object(server.url, bucket, name)) == digest.hexdigest()


def hashing(daemon: DaemonProcess) -> list[dict[str, Any]]:
    """The files whose digest the daemon computes now."""
    found: list[dict[str, Any]] = json.loads(daemon.get("/status"))["hashing"]
    return found


def test_a_sparse_file_of_ten_terabytes_keeps_no_other_large_file_waiting(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """It costs its producer nothing, and a daemon hours. What comes meanwhile is delivered, and status says why."""
    daemon = make_daemon(nats_server.url)
    with (daemon.replay / ".huge").open("wb") as file:
        file.truncate(10 << 40)
    (daemon.replay / ".huge").rename(daemon.replay / "huge")
    daemon.start()
    eventually(lambda: hashing(daemon) and hashing(daemon)[0]["hashed"] > 0, 20, "it is being hashed")
    (first,) = hashing(daemon)
    assert (first["path"], first["size"]) == ("huge", 10 << 40)

    daemon.drop("large", os.urandom(20 << 20))
    eventually(lambda: len(daemon.rows_so_far("published")) == 1, 30, "the other large file is delivered")
    (row,) = daemon.rows("published")
    assert row["path"] == "large"
    (last,) = hashing(daemon)
    assert first["hashed"] < last["hashed"] < last["size"]
    (daemon.replay / "huge").unlink()
    assert daemon.stop() == 0


LEASE = """
import fcntl, signal, sys, time
signal.signal(signal.SIGIO, signal.SIG_IGN)
with open(sys.argv[1], "ab") as file:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_producer_that_holds_a_write_lease_is_waited_for(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """For longer than a file that can't be read is waited for; the others go meanwhile. Then it is delivered."""
    needs.root()
    daemon = make_daemon(nats_server.url)
    leased = daemon.replay / "leased"
    leased.write_bytes(b"evidence")
    os.chown(leased, 10002, 10002)
    command = [sys.executable, "-c", LEASE, str(leased)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        daemon.start()
        began, others = time.monotonic(), 0
        while time.monotonic() < began + 12:
            daemon.drop(f"other-{others}", os.urandom(10))
            others += 1
            eventually(lambda: len(daemon.rows_so_far("published")) == others, 10, "another file is delivered")  # noqa: B023
            time.sleep(0.5)
        assert leased.exists()
        assert daemon.rows("refused") == []
        holder.stdin.close()
        eventually(lambda: daemon.waiting() == [], 20, "it is delivered")
    assert "leased" in [row["path"] for row in daemon.rows("published")]


NAMES = [
    b"\n",
    b" ",
    b"\xff",
    b"a\r\nNats-Rollup: all\r\n\r\n",
    b"'; DROP TABLE evidence; --",
    b"x\\..\\..\\etc\\passwd",
    b"a.reason.json",
    b"a",
    b"lock",
    "\N{FIRE}".encode() * 60 + b"\xfe",
    b"n" * 255,
    b"m" * 250 + b"\xc3\xa9",
]


def test_refused_files_of_any_name_are_set_aside(make_nats_server: MakeNatsServer, make_daemon: MakeDaemon) -> None:
    """Each under its own name, as far as that fits, with its reason, path and digest beside it."""
    server = make_nats_server(config="max_payload: 4096")
    server.start()
    asyncio.run(refuse_large_files(server.url))
    daemon = make_daemon(server.url)
    files = [(name, name + b"x" * 5_000) for name in NAMES]
    for name, data in files:
        daemon.drop(name, data)
    daemon.start()
    assert audited(server, daemon, files, files).problems == []
    assert {row["path"] for row in daemon.rows("refused")} == {quote_from_bytes(name) for name in NAMES}
    assert {row["reason"] for row in daemon.rows("refused")} == {"too_large"}


# What can't be read, and what can't be moved.


def test_a_file_that_can_not_be_read_is_refused_after_a_while(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Rights that come late are in time; what stays closed is set aside with that reason, and the others pass."""
    daemon = make_daemon(nats_server.url)
    if os.geteuid() == 0:  # whom modes hold back only without these capabilities
        rights = "-dac_override,-dac_read_search"
        daemon.command[:0] = [needs.program("setpriv"), f"--bounding-set={rights}", f"--inh-caps={rights}"]
    for name in ("closed", "late"):
        (daemon.replay / name).write_text(name)
        (daemon.replay / name).chmod(0)
    daemon.start()
    daemon.drop(b"open", b"1")
    eventually(lambda: daemon.rows_so_far("published"), what="the open file is delivered")
    (daemon.replay / "late").chmod(0o600)
    eventually(lambda: daemon.rows_so_far("refused"), what="the closed file is refused")
    gone(daemon)
    (refused,) = daemon.rows("refused")
    assert (refused["path"], refused["reason"]) == ("closed", "unreadable")
    assert "Permission denied" in str(refused["error"])
    assert {row["path"] for row in daemon.rows("published")} == {"open", "late"}
    assert (daemon.replay / ".syncdaemon/quarantine/closed").exists()


@pytest.fixture
def immovable(make_daemon: MakeDaemon, nats_server: NatsServer) -> Iterator[DaemonProcess]:
    """A daemon with a file that even root can't rename."""
    needs.root()
    daemon = make_daemon(nats_server.url, SYNC_HOLD_SECONDS="0")
    path = daemon.drop(b"immutable", b"1")
    if subprocess.run([needs.program("chattr"), "+i", path], capture_output=True).returncode:
        needs.missing("needs a file system that knows immutable files")
    yield daemon
    subprocess.run(["chattr", "-i", path], capture_output=True)


def test_a_file_that_can_not_be_moved_is_delivered_once(nats_server: NatsServer, immovable: DaemonProcess) -> None:
    """It stays with its receipt, over a restart as well; health says so, and when it can be moved, it is."""
    daemon = immovable
    for _ in range(2):
        daemon.start()
        eventually(lambda: "Operation not permitted" in daemon.ailment("retired"), what="health says so")
        assert daemon.stop() == 0
    daemon.start()
    daemon.drop(b"other", b"2")
    eventually(lambda: len(daemon.rows_so_far("published")) == 2, what="the other file is delivered")
    subprocess.run(["chattr", "-i", daemon.replay / "immutable"], check=True)
    assert audited(nats_server, daemon, [(b"immutable", b"1"), (b"other", b"2")]).problems == []


def test_a_file_system_mounted_below_is_delivered_and_not_emptied(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """A rename can't leave a file system: what lies there is delivered once, stays, and health says so."""
    needs.root()
    daemon = make_daemon(nats_server.url)
    place = daemon.replay / "mounted"
    place.mkdir()
    subprocess.run([needs.program("mount"), "-t", "tmpfs", "none", place], check=True)
    try:
        daemon.drop(b"mounted/a", b"1")
        for _ in range(2):
            daemon.start()
            eventually(lambda: "Invalid cross-device link" in daemon.ailment("retired"), what="health says so")
            assert daemon.stop() == 0
        assert len(daemon.rows("published", "duplicate")) == 1
        assert [path.name for path in daemon.waiting()] == ["a"]
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


# What changes while it is looked at.


class Vandal(threading.Thread):
    """Does something to files below a folder, again and again; `whole` are the contents that a file ever had."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(daemon=True)
        self.folder, self.number = folder, number
        self.whole: set[bytes] = set()
        self._dice = random.Random(number)
        self._enough = threading.Event()

    def run(self) -> None:
        acts = (self.grow, self.shrink, self.replace, self.delete, self.close_to_all)
        turn = 0
        while not self._enough.is_set():
            turn += 1
            name = self.folder / f"v{self.number}-{turn % 7}"
            self._dice.choice(acts)(name, b"vandal %d turn %d " % (self.number, turn) * self._dice.randint(1, 20_000))

    def stop(self) -> None:
        self._enough.set()
        self.join()

    def _pause(self) -> None:
        self._enough.wait(self._dice.uniform(0, 0.1))

    def grow(self, name: Path, data: bytes) -> None:
        """Writes in place, with pauses."""
        self.whole.add(data)
        with name.open("wb") as file:
            for start in range(0, len(data), 1 + len(data) // 4):
                file.write(data[start : start + 1 + len(data) // 4])
                file.flush()
                self._pause()

    def shrink(self, name: Path, data: bytes) -> None:
        """Writes, and cuts it short before it lets go."""
        self.whole.add(data[:1000])
        with name.open("wb") as file:
            file.write(data)
            file.flush()
            self._pause()
            file.truncate(min(1000, len(data)))

    def replace(self, name: Path, data: bytes) -> None:
        """As a good producer does, in the middle of whatever happens at that name."""
        self.whole.add(data)
        temporary = name.with_name(f".{name.name}")
        temporary.write_bytes(data)
        temporary.rename(name)
        self._pause()

    def delete(self, name: Path, data: bytes) -> None:
        """Takes back what is there."""
        self._pause()
        name.unlink(missing_ok=True)

    def close_to_all(self, name: Path, data: bytes) -> None:
        """Takes the rights away for a moment."""
        with suppress(FileNotFoundError):
            name.chmod(0)
            self._pause()
            name.chmod(0o600)


def test_no_half_written_file_is_ever_delivered(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Files that grow, shrink, are replaced, deleted and closed while they are read: what arrives is whole."""
    daemon = make_daemon(nats_server.url, SYNC_SETTLE_SECONDS="0.05", SYNC_HOLD_SECONDS="0")
    daemon.start()
    vandals = [Vandal(daemon.replay, number) for number in range(3)]
    for vandal in vandals:
        vandal.start()
    eventually(lambda: len(daemon.rows_so_far("published")) > 60, 60, "files are delivered in spite of them")
    for vandal in vandals:
        vandal.stop()
    gone(daemon)
    assert daemon.stop() == 0
    whole = {sha256(data).hexdigest() for vandal in vandals for data in vandal.whole}
    found = stored_digests(nats_server)
    assert len(found) == len(set(found)), "nothing is stored twice"
    assert set(found) <= whole, "nothing is stored that no file ever was"
    assert daemon.rows("refused") == []


def stored_digests(server: NatsServer) -> list[str]:
    """What the stream holds."""

    async def read() -> list[str]:
        return [sha256(message.data).hexdigest() async for message in each_message(server.url, STREAM)]

    return asyncio.run(read())
