"""`syncdaemon put --wait`: exit 0 only with every receipt, and a line or a JSON object for each file."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.client import connect
from tests.support.daemon import DaemonProcess, MakeDaemon
from tests.support.shell import Shell

pytestmark = pytest.mark.integration


@pytest.fixture
def daemon(nats_server: NatsServer, make_daemon: MakeDaemon, shell: Shell) -> DaemonProcess:
    """A running daemon on the shell's folders, whose quiet time is long."""
    made = make_daemon(nats_server.url, str(shell.folder), SYNC_SETTLE_SECONDS="30")
    made.start()
    return made


def files(shell: Shell, *names: str) -> None:
    for name in names:
        (shell.folder / name).write_text(name)


async def occupy(url: str, data: bytes) -> None:
    """Somebody else's message lies on the subject of this content."""
    client = await connect(url)
    subject = f"edge.replay.test-site.{hashlib.sha256(data).hexdigest()}"
    await client.jetstream().publish(subject, b"another's")
    await client.close()


def test_every_file_gets_its_receipt(shell: Shell, daemon: DaemonProcess) -> None:
    """A line for each; the same as JSON."""
    files(shell, "a", "b", "c")
    ended = shell("put", "--wait", "a", "b")
    lines = ended.out.splitlines()
    assert (ended.code, len(lines)) == (0, 2)
    assert all(f"{shell.replay}/{name}: message " in line for name, line in zip("ab", lines, strict=True))
    ended = shell("put", "--wait", "--json", "c", "--name", "run/c")
    found = json.loads(ended.out)
    assert ended.code == 0
    assert (found["path"], found["state"], found["stream_seq"]) == (f"{shell.replay}/run/c", "delivered", 3)
    assert found["ticket"] == f"run/c#{hashlib.sha256(b'c').hexdigest()}"


@pytest.mark.lengthy
def test_without_wait_the_ticket_is_had_as_json(shell: Shell, daemon: DaemonProcess) -> None:
    files(shell, "a")
    found = json.loads(shell("put", "--json", "a").out)
    assert found == {"path": f"{shell.replay}/a", "ticket": f"a#{hashlib.sha256(b'a').hexdigest()}"}


@pytest.mark.lengthy
def test_a_refused_file_is_exit_1_and_the_others_have_their_receipts(
    shell: Shell, daemon: DaemonProcess, nats_server: NatsServer
) -> None:
    files(shell, "first", "bad", "good")
    assert shell("put", "--wait", "first").code == 0
    asyncio.run(occupy(nats_server.url, b"bad"))
    ended = shell("put", "--wait", "--json", "bad", "good")
    refused, delivered = map(json.loads, ended.out.splitlines())
    assert (ended.code, refused["state"], refused["reason"]) == (1, "refused", "subject_taken")
    assert delivered["state"] == "delivered"
    assert len(ended.said) == 1


@pytest.mark.lengthy
def test_one_that_has_no_receipt_in_time_is_exit_1(
    shell: Shell, daemon: DaemonProcess, nats_server: NatsServer
) -> None:
    """The server is away: the file waits."""
    nats_server.stop()
    files(shell, "a")
    ended = shell("put", "--wait", "--timeout", "1", "a")
    assert (ended.code, len(ended.said)) == (1, 1)
    assert "no receipt yet" in ended.err


def test_without_a_daemon_it_is_exit_3_and_the_file_is_there(shell: Shell) -> None:
    """At the end of the time, or after some seconds in which none was started."""
    files(shell, "a", "b")
    assert shell("put", "--wait", "--timeout", "1", "a").code == 3
    began = time.monotonic()
    ended = shell("put", "--wait", "b")
    assert (ended.code, len(ended.said)) == (3, 1)
    assert time.monotonic() - began < 15
    assert sorted(path.name for path in shell.replay.iterdir()) == ["a", "b"]
    assert shell("put", "a").code == 1  # one of its name still waits
