"""Tombstones: what was received makes room in the stream, its subject stays taken, and a forged one fools nobody."""

from __future__ import annotations

import asyncio
import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from nats.js import JetStreamContext
from nats.js.errors import APIError

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import Stored, messages
from tests.support.receiver import STREAM, MakeReceiver, at_server, headers, received
from tests.support.shell import Shell, one_line

pytestmark = pytest.mark.integration

SITE = "test-site"
OWN = {"SITE": SITE, "SYNC_STREAM_FREE": "true", "SYNC_TOMBSTONES": "delivered", "SYNC_SETTLE_SECONDS": "0"}
FREE = {"subjects": [f"edge.replay.{SITE}.*"], "allow_rollup_hdrs": True}
MARKED = {"Nats-Rollup": "sub", "Edge-Tombstone": "1"}


def api(url: str, call: str, ask: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer of a call of JetStream's API, which is no error."""

    async def work(js: JetStreamContext) -> dict[str, Any]:
        answer = await js._nc.request(f"$JS.API.{call}", json.dumps(ask or {}).encode(), 5)
        return dict(json.loads(answer.data))

    found: dict[str, Any] = at_server(url, work)
    assert "error" not in found, found
    return found


def make_stream(url: str, **changes: Any) -> None:
    """The stream as the daemon makes it, but for `changes`."""
    config = {
        "name": STREAM,
        "subjects": ["edge.replay.*.*"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "discard_new_per_subject": True,
        "deny_delete": True,
        "allow_direct": True,
    }
    api(url, f"STREAM.CREATE.{STREAM}", config | changes)


def subject_of(data: bytes) -> str:
    return f"edge.replay.{SITE}.{sha256(data).hexdigest()}"


def put(url: str, subject: str, body: bytes, fields: dict[str, str]) -> int:
    """Stores one message; its sequence."""

    async def work(js: JetStreamContext) -> int:
        return (await js.publish(subject, body, headers=fields)).seq

    found: int = at_server(url, work)
    return found


def stored(url: str) -> list[Stored]:
    return asyncio.run(messages(url, STREAM))


def all_freed(url: str, count: int) -> bool:
    """Whether nothing but so many tombstones is left."""
    there = stored(url)
    return len(there) == count and all(not one.data and one.headers.get("Edge-Tombstone") == "1" for one in there)


def drained(url: str) -> bool:
    """Nothing is left for the readers, and nothing is being worked on."""
    if not api(url, f"STREAM.INFO.{STREAM}")["state"]["consumer_count"]:
        return False
    found = api(url, f"CONSUMER.INFO.{STREAM}.worker-staging")
    return bool(found["num_pending"] == found["num_ack_pending"] == 0)


# What the server does.


def test_a_roll_up_takes_a_messages_place_and_keeps_its_subject(nats_server: NatsServer) -> None:
    """With one message a subject, none of which may be deleted; also after the server was killed (nats-server 2.15).

    Only the tombstone that names the message's sequence is taken: it can't remove another one.
    """
    url = nats_server.url
    make_stream(url, **FREE)
    subject = subject_of(b"one")
    first = put(url, subject, b"one", {"Nats-Msg-Id": "1", "Nats-Expected-Last-Subject-Sequence": "0"})
    last = "Nats-Expected-Last-Subject-Sequence"
    with pytest.raises(APIError) as refused:
        put(url, subject, b"", MARKED | {last: str(first + 1)})
    assert refused.value.err_code == 10071
    tombstone = put(url, subject, b"", MARKED | {last: str(first)})
    for again in range(2):
        for fields, code in (({last: "0"}, 10071), ({"Nats-Msg-Id": f"2{again}"}, 10077)):
            with pytest.raises(APIError) as refused:
                put(url, subject, b"one", fields)
            assert refused.value.err_code == code
        assert [(one.seq, one.data) for one in stored(url)] == [(tombstone, b"")]
        nats_server.kill()
        nats_server.start()


# The daemon, where a tombstone stands.


def test_a_forged_tombstone_lets_go_of_nothing(nats_server: NatsServer, make_daemon: MakeDaemon, shell: Shell) -> None:
    """By default the file goes to quarantine with a reason of its own, and the way out; an empty file too."""
    url = nats_server.url
    make_stream(url)
    files = {"a": b"one", "empty": b""}
    for data in files.values():
        put(url, subject_of(data), b"", {"Edge-Tombstone": "1"})
    daemon = make_daemon(url, SYNC_SETTLE_SECONDS="0", SYNC_HOLD_SECONDS="0")
    daemon.start()
    for name, data in files.items():
        daemon.drop(name, data)
    eventually(lambda: daemon.metric("syncdaemon_quarantined_files") == 2, what="both are refused")
    assert {str(row["reason"]) for row in daemon.rows("refused")} == {"subject_freed"}
    assert all("SYNC_TOMBSTONES=delivered" in str(row["error"]) for row in daemon.rows("refused"))
    assert not daemon.rows("published", "duplicate")
    aside = daemon.replay / ".syncdaemon/quarantine"
    assert sorted(path.read_bytes() for path in aside.iterdir() if not path.name.endswith(".json")) == [b"", b"one"]


def test_the_servers_own_marker_is_a_tombstone_too(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """As a stream with subject_delete_marker_ttl leaves it where a message grew too old (nats-server 2.15)."""
    url = nats_server.url
    make_stream(url, allow_msg_ttl=True, subject_delete_marker_ttl=3_600_000_000_000)
    put(url, subject_of(b"one"), b"one", {"Nats-TTL": "1s"})
    eventually(lambda: any("Nats-Marker-Reason" in one.headers for one in stored(url)), what="the server's marker")
    wary, sure = make_daemon(url, "wary"), make_daemon(url, "sure", SYNC_TOMBSTONES="delivered")
    for daemon in (wary, sure):
        daemon.start()
        daemon.drop("a", b"one")
        eventually(lambda daemon=daemon: not daemon.waiting(), what="it is judged")  # type: ignore[misc]
    eventually(lambda: bool(sure.rows_so_far("duplicate") and wary.rows_so_far("refused")), what="rows are written")
    assert [row["reason"] for row in wary.rows("refused")] == ["subject_freed"]
    assert [row["stream_seq"] for row in sure.rows("duplicate")] == [stored(url)[0].seq]


def lose(url: str, data: bytes) -> None:
    """The stream has lost this message, as after a crash of the server, and goes on."""

    async def work(js: JetStreamContext) -> None:
        await js.purge_stream(STREAM, subject=subject_of(data))

    at_server(url, work)


def checked(daemon: DaemonProcess, times: int = 1) -> list[dict[str, Any]]:
    """What its looks for held files came to."""
    return list(daemon.logged("hold_checked", at_least=times))


@pytest.mark.lengthy
def test_a_held_file_whose_message_was_freed_is_not_lost(
    nats_server: NatsServer, make_daemon: MakeDaemon, make_receiver: MakeReceiver, shell: Shell
) -> None:
    """The reader has it. After a restart of the server the daemon looks, and sends nothing again: in either mode."""
    url = nats_server.url
    daemon = make_daemon(url, **OWN | {"SYNC_TOMBSTONES": "refuse"})
    daemon.start()
    files = {f"f{at}": b"%d" % at for at in range(12)}
    for name, data in files.items():
        daemon.drop(name, data)
    eventually(lambda: len(daemon.rows_so_far("published")) == len(files), what="all are delivered")
    receiver = make_receiver(url, "--free", SITE=SITE)
    receiver.start()
    eventually(lambda: all_freed(url, len(files)), what="all are freed")
    nats_server.kill()
    nats_server.start()
    assert checked(daemon)[-1] | {"files": 12, "lost_by_the_server": 0} == checked(daemon)[-1]
    assert daemon.metric("syncdaemon_held_files") == len(files)
    assert daemon.rows("held_lost", "refused", "duplicate") == []
    assert daemon.stop() == 0
    ended = shell("verify", "--stream", SYNC_LEDGER_DIR=str(daemon.ledger), NATS_URL=url)
    assert ended.code == 0, ended
    assert "12 receipts, 12 received and freed, 0 messages" in ended.out


@pytest.mark.lengthy
def test_a_tombstone_where_none_can_be_left_saves_no_lost_file_from_being_kept(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """The server lost a held file's message, and a neighbour was faster on its subject: the file is kept."""
    url = nats_server.url
    make_stream(url, deny_delete=False)
    daemon = make_daemon(url, SYNC_SETTLE_SECONDS="0")
    daemon.start()
    daemon.drop("a", b"one")
    daemon.drop("empty", b"")
    eventually(lambda: len(daemon.rows_so_far("published")) == 2, what="they are delivered")
    for data in (b"one", b""):
        lose(url, data)
        put(url, subject_of(data), b"", {"Edge-Tombstone": "1"})
    nats_server.kill()
    nats_server.start()
    eventually(lambda: daemon.metric("syncdaemon_quarantined_files") == 2, 30, "they are refused")
    assert {row["reason"] for row in daemon.rows("refused")} == {"subject_freed"}
    assert len(daemon.rows("held_lost")) == 2


# The other end.


def test_tombstones_are_acknowledged_and_make_no_file(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """Whoever left them. They are neither files nor rejects; they are counted by themselves."""
    url = nats_server.url
    make_stream(url)
    put(url, subject_of(b"one"), b"", {"Edge-Tombstone": "1"})
    put(url, subject_of(b"two"), b"", {"Nats-Marker-Reason": "MaxAge"})
    put(url, subject_of(b"three"), b"three", headers("three", b"three", SITE))
    receiver = make_receiver(url)
    receiver.start()
    eventually(lambda: drained(url), what="all is acknowledged")
    assert received(receiver.target) == {f"{SITE}/three": b"three"}
    eventually(lambda: receiver.metric("nats_worker_tombstones_total") == 2, what="they are counted")
    assert receiver.metric("nats_worker_processed_total") == 1
    assert list((receiver.target / ".rejected").glob("*.json")) == []


def test_what_is_received_makes_room_and_stays_known(
    nats_server: NatsServer, make_daemon: MakeDaemon, make_receiver: MakeReceiver, shell: Shell
) -> None:
    """From the site's disk to the other end and out of the stream; dropped again, each file is a duplicate."""
    url = nats_server.url
    daemon, receiver = make_daemon(url, **OWN), make_receiver(url, "--free", SITE=SITE)
    daemon.start()
    files = {f"f{at}": os.urandom(2_000) for at in range(40)} | {"empty": b""}
    for name, data in files.items():
        daemon.drop(name, data)
    eventually(lambda: len(daemon.rows_so_far("published")) == len(files), what="all are delivered")
    config = api(url, f"STREAM.INFO.{STREAM}")["config"]
    assert config["allow_rollup_hdrs"]
    assert config["deny_delete"]
    assert config["subjects"] == [f"edge.replay.{SITE}.*"]
    receiver.start()
    eventually(lambda: all_freed(url, len(files)), what="only tombstones are left")
    eventually(lambda: drained(url), what="the tombstones are acknowledged")
    assert received(receiver.target) == {f"{SITE}/{name}": data for name, data in files.items()}
    assert api(url, f"STREAM.INFO.{STREAM}")["state"]["bytes"] / len(files) < 250

    for name, data in files.items():
        daemon.drop(f"again/{name}", data)
    eventually(lambda: len(daemon.rows_so_far("duplicate")) == len(files), what="all are known")
    assert all_freed(url, len(files))
    assert daemon.stop() == 0
    ended = shell("verify", "--stream", SYNC_LEDGER_DIR=str(daemon.ledger), NATS_URL=url)
    assert ended.code == 0, ended
    assert f"{2 * len(files)} received and freed, 0 messages" in ended.out
    assert len(received(receiver.target)) == len(files)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"allow_rollup_hdrs": True}, "not of one site alone"),
        ({"subjects": [f"edge.replay.{SITE}.*", "edge.replay.other.*"], "allow_rollup_hdrs": True}, "not of one site"),
        ({"subjects": [f"edge.replay.{SITE}.*"]}, "allows no roll-ups"),
        (FREE | {"max_msgs_per_subject": 2}, "more than one message on a subject"),
        (FREE | {"retention": "workqueue", "deny_delete": False}, "by itself"),
        ({"subjects": [], "discard_new_per_subject": False, "sources": [{"name": "edge"}]}, "from other streams"),
    ],
)
def test_a_stream_that_can_t_be_freed_ends_it_with_one_line(
    nats_server: NatsServer, shell: Shell, changes: dict[str, Any], said: str
) -> None:
    """Nothing is received, and no consumer is made."""
    url = nats_server.url
    if "sources" in changes:
        api(url, "STREAM.CREATE.edge", {"name": "edge", "subjects": [f"edge.replay.{SITE}.*"], "storage": "file"})
    make_stream(url, **changes)
    ended = shell("receive", shell.folder / "in", "--free", NATS_URL=url)
    line = one_line(ended, 2)
    assert line.startswith("--free: ")
    assert said in line
    assert api(url, f"STREAM.INFO.{STREAM}")["state"]["consumer_count"] == 0


def test_a_stream_to_free_is_never_shared(nats_server: NatsServer, shell: Shell) -> None:
    """SYNC_STREAM_FREE with a stream that takes other sites' messages, or with subjects that name no site."""
    make_stream(nats_server.url)
    ended = shell("run", NATS_URL=nats_server.url, SYNC_STREAM_FREE="true")
    line = one_line(ended, 2)
    assert line.startswith("SYNC_STREAM_FREE: swarm_jobs is not this site's alone (it takes edge.replay.*.*)")
    for subject in ("edge.replay.{sha256}", "edge.replay.{site}"):
        line = one_line(shell("config", SYNC_SUBJECT=subject, SYNC_STREAM_FREE="true"), 2)
        assert line.startswith("SYNC_STREAM_FREE: ")


def test_a_message_that_came_in_between_is_not_removed(
    nats_server: NatsServer, make_receiver: MakeReceiver, tmp_path: Path
) -> None:
    """While a worker is stopped with a message in its hands, that goes from the stream, and its subject gets another.

    The other one, of another file with the same content, was received by nobody, and so it stays.
    """
    url = nats_server.url
    make_stream(url, **FREE | {"deny_delete": False})
    put(url, subject_of(b"one"), b"one", headers("first", b"one", SITE))
    receiver = make_receiver(url, "--free", SITE=SITE, SYNC_MIN_FREE_BYTES="0")
    blocked = tmp_path / "received" / SITE
    blocked.mkdir(parents=True)
    folder = blocked / "first"  # its name is taken, so that the worker waits for nothing, and the file goes beside it
    folder.mkdir()
    receiver.start()
    eventually(lambda: all_freed(url, 1), what="the first is freed")
    lose(url, b"one")
    seq = put(url, subject_of(b"one"), b"one", headers("second", b"one", SITE, Nats_Msg_Id="other"))
    stale = MARKED | {"Nats-Expected-Last-Subject-Sequence": "1"}
    with pytest.raises(APIError):
        put(url, subject_of(b"one"), b"", stale)
    eventually(lambda: f"{SITE}/second" in received(receiver.target), what="the second is received")
    eventually(lambda: all_freed(url, 1), what="and freed")
    assert stored(url)[0].headers["Nats-Expected-Last-Subject-Sequence"] == str(seq)
