"""Atomic batches at a server that syncs every message, and what dies, is cut or is lost in the middle of them."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from itertools import count
from typing import Any

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.audit import File, audit
from tests.support.client import connect
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import Stored, messages
from tests.support.matrix import Matrix
from tests.support.relay import MakeRelay
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.matrix, pytest.mark.timeout(3600)]

ROUNDS = int(os.environ.get("ROUNDS", "1"))
STREAM = "swarm_jobs"
BURST = 600
WINDOW = 1.0  # seconds
QUIET = 0.3  # seconds: a little more than SYNC_SETTLE_SECONDS
DIGEST: dict[str, str] = {}
PLAIN = {"SYNC_SUBJECT": "edge.replay.plain"}
SUBJECTS = pytest.mark.parametrize("subject", [DIGEST, PLAIN], ids=["subject per digest", "plain subject"])
"""The stream refuses the second copy by itself, or the ledger's attempts tell what has to be looked for."""


@pytest.fixture
def server(make_nats_server: MakeNatsServer) -> NatsServer:
    """One where batches are the faster way."""
    server = make_nats_server(jetstream="sync_interval: always")
    server.start()
    return server


async def make_stream(url: str, **config: Any) -> None:
    """A stream that takes batches, and forgets ids soon."""
    client = await connect(url)
    try:
        js = client.jetstream()
        await js.add_stream(
            name=STREAM, subjects=["edge.replay.>"], duplicate_window=WINDOW, allow_atomic=True, **config
        )
    finally:
        await client.close()


def stored(server: NatsServer) -> list[Stored]:
    """What the stream holds."""
    return asyncio.run(messages(server.url, STREAM))


def in_batches(server: NatsServer) -> int:
    """How many messages came in a batch."""
    return sum("Nats-Batch-Id" in message.headers for message in stored(server))


class Bursts:
    """Folders of files that appear at once, complete: as they wait after an outage. A few have another's content."""

    def __init__(self, daemon: DaemonProcess, equal: bool) -> None:
        self.files: list[File] = []
        self._daemon = daemon
        self._equal = equal
        self._folders = count()

    def drop(self, size: int = BURST) -> None:
        """So many more files."""
        folder = f"burst-{next(self._folders)}"
        hidden = self._daemon.replay / f".{folder}"
        hidden.mkdir()
        first = len(self.files)
        for number in range(first, first + size):
            told = number - 50 if self._equal and number % 700 == 699 else number
            data = (b"evidence %d " % told) * 64
            (hidden / f"f{number}").write_bytes(data)
            self.files.append(File.of(f"{folder}/f{number}".encode(), data))
        quiet = time.monotonic() + QUIET
        eventually(lambda: time.monotonic() > quiet, what="the files have been quiet for long enough")
        hidden.rename(self._daemon.replay / folder)

    def delivered(self) -> int:
        """How many have a receipt."""
        return len(self._daemon.rows_so_far("published")) + len(self._daemon.rows_so_far("duplicate"))


@SUBJECTS
def test_a_daemon_or_a_server_killed_in_the_middle_of_batches_keeps_the_promises(
    server: NatsServer, make_daemon: MakeDaemon, matrix: Matrix, subject: dict[str, str]
) -> None:
    """Each twice a round, when some of a burst are delivered and some are not."""
    seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"SEED={seed} ROUNDS={ROUNDS}")
    dice = random.Random(seed)
    asyncio.run(make_stream(server.url))
    daemon = make_daemon(server.url, SYNC_HOLD_SECONDS="5", **subject)
    daemon.start()
    bursts, slowest = Bursts(daemon, equal=subject is DIGEST), 0.0
    for _ in range(ROUNDS):
        for victim in dice.sample(["daemon", "daemon", "server", "server"], 4):
            enough = bursts.delivered() + dice.randrange(BURST)
            bursts.drop()
            eventually(lambda enough=enough: bursts.delivered() > enough, 60, "some are delivered")  # type: ignore[misc]
            if victim == "daemon":
                daemon.kill()
                daemon.launch()
            else:
                server.kill()
                server.start()
            back = time.monotonic()
            bursts.drop(20)
            eventually(lambda: bursts.delivered() >= len(bursts.files), 60, "all are delivered")
            slowest = max(slowest, time.monotonic() - back)
    eventually(lambda: not daemon.waiting(), 60, "the directory is empty")
    assert daemon.stop() == 0
    found = audit(server.url, STREAM, daemon.replay, daemon.ledger, bursts.files)
    what = "plain subject" if subject else "subject per digest"
    matrix.add(f"daemon or server killed in the middle of atomic batches: {what}", 4 * ROUNDS, found, slowest)
    assert found.problems == []
    assert in_batches(server) > len(bursts.files) // 4


