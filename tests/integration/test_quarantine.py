"""Refused files on a real server: what an operator sees of them, and how they are delivered after all."""

from __future__ import annotations

import asyncio
import json
import os
from hashlib import sha256

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.client import connect
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import ledger_rows, messages
from tests.support.shell import Shell, given_away, one_line

pytestmark = pytest.mark.integration

STREAM = "swarm_jobs"
FILES = {"a b.bin": b"one", "2026/large.bin": b"two", "2026/ä.bin": b"three"}
AS_SHOWN = {"a%20b.bin": "a%20b.bin", "large.bin": "2026/large.bin", "%C3%A4.bin": "2026/%C3%A4.bin"}


def subject_of(data: bytes) -> str:
    """Where the message of this content belongs."""
    return f"edge.replay.test-site.{sha256(data).hexdigest()}"


async def occupy(url: str, *contents: bytes) -> None:
    """Somebody else's messages lie on the subjects of these contents."""
    client = await connect(url)
    for data in contents:
        await client.jetstream().publish(subject_of(data), b"another's")
    await client.close()


async def clear(url: str, *contents: bytes) -> None:
    """An administrator removes them."""
    client = await connect(url)
    for data in contents:
        await client.jetstream().purge_stream(STREAM, subject=subject_of(data))
    await client.close()


@pytest.fixture
def daemon(nats_server: NatsServer, make_daemon: MakeDaemon, shell: Shell) -> DaemonProcess:
    """A running daemon on the shell's folders that has refused three files, whose subjects are free again by now."""
    daemon = make_daemon(nats_server.url, str(shell.folder))
    daemon.start()
    daemon.drop("first", b"first")
    eventually(lambda: daemon.rows_so_far("published"), what="there is a stream")
    asyncio.run(occupy(nats_server.url, *FILES.values()))
    for name, data in FILES.items():
        daemon.drop(name, data)
    eventually(lambda: daemon.metric("syncdaemon_quarantined_files") == 3, what="they are refused")
    asyncio.run(clear(nats_server.url, *FILES.values()))
    return daemon


