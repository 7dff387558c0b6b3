"""Hand-overs from eight processes while daemon and server are killed: every put is stored once, and answered."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import messages
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

PROCESSES = 8
PRODUCER = """
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
from syncdaemon.client import Outbox

replay, number, count, pause = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
outbox = Outbox(replay)
tickets = []
for at in range(count):
    tickets.append(outbox.put(b"%s of %s" % (str(at).encode(), number.encode()) + os.urandom(200)))
    print("put", tickets[-1], flush=True)
    time.sleep(pause)
futures = [(ticket, ticket.future()) for ticket in tickets]
for ticket, future in futures:
    receipt = future.result(240)
    print("receipt", ticket, receipt.stream_seq, int(receipt.duplicate), receipt.row, flush=True)
"""


def kill_and_start(daemon: DaemonProcess, server: NatsServer, *, daemons: int, servers: int, seconds: float) -> None:
    """So many deaths of each, at random moments within so many seconds."""
    moments = [*["daemon"] * daemons, *["server"] * servers]
    random.Random(daemons).shuffle(moments)
    for victim in moments:
        time.sleep(random.uniform(0.2, 2 * seconds / len(moments)))
        if victim == "server":
            server.kill()
            time.sleep(0.3)
            server.start()
        else:
            daemon.kill()
            daemon.start()


@pytest.mark.parametrize(
    ("count", "daemons", "servers", "seconds"),
    [
        pytest.param(10, 2, 1, 2, id="short"),
        pytest.param(40, 4, 1, 6, id="320", marks=pytest.mark.lengthy),
        pytest.param(1250, 20, 5, 90, id="10000", marks=pytest.mark.lengthy),
    ],
)
def test_every_put_that_returned_is_in_the_stream_once_and_every_ticket_is_answered(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, count: int, daemons: int, servers: int, seconds: float
) -> None:
    server = make_nats_server()
    server.start()
    daemon = make_daemon(server.url)
    daemon.start()
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root / "services")}
    producers = [
        subprocess.Popen(
            [sys.executable, "-c", PRODUCER, str(daemon.replay), str(number), str(count), str(seconds / count / 2)],
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    said: list[list[str]] = [[] for _ in producers]
    readers = []
    for producer, lines in zip(producers, said, strict=True):
        assert producer.stdout is not None
        readers.append(threading.Thread(target=lines.extend, args=(producer.stdout,)))
        readers[-1].start()
    try:
        kill_and_start(daemon, server, daemons=daemons, servers=servers, seconds=seconds)
        ended = [producer.wait(300) for producer in producers]
    finally:
        for producer in producers:
            producer.kill()
            producer.wait()
        for reader in readers:
            reader.join()
        for producer in producers:
            assert producer.stdout is not None
            producer.stdout.close()
    assert ended == [0] * PROCESSES

    words = [line.split() for lines in said for line in lines]
    put = {one[1] for one in words if one[0] == "put"}
    receipts = {one[1]: one[2:] for one in words if one[0] == "receipt"}
    assert len(put) == PROCESSES * count
    assert receipts.keys() == put
    eventually(lambda: not daemon.waiting(), 60, "nothing is left")
    stored = asyncio.run(messages(server.url, "swarm_jobs"))
    by_digest = {message.subject.rpartition(".")[2]: message.seq for message in stored}
    assert len(stored) == len(by_digest) == len(put)
    rows = {row["n"]: row for row in daemon.rows("published", "duplicate")}
    for ticket, (seq, duplicate, number) in receipts.items():
        row = rows[int(number)]
        assert f"{row['path']}#{row['sha256']}" == ticket
        assert (row["stream_seq"], row["event"] == "duplicate") == (int(seq), bool(int(duplicate)))
    latest = {f"{row['path']}#{row['sha256']}": row["stream_seq"] for row in rows.values()}
    assert all(by_digest[ticket.partition("#")[2]] == seq for ticket, seq in latest.items())
