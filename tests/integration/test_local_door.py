"""The local door: files are handed over, and their receipts are had, through the socket in the daemon's folder."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import stat
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from syncdaemon.client import DaemonAway, NotBelieved, NotProved, Outbox, ReceiptTimeout, Refused
from syncdaemon.client.door import LocalDoor
from syncdaemon.dev.server import HOST, NatsServer
from tests.support.client import connect
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.local_door import call, dial

pytestmark = pytest.mark.integration

NO_CALLS: list[tuple[str, object]] = [
    ("/v1/files", {"ticket": "a"}),
    ("/v1/files", {"ticket": ["a"]}),
    ("/v1/files", {"ticket": "a#" + "0" * 63}),
    ("/v1/files", {"ticket": "../a#" + "0" * 64, "more": 1}),
    ("/v1/files", b"[" * 100_000),
    ("/v1/files", b"\xff"),
    ("/v1/receipts", {"tickets": []}),
    ("/v1/receipts", {"tickets": ["a#" + "0" * 64] * 257}),
    ("/v1/receipts", {"tickets": ["a#" + "0" * 64], "wait_seconds": 1e9}),
    ("/v1/receipts", {"tickets": ["a#" + "0" * 64], "wait_seconds": float("nan")}),
    ("/v1/receipts", {"tickets": ["a#" + "0" * 64], "since": -1}),
    ("/v1/receipts", {"tickets": "a#" + "0" * 64}),
    ("/v1/control/pause", {"for_seconds": "2h"}),
    ("/v1/control/limit", {}),
    ("/v1/control/rescan", {"large": True}),
]

LONG = "30"  # seconds of quiet time: whatever is delivered sooner did not wait for it


@pytest.fixture
def daemon(nats_server: NatsServer, make_daemon: MakeDaemon) -> DaemonProcess:
    """A daemon whose quiet time is long: what is handed over must not wait for it."""
    made = make_daemon(nats_server.url, SYNC_SETTLE_SECONDS=LONG)
    made.start()
    return made


def ticket_of(path: str, data: bytes) -> str:
    return f"{path}#{hashlib.sha256(data).hexdigest()}"


def receipts(daemon: DaemonProcess, *tickets: str, wait: float = 0.3) -> dict[str, dict[str, object]]:
    answered = call(daemon.replay, "/v1/receipts", {"tickets": tickets, "wait_seconds": wait})
    assert answered.status == 200, answered
    found: dict[str, dict[str, object]] = answered.body["receipts"]
    return found


def test_what_is_handed_over_needs_no_quiet_time(daemon: DaemonProcess) -> None:
    """The receipt says where it is; so does the ledger."""
    ticket = Outbox(daemon.replay).put(b"evidence", name="run 7/a#b.json")
    receipt = ticket.receipt(10)
    (row,) = daemon.rows("published")
    assert (receipt.stream, receipt.stream_seq, receipt.duplicate) == (row["stream"], row["stream_seq"], False)
    assert receipt.row == row["n"]
    assert str(ticket) == ticket_of("run%207/a%23b.json", b"evidence") == f"{row['path']}#{row['sha256']}"


@pytest.mark.lengthy
def test_what_is_only_dropped_keeps_its_quiet_time(daemon: DaemonProcess) -> None:
    daemon.drop("dropped", b"evidence")
    Outbox(daemon.replay).put(b"other").receipt(10)
    assert len(daemon.rows("published")) == 1


@pytest.mark.lengthy
def test_the_same_content_again_is_a_duplicate(daemon: DaemonProcess) -> None:
    outbox = Outbox(daemon.replay)
    first = outbox.put(b"evidence", name="a").receipt(10)
    second = outbox.put(b"evidence", name="b").receipt(10)
    assert (second.stream_seq, second.duplicate) == (first.stream_seq, True)


def test_a_ticket_is_good_in_another_process_and_after_a_restart_of_the_daemon(daemon: DaemonProcess) -> None:
    """A row that was written before the question counts, and one of a process that has ended."""
    outbox = Outbox(daemon.replay)
    ticket = outbox.put(b"evidence")
    receipt = ticket.receipt(10)
    assert Outbox(daemon.replay).ticket(str(ticket)).receipt(10) == receipt
    assert daemon.stop() == 0
    with pytest.raises(DaemonAway):
        Outbox(daemon.replay).ticket(str(ticket)).receipt(0.2)
    daemon.start()
    assert Outbox(daemon.replay).ticket(str(ticket)).receipt(10) == receipt
    assert outbox.ticket(str(ticket)).receipt(10) == receipt


@pytest.mark.lengthy
def test_put_needs_no_daemon_and_the_ticket_waits_for_one(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(nats_server.url, SYNC_SETTLE_SECONDS=LONG)
    ticket = Outbox(daemon.replay).put(b"evidence")
    with pytest.raises(ReceiptTimeout):
        ticket.receipt(0.2)
    future = ticket.future()
    daemon.start()
    assert future.result(20).stream_seq == 1


def test_a_receipt_whose_file_a_crash_left_there_is_found(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """The daemon ended between the row and the move of the file: no further row will ever come for it."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    path = daemon.drop("a", b"evidence")
    kept = path.stat()
    eventually(lambda: len(daemon.rows_so_far("published")) == 1, what="it is delivered")
    daemon.kill()
    path.write_bytes(b"evidence")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    daemon.env["SYNC_SETTLE_SECONDS"] = LONG
    daemon.start()
    ticket = ticket_of("a", b"evidence")
    assert call(daemon.replay, "/v1/files", {"ticket": ticket}).status == 200
    assert receipts(daemon, ticket, wait=10)[ticket]["row"] == daemon.rows("published")[0]["n"]


