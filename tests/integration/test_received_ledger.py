"""The other end's ledger while its worker dies: each file that is acknowledged has one row."""

from __future__ import annotations

import asyncio
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import MakeDaemon, eventually
from tests.support.owner import call
from tests.support.receiver import STREAM, MakeReceiver, at_server, make_stream, received
from tests.support.shell import Shell

pytestmark = [pytest.mark.integration, pytest.mark.lengthy]

FILES = 1_500
CONSUMER = "worker-staging"


def test_whatever_a_killed_worker_acknowledged_has_one_row(
    nats_server: NatsServer, make_daemon: MakeDaemon, make_receiver: MakeReceiver, shell: Shell, tmp_path: Path
) -> None:
    """Killed five times on the way; then one more file is delivered that nobody receives."""
    at_server(nats_server.url, make_stream)
    ack_wait = {"config": {"durable_name": CONSUMER, "ack_policy": "explicit", "ack_wait": 2_000_000_000}}
    create = f"CONSUMER.DURABLE.CREATE.{STREAM}.{CONSUMER}"
    asyncio.run(call(nats_server.url, create, {"stream_name": STREAM, **ack_wait}))
    daemon = make_daemon(nats_server.url, SYNC_SETTLE_SECONDS="0")
    for number in range(FILES):
        daemon.drop(f"d{number % 7}/f{number:05}", b"%d " % number + os.urandom(200))
    daemon.start()
    book = tmp_path / "book"
    worker = make_receiver(nats_server.url, "--ledger", SYNC_LEDGER_DIR=str(book))

    def rows() -> list[dict[str, Any]]:
        lines = [line for path in sorted(book.glob("received-*")) for line in path.read_bytes().split(b"\n")[:-1]]
        return [row for line in lines if (row := json.loads(line))["event"] == "received"]

    def more_than(least: int) -> bool:
        return len(rows()) > least

    for part in range(1, 6):
        worker.start()
        least = part * FILES // 7
        eventually(partial(more_than, least), 60, "files arrive")
        worker.kill()
    worker.start()

    def drained() -> bool:
        there = asyncio.run(call(nats_server.url, f"CONSUMER.INFO.{STREAM}.{CONSUMER}"))
        return not there["num_pending"] and not there["num_ack_pending"]

    eventually(lambda: not daemon.waiting() and drained(), 60, "all is acknowledged")
    assert worker.stop() == 0
    assert sorted(row["stream_seq"] for row in rows()) == list(range(1, FILES + 1))
    assert {f"{row['from_site']}/{row['path']}" for row in rows()} == set(received(worker.target))
    settings = {"SYNC_LEDGER_DIR": str(daemon.ledger)}
    held = shell("verify", "--received", str(book), **settings)
    assert held.code == 0, held
    assert "0 delivered and not arrived" in held.out

    daemon.drop("nobody", b"takes this one")
    eventually(lambda: len(daemon.rows_so_far("published")) == FILES + 1, 30, "it is delivered")
    assert daemon.stop() == 0
    held = shell("verify", "--received", str(book), **settings)
    assert held.code == 1
    assert f"missing  seq {FILES + 1} nobody: delivered" in held.out
