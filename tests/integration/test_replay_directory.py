"""The replay directory moved away, unmounted, replaced or deleted while the daemon works on it.

Nothing is read, moved or deleted in a directory that is not the one it locked, and that one is never called empty.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import starmap
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support import needs
from tests.support.audit import File, audit
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.matrix import Matrix
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

Undo = Callable[[], object]

FILES = [(b"a", b"one"), (b"sub/b", b"two"), (b"c", b"three")]
OTHERS = [(b"a", b"another's"), (b"d", b"another's too")]
SWAPS = 6


def fill(folder: Path, files: list[tuple[bytes, bytes]]) -> None:
    """Files that somebody else has put there."""
    for name, data in files:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def moved(daemon: DaemonProcess) -> Undo:
    """The directory is renamed, and another one made in its place; how that is undone."""
    away = daemon.replay.with_name("moved away")
    daemon.replay.rename(away)
    daemon.replay.mkdir()

    def back() -> None:
        daemon.replay.rename(daemon.replay.with_name("the other one"))
        away.rename(daemon.replay)

    return back


def missing(daemon: DaemonProcess) -> Undo:
    """The directory is renamed, and nothing is there."""
    away = daemon.replay.with_name("moved away")
    daemon.replay.rename(away)
    return lambda: away.rename(daemon.replay)


def unmounted(daemon: DaemonProcess) -> Undo:
    """It is unmounted, as far as that goes while somebody has a file of it open; below it is an empty folder."""
    store = daemon.replay.parent.parent / "store"
    subprocess.run([needs.program("umount"), "--lazy", daemon.replay], check=True)
    return lambda: subprocess.run([needs.program("mount"), "--bind", store, daemon.replay], check=True)


@pytest.fixture(params=[moved, missing, unmounted])
def happens(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[DaemonProcess], Undo]]:
    """What becomes of the directory; to be unmounted, it is mounted first."""
    store, place = tmp_path / "store", tmp_path / "edge" / "replay"
    if request.param is unmounted:
        needs.root()
        store.mkdir()
        place.mkdir(parents=True)
        subprocess.run([needs.program("mount"), "--bind", store, place], check=True)
    yield request.param
    while not subprocess.run(["umount", "--lazy", place], capture_output=True).returncode:
        pass  # until it is mounted no more


def test_another_directory_is_not_taken_for_the_one_that_was_locked(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, happens: Callable[[DaemonProcess], Undo]
) -> None:
    """The daemon says so, keeps what it knows, touches nothing, and goes on by itself when the right one is back."""
    server = make_nats_server()
    daemon = make_daemon(server.url, SYNC_RESCAN_SECONDS="600")
    for name, data in FILES:
        daemon.drop(name, data)
    daemon.start()
    eventually(lambda: daemon.metric("replay_queue_depth") == 3, what="the files are counted")
    back = happens(daemon)
    if daemon.replay.exists():
        fill(daemon.replay, OTHERS)
    eventually(lambda: daemon.page("/readyz")[0] == 503, 5, "it is not ready")
    assert "is not the directory that the daemon began with" in daemon.ailment("scanned")
    assert daemon.page("/livez")[0] == 200

    server.start()
    eventually(lambda: daemon.metric("edge_link_status") == 1, what="the link is up")
    seen = time.monotonic()
    eventually(lambda: time.monotonic() - seen > 2.5, what="it had time to read a batch")
    assert daemon.metric("replay_queue_depth") == 3
    assert not daemon.rows_so_far("published")
    if daemon.replay.exists():
        assert content(daemon.replay) == {os.fsdecode(name): data for name, data in OTHERS}
        shutil.rmtree(daemon.replay / "sub", ignore_errors=True)
    back()
    eventually(lambda: daemon.page("/readyz")[0] == 200, 10, "it is ready again")
    eventually(lambda: len(daemon.rows_so_far("published")) == 3, what="the files are delivered")
    daemon.drop("later", b"told by an event")
    eventually(lambda: len(daemon.rows_so_far("published")) == 4, what="its watch is on the right directory")
    eventually(lambda: not daemon.waiting(), what="all are let go of")
    assert daemon.stop() == 0
    files = starmap(File.of, [*FILES, (b"later", b"told by an event")])
    assert audit(server.url, "swarm_jobs", daemon.replay, daemon.ledger, files).problems == []
    assert len(daemon.logged("spool_paused")) == 1, "it says so once a minute"


def test_a_directory_that_is_deleted_ends_the_daemon_and_the_next_takes_the_new_one(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """It can never come back: exit 2 with one line, and whoever restarts the daemon has it at work again."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    daemon.drop("a", b"one")
    eventually(lambda: daemon.rows_so_far("published") and not daemon.waiting(), what="the file is delivered")
    shutil.rmtree(daemon.replay)
    daemon.replay.mkdir()
    assert daemon.ended(10) == 2
    said = daemon.log().splitlines()[-1]
    assert said.startswith("syncdaemon: SYNC_REPLAY_DIR was deleted under the daemon: ")
    assert daemon.rows("close")

    daemon.start()
    daemon.drop("b", b"two")
    eventually(lambda: len(daemon.rows_so_far("published")) == 2, what="the next file is delivered")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_directory_that_is_swapped_in_the_middle_of_a_delivery(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, matrix: Matrix
) -> None:
    """Gone for moments, at any instant of a batch: each file is delivered once, with one receipt."""
    server = make_nats_server(jetstream="sync_interval: always")
    server.start()
    # A file that was looked for while it was away is found by the next scan.
    daemon = make_daemon(server.url, SYNC_HOLD_SECONDS="1", SYNC_RESCAN_SECONDS="2")
    files: list[tuple[bytes, bytes]] = []
    daemon.start()
    slowest, in_the_middle = 0.0, 0
    for number in range(SWAPS):
        begun = len(files)
        files += [(b"%d/f%d" % (seq % 10, seq), b"evidence %d " % seq * 100) for seq in range(begun, begun + 1_000)]
        fill(daemon.replay, files[begun:])
        eventually(lambda at=begun: len(daemon.rows_so_far("published")) > at, 30, "some are delivered")  # type: ignore[misc]
        back = moved(daemon)
        time.sleep(0.01 * (number % 5))  # how long it is away
        back()
        began = time.monotonic()
        in_the_middle += bool(daemon.waiting())
        eventually(lambda: not daemon.waiting(), 60, "all are delivered")
        slowest = max(slowest, time.monotonic() - began)
        other = daemon.replay.with_name("the other one")
        assert content(other) == {}
        shutil.rmtree(other)
    assert daemon.stop() == 0
    found = audit(server.url, "swarm_jobs", daemon.replay, daemon.ledger, starmap(File.of, files))
    matrix.add("replay directory swapped for an empty one and back", SWAPS, found, slowest)
    assert found.problems == []
    assert in_the_middle, "not one of the swaps met a delivery"