def test_a_refused_file_raises_with_its_reason(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Somebody else's message is on the file's own subject: no waiting changes that."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    outbox = Outbox(daemon.replay)
    outbox.put(b"first").receipt(10)
    asyncio.run(occupy(nats_server.url, b"evidence"))
    ticket = outbox.put(b"evidence")
    with pytest.raises(Refused) as caught:
        ticket.receipt(20)
    (row,) = daemon.rows("refused")
    assert (caught.value.reason, caught.value.detail) == (row["reason"], row["error"])
    daemon.stop()
    daemon.start()
    with pytest.raises(Refused):  # by the ledger's file
        outbox.ticket(str(ticket)).receipt(20)


async def occupy(url: str, data: bytes) -> None:
    """Somebody else's message lies on the subject of this content."""
    client = await connect(url)
    subject = f"edge.replay.test-site.{hashlib.sha256(data).hexdigest()}"
    await client.jetstream().publish(subject, b"another's")
    await client.close()


@pytest.mark.lengthy
def test_the_door_is_for_the_group(daemon: DaemonProcess) -> None:
    """Whose it is; and that the folder lets the group through, and nobody else."""
    found = (daemon.replay / ".syncdaemon/socket").stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, daemon.replay.stat().st_gid)
    assert stat.S_IMODE((daemon.replay / ".syncdaemon").stat().st_mode) == 0o710


@pytest.mark.lengthy
def test_the_door_goes_with_the_daemon_and_a_dead_one_is_replaced(daemon: DaemonProcess) -> None:
    socket_file = daemon.replay / ".syncdaemon/socket"
    daemon.kill()
    assert socket_file.exists()
    daemon.start()
    assert call(daemon.replay, "/livez").status == 200
    assert daemon.stop() == 0
    assert not socket_file.exists()


@pytest.mark.lengthy
def test_the_pages_of_the_port_are_there_too(daemon: DaemonProcess) -> None:
    assert call(daemon.replay, "/status").body["site"] == "test-site"
    assert call(daemon.replay, "/healthz").body["checks"].keys() >= {"link", "ledger"}
    assert "edge_link_status" in call(daemon.replay, "/metrics").body
    assert call(daemon.replay, "/nowhere").status == 404


def test_nothing_of_it_is_on_the_port(daemon: DaemonProcess) -> None:
    for path in ("/v1/files", "/v1/receipts", *(f"/v1/control/{one}" for one in ("pause", "resume", "rescan"))):
        for data in (None, b"{}"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"http://{HOST}:{daemon.port}{path}", data, timeout=10)
            caught.value.close()
            assert caught.value.code == 404


def test_what_is_no_such_call_is_refused_in_one_line(daemon: DaemonProcess) -> None:
    for path, fields in NO_CALLS:
        answered = call(daemon.replay, path, fields)
        assert (answered.status, str(answered.body).count("\n")) == (400, 1), (path, fields, answered)
    assert daemon.logged("local_call_failed") == []


