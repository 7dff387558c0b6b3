"""SYNC_COMPRESS=zstd from one end to the other: what is stored, recorded, read back, verified and received."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from hashlib import sha256

import pytest
import zstandard

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import Stored, messages
from tests.support.receiver import MakeReceiver, received

pytestmark = pytest.mark.integration

TEXT = b"2026-11-24T12:00:00Z sensor 4711 reads 21.5 degrees\n" * 400
NOISE = os.urandom(20_000)


def delivered(daemon: DaemonProcess, files: dict[str, bytes]) -> None:
    """Drops them, and waits until they are gone."""
    for name, data in files.items():
        daemon.drop(name, data)
    eventually(lambda: not daemon.waiting(), what="all is delivered")


def in_stream(server: NatsServer) -> dict[str, Stored]:
    """Its messages, by the path of their file."""
    return {message.headers["Edge-Path"]: message for message in asyncio.run(messages(server.url, "swarm_jobs"))}


def test_from_end_to_end(nats_server: NatsServer, make_daemon: MakeDaemon, make_receiver: MakeReceiver) -> None:
    """What gets smaller is sent so, the rest as it is; the ledger proves it, and the other end has the files."""
    files = {"log.txt": TEXT, "noise.bin": NOISE, "empty": b"", "small": b"OK\n"}
    daemon = make_daemon(nats_server.url, SYNC_COMPRESS="zstd")
    daemon.start()
    delivered(daemon, files)
    stored = in_stream(nats_server)

    packed = stored.pop("log.txt")
    assert packed.headers["Content-Encoding"] == "zstd"
    assert packed.headers["Nats-Msg-Id"] == packed.headers["Edge-Sha256"] == sha256(TEXT).hexdigest()
    assert packed.headers["Edge-Size"] == str(len(TEXT))
    assert zstandard.ZstdDecompressor().decompress(packed.data) == TEXT
    assert len(packed.data) < len(TEXT) / 20
    for name, message in stored.items():
        assert message.data == files[name]
        assert "Content-Encoding" not in message.headers
    assert {row["path"]: row.get("sent_bytes") for row in daemon.rows("published")} == {
        "log.txt": len(packed.data),
        "noise.bin": None,
        "empty": None,
        "small": None,
    }
    assert daemon.metric("syncdaemon_published_bytes_total") == sum(map(len, files.values()))

    verify = [sys.executable, "-m", "syncdaemon", "verify", "--stream", "--content"]
    done = subprocess.run(verify, env=daemon.env, cwd=daemon.replay.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    receiver = make_receiver(nats_server.url)
    receiver.start()
    wanted = {f"test-site/{name}": data for name, data in files.items()}
    eventually(lambda: len(received(receiver.target)) == len(files), what="all is received")
    for name, data in wanted.items():
        assert (receiver.target / name).read_bytes() == data
    assert receiver.stop() == 0
    assert daemon.stop() == 0


@pytest.mark.parametrize(("first", "then"), [("zstd", "none"), ("none", "zstd")])
def test_the_same_content_is_a_duplicate_however_it_was_sent(
    nats_server: NatsServer, make_daemon: MakeDaemon, first: str, then: str
) -> None:
    """The id is that of the original: a copy is known, by this daemon and by one that is set otherwise."""
    daemon = make_daemon(nats_server.url, SYNC_COMPRESS=first)
    daemon.start()
    delivered(daemon, {"one": TEXT})
    assert daemon.stop() == 0
    again = make_daemon(nats_server.url, folder="again", SITE="other-site", SYNC_COMPRESS=then)
    again.env["SYNC_SUBJECT"] = "edge.replay.test-site.{sha256}"
    again.start()
    delivered(again, {"two": TEXT})

    assert [row["stream_seq"] for row in again.rows("duplicate")] == [1]
    assert len(in_stream(nats_server)) == 1
    assert again.stop() == 0
