"""Daemon and server killed at random times under load; afterwards an auditor that knows nothing of ours counts."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import subprocess
import sys
import threading
import time

import pytest

from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import messages
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]

ROUNDS = int(os.environ.get("ROUNDS", "3"))
PRODUCERS = 3
SIZES = (0, 1, 300, 4_000, 60_000, 400_000)


class Producer(threading.Thread):
    """Drops files of mixed sizes until it is told to stop; every tenth has the content of an earlier one."""

    def __init__(self, daemon: DaemonProcess, number: int) -> None:
        super().__init__()
        self.written: dict[str, bytes] = {}
        self._daemon, self._number = daemon, number
        self._random = random.Random(number)
        self._enough = threading.Event()

    def run(self) -> None:
        while not self._enough.wait(self._random.uniform(0, 0.01)):
            name = f"p{self._number}/{len(self.written):05}.bin"
            if self.written and self._random.random() < 0.1:
                data = self._random.choice(list(self.written.values()))
            else:
                data = name.encode() + self._random.randbytes(self._random.choice(SIZES))
            self.written[name] = data
            self._daemon.drop(name, data)

    def stop(self) -> None:
        self._enough.set()
        self.join()


def test_nothing_is_lost_or_doubled_whoever_is_killed_and_when(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """In each round the daemon is killed twice and the server once, at random instants."""
    seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"SEED={seed} ROUNDS={ROUNDS}")
    dice = random.Random(seed)
    server = make_nats_server()
    server.start()
    daemon = make_daemon(server.url, SYNC_HOLD_SECONDS="5")
    daemon.start()
    producers = [Producer(daemon, number) for number in range(PRODUCERS)]
    for producer in producers:
        producer.start()

    slowest = 0.0
    try:
        for _ in range(ROUNDS):
            for victim in dice.sample(["daemon", "daemon", "server"], 3):
                time.sleep(dice.uniform(0.05, 1.5))  # the random instant itself
                if victim == "daemon":
                    daemon.kill()
                    daemon.launch()
                else:
                    server.kill()
                    server.start()
            slowest = max(slowest, _seconds_to_next_receipt(daemon))
    finally:
        for producer in producers:
            producer.stop()

    written = {name: data for producer in producers for name, data in producer.written.items()}
    eventually(lambda: not daemon.waiting(), 120, "everything is delivered")
    eventually(lambda: daemon.metric("replay_queue_depth") == 0, 20, "the queue is empty")
    assert daemon.stop() == 0

    contents = {hashlib.sha256(data).hexdigest() for data in written.values()}
    stored = asyncio.run(messages(server.url, "swarm_jobs"))
    lost = contents - {hashlib.sha256(message.data).hexdigest() for message in stored}
    doubled = len(stored) - len({message.subject for message in stored})
    print(f"| {ROUNDS} rounds | {len(written)} files | {len(lost)} lost | {doubled} doubled | {slowest:.1f} s |")
    assert not lost
    assert not doubled
    assert len(stored) == len(contents)

    where = {hashlib.sha256(message.data).hexdigest(): message.seq for message in stored}
    receipts = daemon.rows("published", "duplicate")
    assert sorted(str(row["path"]) for row in receipts) == sorted(written), "one receipt for each file"
    assert all(row["stream_seq"] == where[str(row["sha256"])] for row in receipts)
    verified = subprocess.run([sys.executable, "-m", "syncdaemon", "verify"], env=daemon.env, capture_output=True)
    assert verified.returncode == 0, verified.stderr


def _seconds_to_next_receipt(daemon: DaemonProcess) -> float:
    began, before = time.monotonic(), len(daemon.rows_so_far("published"))
    eventually(lambda: len(daemon.rows_so_far("published")) > before, 30, "receipts go on after the kills")
    return time.monotonic() - began
