"""What a producer says of a file comes out at the other end: beside the file, and in the ledger."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random

import pytest

from syncdaemon.client import Outbox
from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import messages
from tests.support.receiver import MakeReceiver, received
from tests.support.shell import Shell

pytestmark = pytest.mark.integration

STREAM = "swarm_jobs"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def delivered(daemon: DaemonProcess, count: int) -> dict[str, dict[str, object]]:
    """The receipts by path, when there are so many and the replay directory is empty."""
    eventually(lambda: len(daemon.rows_so_far("published", "duplicate")) >= count, 60, "every receipt")
    eventually(lambda: not daemon.waiting(), 60, "all is out of the way")
    return {str(row["path"]): row for row in daemon.rows("published", "duplicate")}


def test_metadata_goes_all_the_way(
    nats_server: NatsServer, make_daemon: MakeDaemon, make_receiver: MakeReceiver, shell: Shell
) -> None:
    """By the command, by a sidecar of a shell, and beside a large file; the message of a duplicate keeps the first."""
    daemon = make_daemon(nats_server.url, str(shell.folder))
    large = random.Random(1).randbytes(3 << 20)
    (shell.folder / "small.bin").write_bytes(b"small")
    (shell.folder / "large.bin").write_bytes(large)
    daemon.start(within=60)
    for name in ("small.bin", "large.bin"):
        ended = shell("put", "--wait", "--metadata", f"File={name}", "--metadata", "run=7", name)
        assert ended.code == 0, ended.err
    (daemon.replay / ".dropped.meta.json").write_text(json.dumps({"a b"[0]: "x y & =", "traceparent": TRACE}))
    daemon.drop("dropped", b"dropped")
    rows = delivered(daemon, 3)
    (shell.folder / "same").write_bytes(b"small")
    assert shell("put", "--wait", "--metadata", "run=8", "same").code == 0
    rows = delivered(daemon, 4)
    assert rows["small.bin"]["meta"] == "file=small.bin&run=7"
    assert rows["large.bin"]["meta"] == "file=large.bin&run=7"
    assert rows["large.bin"]["object"]
    assert (rows["dropped"]["meta"], rows["dropped"]["traceparent"]) == ("a=x+y+%26+%3D", TRACE)
    assert (rows["same"]["event"], rows["same"]["meta"]) == ("duplicate", "run=8")
    found = {message.headers["Edge-Path"]: message for message in asyncio.run(messages(nats_server.url, STREAM))}
    assert found["small.bin"].headers["Edge-Meta-Run"] == "7"
    assert found["small.bin"].headers["Nats-Msg-Id"] == digest(b"small")
    assert found["dropped"].headers["traceparent"] == TRACE

    receiver = make_receiver(nats_server.url, "--sidecars")
    receiver.start()
    eventually(lambda: len(received(receiver.target)) >= 6, 60, "three files and their sidecars")
    site = receiver.target / "test-site"
    said = json.loads((site / ".dropped.meta.json").read_text())
    assert said == {"a": "x y & =", "traceparent": TRACE, "sha256": digest(b"dropped")}
    assert json.loads((site / ".large.bin.meta.json").read_text())["run"] == "7"
    assert (site / "large.bin").read_bytes() == large
    assert daemon.stop() == 0


@pytest.mark.lengthy
def test_a_bad_sidecar_sets_the_file_aside_and_a_mended_one_brings_it_through(
    nats_server: NatsServer, make_daemon: MakeDaemon, shell: Shell
) -> None:
    daemon = make_daemon(nats_server.url, str(shell.folder))
    daemon.start(within=60)
    (daemon.replay / ".a.meta.json").write_text('{"a": "x\\r\\nNats-Msg-Id: y"}')
    daemon.drop("a", b"evidence")
    eventually(lambda: daemon.metric("syncdaemon_quarantined_files") == 1, 60, "it is set aside")
    (row,) = daemon.rows("refused")
    assert row["reason"] == "bad_metadata"
    aside = daemon.replay / ".syncdaemon" / "quarantine"
    assert sorted(path.name for path in aside.iterdir()) == [".a.meta.json", "a", "a.reason.json"]
    (aside / ".a.meta.json").write_text('{"a": "x"}')
    assert shell("quarantine", "requeue", "--all").code == 0
    assert delivered(daemon, 1)["a"]["meta"] == "a=x"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_lose_neither_a_file_nor_what_was_said_of_it(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """The daemon is killed while files with metadata come; each message has its own, and each file one message."""
    daemon = make_daemon(nats_server.url, SYNC_HOLD_SECONDS="1")
    rng, count = random.Random(7), 0
    outbox = Outbox(daemon.replay, trusted=[os.geteuid()])
    for _ in range(12):
        daemon.start(within=60)
        for _ in range(60):
            outbox.put(f"{count}".encode(), name=f"f{count}", metadata={"n": str(count)})
            count += 1
            if rng.random() < 0.02:
                break
        daemon.kill()
    daemon.start(within=60)
    eventually(lambda: not [path for path in daemon.waiting() if path.name[0] != "."], 120, "all is delivered")
    found = asyncio.run(messages(nats_server.url, STREAM))
    assert len(found) == count
    for message in found:
        assert message.headers["Edge-Meta-N"].encode() == message.data, message.headers
    for row in daemon.rows("published"):
        assert row["meta"] == f"n={str(row['path'])[1:]}"
    assert not [path for path in daemon.waiting() if path.name.startswith(".f")]
