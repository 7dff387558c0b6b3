"""A server that loses what it acknowledged: its store is put back to an earlier copy, or is gone."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from itertools import starmap
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.audit import File, audit
from tests.support.daemon import MakeDaemon, eventually
from tests.support.matrix import Matrix
from tests.support.producers import producing

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.matrix]

ROUNDS = int(os.environ.get("ROUNDS", "1"))
BEFORE, AFTER = 200, 300
FILES = [(b"%d/f%d" % (number % 7, number), b"evidence %d" % number) for number in range(BEFORE + AFTER)]


def put_back(store: Path, copy: Path) -> None:
    """What was on the disk at the power cut."""
    shutil.rmtree(store)
    shutil.copytree(copy, store)


def empty(store: Path, copy: Path) -> None:
    """Another disk."""
    shutil.rmtree(store)


@pytest.mark.parametrize("daemon_too", [False, True], ids=["the daemon lives", "the daemon is killed too"])
@pytest.mark.parametrize(
    ("fault", "lost"),
    [(put_back, AFTER), (empty, BEFORE + AFTER)],
    ids=["an earlier copy of its store", "an empty store"],
)
def test_what_the_server_lost_is_sent_again(
    nats_server: NatsServer,
    make_daemon: MakeDaemon,
    matrix: Matrix,
    fault: Callable[[Path, Path], None],
    lost: int,
    daemon_too: bool,
) -> None:
    """It comes back without the newest messages, or without all: they are stored once more, and all is audited."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    store, copy = nats_server.folder / "store", nats_server.folder / "copy"
    for name, data in FILES[:BEFORE]:
        daemon.drop(name, data)
    eventually(lambda: len(daemon.rows_so_far("published")) == BEFORE, 30, "the first are delivered")
    nats_server.stop()
    shutil.copytree(store, copy)
    nats_server.start()
    for name, data in FILES[BEFORE:]:
        daemon.drop(name, data)
    eventually(lambda: len(daemon.rows_so_far("published")) == len(FILES), 30, "the others are delivered")

    nats_server.kill()
    if daemon_too:
        daemon.kill()
    fault(store, copy)
    nats_server.start()
    back = time.monotonic()
    if daemon_too:
        daemon.start()
    eventually(lambda: daemon.metric("syncdaemon_held_lost_total") == lost, 30, "the loss is noticed")
    eventually(lambda: len(daemon.rows_so_far("published")) == len(FILES) + lost, 30, "all are stored again")
    recovery = time.monotonic() - back
    eventually(lambda: not daemon.waiting(), what="the directory is empty")
    eventually(lambda: daemon.metric("syncdaemon_held_files") == len(FILES), what="all are held")
    assert len(daemon.rows("held_lost")) == lost
    assert daemon.stop() == 0

    found = audit(nats_server.url, "swarm_jobs", daemon.replay, daemon.ledger, starmap(File.of, FILES))
    what = "put back to an earlier copy" if fault is put_back else "emptied"
    who = "server and daemon" if daemon_too else "server"
    matrix.add(f"{who} killed, the server's store {what}", 1, found, recovery)
    assert found.problems == []


def test_a_server_that_comes_back_whole_gets_nothing_again(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Every held file is looked for, and found."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    for name, data in FILES[:BEFORE]:
        daemon.drop(name, data)
    eventually(lambda: len(daemon.rows_so_far("published")) == BEFORE, 30, "they are delivered")
    nats_server.kill()
    nats_server.start()
    eventually(lambda: "hold_checked" in daemon.log(), 30, "the hold is looked through")
    assert daemon.metric("syncdaemon_held_lost_total") == 0
    assert daemon.rows("held_lost") == []
    assert len(os.listdir(daemon.replay / ".syncdaemon" / "held")) >= 1
    assert daemon.stop() == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_power_of_the_server_fails_again_and_again(
    nats_server: NatsServer, make_daemon: MakeDaemon, matrix: Matrix
) -> None:
    """Under load, each time with what came in the last moments lost."""
    seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"SEED={seed} ROUNDS={ROUNDS}")
    dice = random.Random(seed)
    daemon = make_daemon(nats_server.url, SYNC_HOLD_SECONDS="60")
    daemon.start()
    store, copy = nats_server.folder / "store", nats_server.folder / "copy"
    rounds, slowest = 2 * ROUNDS, 0.0
    with producing(daemon) as files:
        for _ in range(rounds):
            daemon.next_receipt(60)
            nats_server.stop()
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(store, copy)
            nats_server.start()
            daemon.next_receipt(60)
            time.sleep(dice.uniform(0.1, 3))  # how much is lost
            nats_server.kill()
            put_back(store, copy)
            nats_server.start()
            slowest = max(slowest, daemon.next_receipt(60))
    eventually(lambda: not daemon.waiting(), 120, "the directory is empty")
    assert daemon.stop() == 0
    found = audit(nats_server.url, "swarm_jobs", daemon.replay, daemon.ledger, files)
    matrix.add("under load, server killed, its store put back to an earlier copy", rounds, found, slowest)
    assert found.problems == []
    assert daemon.rows("held_lost")
