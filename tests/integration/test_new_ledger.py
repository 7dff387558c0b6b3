"""A ledger that is younger than the stream, and a subject that was changed: what is said of them."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.client import connect
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.owner import call
from tests.support.shell import Shell

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STREAM = "swarm_jobs"


def deliver(daemon: DaemonProcess, *names: str, until: str = "") -> None:
    """One life of the daemon, in which these files are delivered and this event is logged."""
    for name in names:
        daemon.drop(name, name.encode())
    daemon.start()
    eventually(lambda: not daemon.waiting(), what="all is delivered")
    if until:
        daemon.logged(until, at_least=1)
    assert daemon.stop() == 0


async def forge(url: str, subject: str) -> None:
    """A message in the name of the site, of which no ledger can know."""
    client = await connect(url)
    await client.jetstream().publish(subject, b"forged", headers={"Edge-Site": "test-site", "Edge-Path": "forged"})
    await client.close()


def test_what_is_older_than_the_ledger_is_not_unknown(
    shell: Shell, nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """The start says that the ledger is younger than the stream. What comes later without a receipt is unknown."""
    daemon = make_daemon(nats_server.url, str(shell.folder))
    deliver(daemon, "a", "b", "c")
    shutil.rmtree(daemon.ledger)
    deliver(daemon, "d", "e", until="ledger_is_younger_than_stream")
    assert daemon.logged("ledger_is_younger_than_stream")[0]["seq"] == 1
    ended = shell("verify", "--stream", NATS_URL=nats_server.url)
    assert ended.code == 0, ended
    assert "5 messages, 3 of them from before this ledger" in ended.out
    assert "0 unknown" in ended.out

    asyncio.run(forge(nats_server.url, "edge.replay.test-site." + "0" * 64))
    ended = shell("verify", "--stream", NATS_URL=nats_server.url)
    assert ended.code == 1, ended
    assert "unknown  seq 6 forged" in ended.out


def test_a_new_site_says_nothing_of_its_ledger(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Nor does one that starts again."""
    daemon = make_daemon(nats_server.url)
    deliver(daemon, "a")
    deliver(daemon, "b")
    assert not daemon.logged("ledger_is_younger_than_stream")


def test_a_changed_subject_hides_nothing(shell: Shell, nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """`verify --stream` looks at every subject that the ledger names."""
    config = {"name": STREAM, "subjects": ["edge.replay.*.*", "new.*.*"], "storage": "file", "allow_direct": True}
    asyncio.run(call(nats_server.url, f"STREAM.CREATE.{STREAM}", config))
    daemon = make_daemon(nats_server.url, str(shell.folder), SYNC_HOLD_SECONDS="0")
    deliver(daemon, "a", "b")
    daemon.env["SYNC_SUBJECT"] = "new.{site}.{sha256}"
    deliver(daemon, "c")
    ended = shell("verify", "--stream", NATS_URL=nats_server.url, SYNC_SUBJECT="new.{site}.{sha256}")
    assert ended.code == 0, ended
    assert "3 receipts, 3 messages" in ended.out

    asyncio.run(forge(nats_server.url, "edge.replay.test-site." + "0" * 64))
    ended = shell("verify", "--stream", NATS_URL=nats_server.url, SYNC_SUBJECT="new.{site}.{sha256}")
    assert ended.code == 1, ended
    assert "unknown  seq 4 forged" in ended.out