def test_the_list_tells_what_was_refused_and_why(shell: Shell, daemon: DaemonProcess) -> None:
    """As a table for people, and as JSON for programs."""
    ended = shell("quarantine", "list", "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert {entry["name"]: entry["path"] for entry in found} == AS_SHOWN
    for entry in found:
        assert entry["reason"] == "subject_taken"
        assert "is another's" in entry["error"]
        assert (entry["attempts"], entry["problem"]) == (1, "")
        assert entry["first"] <= entry["last"]
    assert {entry["sha256"] for entry in found} == {sha256(data).hexdigest() for data in FILES.values()}

    table = shell("quarantine", "list").out.splitlines()
    assert len(table) == 4
    for entry, line in zip(found, table[1:], strict=True):
        for shown in (entry["name"], entry["path"], entry["reason"], entry["sha256"], entry["first"], entry["last"]):
            assert shown in line


def test_what_is_wrong_with_a_sidecar_is_shown(shell: Shell, daemon: DaemonProcess) -> None:
    """A file is never hidden for want of one."""
    folder = shell.replay / ".syncdaemon/quarantine"
    (folder / "large.bin.reason.json").unlink()
    (folder / "a b.bin.reason.json").write_text("{")
    table = shell("quarantine", "list").out.splitlines()

    assert len(table) == 4
    assert sum("no sidecar" in line for line in table) == 1
    assert sum("the sidecar is damaged: not JSON" in line for line in table) == 1
    eventually(lambda: daemon.metric("syncdaemon_quarantined_files") == 3, what="they still count")


def test_requeue_beside_a_running_daemon(shell: Shell, daemon: DaemonProcess, nats_server: NatsServer) -> None:
    """The daemon puts them back, writes their rows before those of their delivery, and its gauge follows."""
    ended = shell("quarantine", "requeue", "--all")
    assert (ended.code, ended.err) == (0, "")
    assert sorted(ended.out.splitlines()) == sorted(f"{name} -> {path}" for name, path in AS_SHOWN.items())

    eventually(lambda: len(daemon.rows_so_far("published")) == 4, what="they are delivered")
    assert daemon.metric("syncdaemon_quarantined_files") == 0
    eventually(lambda: daemon.metric("replay_queue_depth") == 0, what="the queue is empty")
    assert json.loads(daemon.get("/healthz"))["checks"]["quarantine"]["ok"]
    for path, data in zip(("a%20b.bin", "2026/large.bin", "2026/%C3%A4.bin"), FILES.values(), strict=True):
        rows = [row for row in daemon.rows("refused", "requeued", "published") if row["path"] == path]
        assert [row["event"] for row in rows] == ["refused", "requeued", "published"]
        assert {row["sha256"] for row in rows} == {sha256(data).hexdigest()}
        assert rows[1]["reason"] == "subject_taken"
        assert "to" not in rows[1]
    stored = asyncio.run(messages(nats_server.url, STREAM))
    assert sorted(message.data for message in stored) == sorted([b"first", *FILES.values()])
    assert os.listdir(shell.replay / ".syncdaemon/requeue") == []
    assert shell("verify").code == 0


def test_requeue_without_a_daemon(shell: Shell, daemon: DaemonProcess, nats_server: NatsServer) -> None:
    """The files are back at once, and their rows come first at the next start."""
    assert daemon.stop() == 0
    ended = shell("quarantine", "requeue", "large.bin", "a b.bin")
    assert (ended.code, ended.err) == (0, "")
    assert shell.files() == ["2026/large.bin", "a b.bin"]
    assert [entry["name"] for entry in json.loads(shell("quarantine", "list", "--json").out)] == ["%C3%A4.bin"]

    assert shell("drain", NATS_URL=nats_server.url).code == 0
    events = [row["event"] for row in ledger_rows(shell.ledger) if row["event"] not in ("link", "refused")]
    assert events == ["open", "published", "close", "open", "requeued", "requeued", "published", "published", "close"]
    assert shell("verify").code == 0


def test_requeue_by_reason(shell: Shell, daemon: DaemonProcess) -> None:
    """Those of that reason, and no others; a reason that no file has is said."""
    place = shell.replay / ".syncdaemon/quarantine/large.bin.reason.json"
    place.write_text(place.read_text().replace("subject_taken", "unreadable"))
    line = one_line(shell("quarantine", "requeue", "--reason", "too_large"), 1)
    assert line == "no file in quarantine was refused as too_large"

    assert shell("quarantine", "requeue", "--reason", "unreadable").out == "large.bin -> 2026/large.bin\n"
    eventually(lambda: len(daemon.rows_so_far("published")) == 2, what="it is delivered")
    assert daemon.metric("syncdaemon_quarantined_files") == 2


def test_a_name_that_is_taken_is_not_overwritten(shell: Shell, daemon: DaemonProcess, nats_server: NatsServer) -> None:
    """The newer file stays where it is; the older one goes beside it, and the row says where."""
    assert daemon.stop() == 0
    (shell.replay / "2026/large.bin").write_bytes(b"newer")
    assert shell("quarantine", "requeue", "large.bin").out == "large.bin -> 2026/large.bin~2\n"
    assert (shell.replay / "2026/large.bin").read_bytes() == b"newer"
    assert (shell.replay / "2026/large.bin~2").read_bytes() == b"two"

    assert shell("drain", NATS_URL=nats_server.url).code == 0
    (row,) = [row for row in ledger_rows(shell.ledger) if row["event"] == "requeued"]
    assert (row["path"], row["to"]) == ("2026/large.bin", "2026/large.bin~2")


def test_a_name_that_is_not_there_is_said_and_the_others_go(shell: Shell, daemon: DaemonProcess) -> None:
    """Exit 1."""
    ended = shell("quarantine", "requeue", "nothing", "large.bin")
    assert one_line(ended, 1) == "nothing: no such file in quarantine"
    assert ended.out == "large.bin -> 2026/large.bin\n"


@pytest.mark.parametrize("arguments", [("--all", "x"), ("--reason", "r", "--all"), ("x", "--reason", "r")])
def test_requeue_wants_to_know_which(shell: Shell, arguments: tuple[str, ...]) -> None:
    """Names, a reason, or all: wrong usage otherwise."""
    ended = shell("quarantine", "requeue", *arguments)
    assert ended.code == 2
    assert "give names, or --reason, or --all" in " ".join(ended.err.split())


def test_an_empty_quarantine(shell: Shell) -> None:
    """Before the first start, and where nothing was refused."""
    assert shell("quarantine", "list").out == "no file is in quarantine\n"
    assert json.loads(shell("quarantine", "list", "--json").out) == []
    assert shell("quarantine", "requeue", "--all").out == "no file is in quarantine\n"
    assert not (shell.replay / ".syncdaemon").exists()


def test_without_a_replay_directory(shell: Shell) -> None:
    """The setting is named."""
    for command in ("list", "requeue"):
        ended = shell("quarantine", command, *["--all"] * (command == "requeue"), SYNC_REPLAY_DIR="nowhere")
        assert one_line(ended, 2).startswith("SYNC_REPLAY_DIR: nowhere is not a directory")


def test_root_works_as_the_daemons_user(shell: Shell, daemon: DaemonProcess) -> None:
    """What it leaves must be the daemon's to read and to remove: `sudo syncdaemon quarantine requeue`."""
    assert daemon.stop() == 0
    user = given_away(shell)
    (shell.replay / "2026").rmdir()
    assert shell("quarantine", "requeue", "large.bin").code == 0

    made = [shell.replay / "2026", shell.replay / "2026/large.bin"]
    made += (shell.replay / ".syncdaemon/requeue").iterdir()
    assert len(made) == 3
    assert {path.stat().st_uid for path in made} == {user}