@SUBJECTS
def test_a_batch_stored_and_not_acknowledged_is_stored_once_after_the_window(
    server: NatsServer, make_daemon: MakeDaemon, make_relay: MakeRelay, matrix: Matrix, subject: dict[str, str]
) -> None:
    """No answer gets through from a commit on, the daemon is killed, the window passes."""
    asyncio.run(make_stream(server.url))
    relay = make_relay(server)
    daemon = make_daemon(relay.url, **subject)
    daemon.start()
    bursts = Bursts(daemon, equal=False)
    bursts.drop()
    eventually(lambda: bursts.delivered() == BURST, 60, "the first are delivered")
    relay.mute_after = b"Nats-Batch-Commit"
    bursts.drop()

    def unacknowledged() -> list[Stored]:
        known = {row["sha256"] for row in daemon.rows("published")}
        return [message for message in stored(server) if message.headers["Edge-Sha256"] not in known]

    eventually(lambda: not relay.to_client.is_set(), 60, "a batch is committed")
    eventually(lambda: any("Nats-Batch-Id" in message.headers for message in unacknowledged()), 60, "and stored")
    daemon.kill()
    forgotten = time.monotonic() + WINDOW + 0.2
    eventually(lambda: time.monotonic() > forgotten, what="the server forgets the ids")
    in_doubt = {message.headers["Edge-Sha256"]: message.seq for message in unacknowledged()}
    relay.mute_after = b""
    relay.reset()
    relay.restore()

    began = time.monotonic()
    daemon.start()
    eventually(lambda: not daemon.waiting(), 60, "all are delivered")
    recovery = time.monotonic() - began
    assert daemon.stop() == 0
    found = audit(server.url, STREAM, daemon.replay, daemon.ledger, bursts.files)
    what = "plain subject" if subject else "subject per digest"
    matrix.add(f"acks cut while a batch commits, daemon killed, window passed: {what}", 1, found, recovery)
    assert found.problems == []
    told = {row["sha256"]: row["stream_seq"] for row in daemon.rows("published")}
    assert {digest: told[digest] for digest in in_doubt} == in_doubt


def test_batches_that_the_server_lost_are_sent_again(
    server: NatsServer, make_daemon: MakeDaemon, matrix: Matrix
) -> None:
    """Its store is put back to an earlier copy: what came since is in the hold, with each file's own sequence."""
    asyncio.run(make_stream(server.url))
    daemon = make_daemon(server.url)
    daemon.start()
    bursts = Bursts(daemon, equal=False)
    store, copy = server.folder / "store", server.folder / "copy"
    bursts.drop()
    eventually(lambda: bursts.delivered() == BURST, 60, "the first are delivered")
    server.stop()
    shutil.copytree(store, copy)
    server.start()
    bursts.drop()
    eventually(lambda: bursts.delivered() == 2 * BURST, 60, "the others are delivered")
    assert in_batches(server) > BURST // 2

    server.kill()
    shutil.rmtree(store)
    shutil.copytree(copy, store)
    server.start()
    back = time.monotonic()
    eventually(lambda: bursts.delivered() == 3 * BURST, 60, "what was lost is stored again")
    recovery = time.monotonic() - back
    eventually(lambda: not daemon.waiting(), what="the directory is empty")
    assert len(daemon.rows("held_lost")) == BURST
    assert daemon.stop() == 0
    found = audit(server.url, STREAM, daemon.replay, daemon.ledger, bursts.files)
    matrix.add("server killed, its store put back to before the newest atomic batches", 1, found, recovery)
    assert found.problems == []