@pytest.mark.lengthy
def test_other_requests_that_do_not_fit_are_refused(daemon: DaemonProcess) -> None:
    assert call(daemon.replay, "/v1/files").status == 405
    assert call(daemon.replay, "/v1/files", b"x" * 300_000).status == 413
    assert call(daemon.replay, "/v1/files", {"ticket": "a"}, headers="Origin: http://x\r\n").status == 403
    assert call(daemon.replay, "/v1/control/nothing", {}).status == 404
    assert call(daemon.replay, "/livez", {}).status == 405


def test_strange_paths_in_tickets_lead_nowhere(daemon: DaemonProcess) -> None:
    """They are noted, as is every file that is not there."""
    for path in ("../../etc/passwd", "/etc/passwd", ".syncdaemon/lock", "%00", "a//b", ".", "%2e%2e/x", "x" * 4000):
        answered = call(daemon.replay, "/v1/files", {"ticket": f"{path}#{'0' * 64}"})
        assert (answered.status, answered.body) == (200, {"state": "noted"}), path


def test_no_digest_no_answer(daemon: DaemonProcess) -> None:
    """A path alone says nothing: a wrong digest, a path that never was, and a file that waits have one answer."""
    Outbox(daemon.replay).put(b"evidence", name="a").receipt(10)
    (daemon.replay / "waits").write_bytes(b"1")
    asked = [f"{path}#{'0' * 64}" for path in ("a", "never", "waits")]
    assert [receipts(daemon, one) for one in asked] == [{}, {}, {}]
    assert len(receipts(daemon, ticket_of("a", b"evidence"))) == 1


def test_a_link_to_anothers_file_and_one_with_two_names_are_only_noted(daemon: DaemonProcess, tmp_path: Path) -> None:
    """It could be open under its other name."""
    (tmp_path / "growing").write_bytes(b"half")
    os.link(tmp_path / "growing", daemon.replay / "linked")
    (daemon.replay / "symlink").symlink_to(tmp_path / "growing")
    for name in ("linked", "symlink"):
        assert call(daemon.replay, "/v1/files", {"ticket": ticket_of(name, b"half")}).body == {"state": "noted"}
    time.sleep(0.5)
    assert daemon.rows("published") == []


def test_half_a_file_is_not_taken_for_the_whole(daemon: DaemonProcess) -> None:
    """The digest says what was handed over: this file is still another one, and waits as any other."""
    with (daemon.replay / "a").open("wb") as file:
        file.write(b"half")
    whole = ticket_of("a", b"half and half")
    assert call(daemon.replay, "/v1/files", {"ticket": whole}).body == {"state": "taken"}
    time.sleep(0.5)
    assert daemon.rows("published") == []


def test_silent_connections_keep_nobody_out(daemon: DaemonProcess) -> None:
    """Slow heads, bodies that never come, and answers that nobody reads: more of each than there are places."""
    begin = b"POST /v1/receipts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n{"
    pipelined = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
    with ExitStack() as stack:
        for words in (b"", b"POST /v1/fi", begin, pipelined):
            for _ in range(100):
                connection: socket.socket = stack.enter_context(dial(daemon.replay))
                connection.sendall(words)
        began = time.monotonic()
        assert Outbox(daemon.replay).put(b"evidence").receipt(10).stream_seq == 1
        assert time.monotonic() - began < 5
    assert json.loads(daemon.get("/status"))["published_files"] == 1


def test_a_path_that_is_too_long_for_an_address_does_no_harm(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """The address of a socket has 107 bytes, and this folder's path has more."""
    daemon = make_daemon(nats_server.url, folder="x" * 120)
    daemon.start()
    assert Outbox(daemon.replay).put(b"evidence").receipt(10).stream_seq == 1


def test_whoever_else_listens_there_is_not_believed(tmp_path: Path) -> None:
    """Another folder in the place of the daemon's, of a user who is neither root nor the directory's owner."""
    if os.geteuid():
        pytest.skip("needs root")
    replay = tmp_path / "replay"
    own = replay / ".syncdaemon"
    own.mkdir(parents=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(own / "socket"))
    listening.listen()
    os.chown(own, 10_003, -1)
    with pytest.raises(NotBelieved):
        LocalDoor(replay, frozenset()).get("/status", 1)
    assert Outbox(replay).link_status() == 0
    os.chown(own, 0, -1)
    with pytest.raises(DaemonAway):  # believed, and silent
        LocalDoor(replay, frozenset()).get("/status", 0.2)
    listening.close()


@pytest.mark.lengthy
def test_without_checkpoints_there_is_no_proof(daemon: DaemonProcess) -> None:
    with pytest.raises(NotProved):
        Outbox(daemon.replay).put(b"evidence").proof(10)
