"""Checkpoints go to the hub, and whatever happens to disks, hubs and clocks, there is never a second history."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.client import Outbox
from syncdaemon.dev.server import NatsServer
from syncdaemon.evidence.keyfile import new_key
from syncdaemon.evidence.notes import LOG_KEY, Checkpoint, SignedNote, VerifierKey
from syncdaemon.evidence.proofs import Proof
from syncdaemon.evidence.tree import check_inclusion, leaf_hash
from syncdaemon.ledger import chain
from tests.support.clock import Clock
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.evidence import BASE, lines_of, root_as_defined
from tests.support.log import SITE, at_hub, public, publish, signing
from tests.support.process import PROGRAM

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def daemon(nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path) -> DaemonProcess:
    """A site with a key, not running yet, and its own server."""
    return make_daemon(nats_server.url, **signing(tmp_path))


def state(daemon: DaemonProcess) -> dict[str, object]:
    found: dict[str, object] = json.loads(daemon.get("/status"))["checkpoint"]
    return found


def anchored(daemon: DaemonProcess) -> int:
    """Returns when all rows that are there now are covered; how many those are."""
    rows = len(lines_of(daemon.ledger, SITE))
    eventually(lambda: int(str(state(daemon)["rows"])) >= rows, 30, f"a checkpoint of {rows} rows is at the hub")
    return int(str(state(daemon)["rows"]))


def delivered(daemon: DaemonProcess, *names: str) -> None:
    for name in names:
        daemon.drop(name, f"evidence {name}".encode())
    eventually(lambda: not daemon.waiting(), 30, "all are delivered")


def is_in(daemon: DaemonProcess, wanted: str) -> None:
    """Returns when no checkpoint gets to the hub any more, in this state."""
    eventually(lambda: state(daemon)["state"] == wanted, 60, f"the state of the checkpoints is {wanted}")
    assert daemon.ailment("checkpoints")


def run(daemon: DaemonProcess, *arguments: str, code: int = 0) -> str:
    """What a command of the site prints."""
    ended = subprocess.run([*PROGRAM, *arguments], env=daemon.env, capture_output=True, text=True, timeout=120)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def rechain(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Writes a ledger's only file anew, as who owns the disk can: the chain holds again."""
    head, lines = chain.START, []
    for line in path.read_bytes().splitlines():
        row = change(json.loads(line))
        fields = {name: value for name, value in row.items() if name not in ("v", "n", "prev", "ts", "site", "event")}
        sealed, head = chain.seal(head, row["site"], row["ts"], row["event"], fields)
        lines.append(sealed + b"\n")
    path.write_bytes(b"".join(lines))


def fits(checkpoint: Checkpoint, ledger: Path) -> bool:
    """Whether it is of the first rows of this ledger, by the definition of the tree."""
    return checkpoint.root == root_as_defined(lines_of(ledger, SITE)[: checkpoint.size])


def test_what_is_delivered_is_covered_at_the_hub(
    daemon: DaemonProcess, nats_server: NatsServer, tmp_path: Path
) -> None:
    daemon.start()
    delivered(daemon, "1", "2")
    anchored(daemon)
    delivered(daemon, "3")
    assert daemon.stop() == 0
    found = at_hub(nats_server.url)
    assert all(fits(message.checkpoint, daemon.ledger) for message in found)
    assert [message.old for message in found] == [0, *(message.checkpoint.size for message in found[:-1])]
    events = [json.loads(line)["event"] for line in lines_of(daemon.ledger, SITE)]
    assert found[-1].checkpoint.size >= 1 + max(n for n, event in enumerate(events) if event == "published")


def test_a_proof_is_waited_for_and_made(daemon: DaemonProcess, tmp_path: Path) -> None:
    """The client waits for a checkpoint over the row; then a stranger can be shown the file's receipt."""
    daemon.start()
    receipt = Outbox(daemon.replay).put(b"evidence", name="of/a-file").proof(timeout=60)
    assert receipt.proved
    proof, file = tmp_path / "x.tlog-proof", tmp_path / "file"
    file.write_bytes(b"evidence")
    run(daemon, "prove", "of/a-file", "-o", str(proof))
    assert proof.stat().st_size < 2_000
    pin = run(daemon, "key", "pin").strip()
    assert f"row {receipt.row} of " in run(daemon, "verify-proof", str(file), str(proof), "--pin", pin, "--unwitnessed")


@pytest.mark.lengthy
def test_a_clone_that_ran_offline_is_a_conflict_and_delivers(
    daemon: DaemonProcess, nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    """The ledger of a disk that was cloned goes its own way. One of both goes on; the other one signs nothing."""
    daemon.start()
    delivered(daemon, "1")
    assert daemon.stop() == 0
    clone = make_daemon(nats_server.url, "clone", **signing(tmp_path))
    shutil.copytree(daemon.ledger, clone.ledger)
    nats_server.stop()
    clone.start("/livez")
    clone.drop("2", b"evidence 2")
    eventually(lambda: len(lines_of(clone.ledger, SITE)) > len(lines_of(daemon.ledger, SITE)), 30, "the clone writes")
    clone.kill()
    nats_server.start()
    daemon.start()
    delivered(daemon, "3")
    anchored(daemon)
    assert daemon.stop() == 0
    clone.start()
    is_in(clone, "conflict")
    delivered(clone, "4")
    assert clone.metric("syncdaemon_checkpoint_conflict") == 1
    found = at_hub(nats_server.url)
    assert all(fits(message.checkpoint, daemon.ledger) for message in found)
    signed = [int(path.name) for path in (clone.ledger / f"tlog-{SITE}" / "checkpoints").glob("?" * 19)]
    assert set(signed) <= {message.checkpoint.size for message in found}, "it has signed nothing of its own"


@pytest.mark.lengthy
def test_a_restored_disk_is_a_conflict(daemon: DaemonProcess, nats_server: NatsServer, tmp_path: Path) -> None:
    """Also when it has grown past what the hub has."""
    daemon.start()
    delivered(daemon, "1")
    assert daemon.stop() == 0
    shutil.copytree(daemon.ledger, tmp_path / "backup")
    daemon.start()
    delivered(daemon, "2", "3")
    assert daemon.stop() == 0
    before = at_hub(nats_server.url)
    shutil.rmtree(daemon.ledger)
    shutil.copytree(tmp_path / "backup", daemon.ledger)
    daemon.start()
    is_in(daemon, "conflict")
    delivered(daemon, *map(str, range(4, 40)))
    assert daemon.stop() == 0
    daemon.start()
    is_in(daemon, "conflict")
    assert at_hub(nats_server.url) == before


def test_an_empty_ledger_beside_a_checkpoint_is_a_conflict(daemon: DaemonProcess, nats_server: NatsServer) -> None:
    daemon.start()
    delivered(daemon, "1")
    assert daemon.stop() == 0
    before = at_hub(nats_server.url)
    shutil.rmtree(daemon.ledger)
    daemon.start()
    is_in(daemon, "conflict")
    assert "and this ledger's log is" in daemon.ailment("checkpoints")
    assert at_hub(nats_server.url) == before


@pytest.mark.lengthy
def test_a_restored_hub_is_told_and_gone_on_from(
    daemon: DaemonProcess, nats_server: NatsServer, tmp_path: Path
) -> None:
    daemon.start()
    delivered(daemon, "1")
    anchored(daemon)
    nats_server.stop()
    shutil.copytree(nats_server.folder, tmp_path / "hub-backup")
    nats_server.start()
    eventually(lambda: daemon.metric("edge_link_status") == 1, 30, "the link is back")
    delivered(daemon, "2", "3")
    size = anchored(daemon)
    nats_server.stop()
    shutil.rmtree(nats_server.folder)
    shutil.copytree(tmp_path / "hub-backup", nats_server.folder)
    behind = int(str(state(daemon)["rows"]))
    nats_server.start()
    eventually(lambda: int(str(state(daemon)["rows"])) > behind, 60, "the hub has a newer one again")
    assert daemon.stop() == 0
    assert "hub_is_behind" in (daemon.replay.parent / "daemon.log").read_text()
    found = at_hub(nats_server.url)
    assert found[-1].checkpoint.size > size
    assert all(fits(message.checkpoint, daemon.ledger) for message in found)


@pytest.mark.lengthy
def test_nothing_is_signed_behind_a_strangers_message(daemon: DaemonProcess, nats_server: NatsServer) -> None:
    """Until the auditor says that he has read past it: then his note is the newest."""
    daemon.start()
    delivered(daemon, "1")
    assert daemon.stop() == 0
    own = at_hub(nats_server.url)[-1]
    stray = publish(nats_server.url, b"old 0\n\nwho are you\n")
    daemon.start()
    is_in(daemon, "stray")
    delivered(daemon, "2")
    assert daemon.stop() == 0
    assert at_hub(nats_server.url)[-1].seq == stray
    day = f"edge.cosigned.{SITE}.20260101"
    publish(nats_server.url, own.note.encode(), day, headers={"Edge-Read-To": str(stray - 1)})
    daemon.start()
    is_in(daemon, "stray")
    assert daemon.stop() == 0
    publish(nats_server.url, own.note.encode(), day, headers={"Edge-Read-To": str(stray)})
    daemon.start()
    anchored(daemon)
    newest = at_hub(nats_server.url)[-1]
    assert newest.old == own.checkpoint.size
    assert newest.checkpoint.size > own.checkpoint.size


@pytest.mark.lengthy
def test_a_tree_that_does_not_fit_its_rows_is_made_again(daemon: DaemonProcess, nats_server: NatsServer) -> None:
    daemon.start()
    delivered(daemon, *map(str, range(300)))
    assert daemon.stop() == 0
    (daemon.ledger / f"tlog-{SITE}" / "tile" / "0" / "000").write_bytes(b"x" * 8192)
    daemon.start()
    delivered(daemon, "new")
    eventually(lambda: state(daemon)["state"] == "anchored", 90, "it signs again")
    anchored(daemon)
    assert all(fits(message.checkpoint, daemon.ledger) for message in at_hub(nats_server.url))


def test_a_file_in_the_place_of_the_tree_stops_no_delivery(daemon: DaemonProcess, nats_server: NatsServer) -> None:
    daemon.ledger.mkdir()
    (daemon.ledger / f"tlog-{SITE}").write_bytes(b"a file")
    daemon.start()
    delivered(daemon, "1", "2")
    is_in(daemon, "not signed")
    assert daemon.stop() == 0
    assert at_hub(nats_server.url) == []


@pytest.mark.lengthy
def test_an_altered_row_below_a_checkpoint_is_a_conflict(daemon: DaemonProcess, nats_server: NatsServer) -> None:
    """A ledger that was written anew by who owns the disk, tree and all, so that it holds together."""
    daemon.start()
    delivered(daemon, "1", "2")
    assert daemon.stop() == 0
    before = at_hub(nats_server.url)
    path = min(daemon.ledger.glob("evidence-*.jsonl"))
    rechain(path, lambda row: row | {"size": 77} if row["event"] == "published" else row)
    shutil.rmtree(daemon.ledger / f"tlog-{SITE}" / "tile")
    for name in ("state", "checkpoints", "acknowledged"):
        shutil.rmtree(daemon.ledger / f"tlog-{SITE}" / name, ignore_errors=True)
        (daemon.ledger / f"tlog-{SITE}" / name).unlink(missing_ok=True)
    daemon.start()
    is_in(daemon, "conflict")
    delivered(daemon, "3")
    assert at_hub(nats_server.url) == before


@pytest.mark.lengthy
def test_the_wall_clock_decides_nothing(
    nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path, clock: Clock
) -> None:
    """It is set by years, forwards and back, under the daemon and between two starts."""
    daemon = make_daemon(nats_server.url, **signing(tmp_path), **clock.environment)
    for number, seconds in enumerate((0, 2e8, -8e8, 3e7)):
        clock.set(seconds)
        daemon.start()
        delivered(daemon, f"{number}")
        anchored(daemon)
        clock.set(-seconds)
        delivered(daemon, f"{number} and another time")
        anchored(daemon)
        assert daemon.stop() == 0
    found = at_hub(nats_server.url)
    assert [message.old for message in found] == [0, *(message.checkpoint.size for message in found[:-1])]
    assert all(fits(message.checkpoint, daemon.ledger) for message in found)


@pytest.mark.lengthy
def test_verify_hub_finds_what_was_written_anew(daemon: DaemonProcess, nats_server: NatsServer, tmp_path: Path) -> None:
    """By the verifier's own pin: a row that was changed, a shorter ledger, a checkpoint of another key."""
    daemon.start()
    delivered(daemon, "1", "2", "3")
    assert daemon.stop() == 0
    pins = tmp_path / "pins"
    pins.write_text(f"# of our sites\n{run(daemon, 'key', 'pin')}")
    hub = ("verify", "--hub", "--pins", str(pins))
    publish(nats_server.url, b"something else")
    said = run(daemon, *hub)
    assert "hub: ok, " in said
    assert "note: message" in said
    path = min(daemon.ledger.glob("evidence-*.jsonl"))
    whole = path.read_bytes()
    rechain(path, lambda row: row | {"size": 77} if row["event"] == "published" else row)
    assert "verify" not in run(daemon, "verify"), "it holds together"
    assert "rows are not those that were signed" in run(daemon, *hub, code=1)
    path.write_bytes(b"".join(whole.splitlines(True)[:3]))
    assert "the ledger has 3 rows, and " in run(daemon, *hub, code=1)
    rechain(path, lambda row: row | {"ts": "2026-01-01T00:00:00.000000Z"})
    assert "and the log of this ledger is" in run(daemon, *hub, code=1)
    path.write_bytes(whole)
    kept = min((daemon.ledger / f"tlog-{SITE}" / "checkpoints").glob("?" * 19))
    kept.write_bytes(kept.read_bytes().replace(b"edge", b"egde"))
    assert "beside the ledger: " in run(daemon, *hub, code=1)
    kept.unlink()
    other = run(daemon, "key", "new", str(tmp_path / "other.pem")).strip()
    pins.write_text(f"{other} {BASE}/{SITE}\n")
    assert "the hub has no checkpoint of this ledger" in run(daemon, *hub, code=1)
    pins.write_text("nonsense\n")
    assert "--pins: " in run(daemon, *hub, code=2)


@pytest.mark.lengthy
@pytest.mark.parametrize("key", ["the same key", "another key"])
def test_a_log_is_begun_anew_behind_what_the_hub_has(
    daemon: DaemonProcess, nats_server: NatsServer, tmp_path: Path, key: str
) -> None:
    """The first row names the end of the old log, and its first checkpoint carries the proof of that row."""
    daemon.start()
    delivered(daemon, "1", "2")
    old_id = (daemon.ledger / f"tlog-{SITE}" / "log-id").read_text().strip()
    assert "stop it first" in run(daemon, "ledger", "rebase", "--reason", "a test", code=1)
    assert daemon.stop() == 0
    before = at_hub(nats_server.url)[-1]
    for path in daemon.ledger.glob("evidence-*.jsonl"):
        path.write_bytes(b"".join(path.read_bytes().splitlines(True)[:2]))  # a disk that has lost the end
    more, old_public = [], public(tmp_path)
    if key == "another key":
        old = tmp_path / "checkpoint.key"
        old.rename(tmp_path / "old.key")
        new_key(old)
        more = ["--old-key", str(tmp_path / "old.key")]
    said = run(daemon, "ledger", "rebase", "--reason", "the disk has lost its end", *more)
    assert f"behind {before.checkpoint.size} rows of {before.checkpoint.origin}" in said
    assert [*(daemon.ledger / f"rebased-{old_id}").glob("evidence-*.jsonl")]
    first = json.loads(lines_of(daemon.ledger, SITE)[0])
    assert (first["n"], first["event"], first["old_size"]) == (1, "rebased", before.checkpoint.size)
    if key == "another key":
        note = next((daemon.ledger / f"tlog-{SITE}" / "checkpoints").glob("?" * 19)).read_bytes()
        signers = {
            VerifierKey(Checkpoint.parse(SignedNote.parse(note).text).origin, LOG_KEY, one)
            for one in (old_public, public(tmp_path))
        }
        for signer in signers:
            SignedNote.parse(note).check(signer)
    daemon.start()
    delivered(daemon, "3")
    anchored(daemon)
    found = at_hub(nats_server.url)[before.seq :]
    assert [message.old for message in found] == [0, *(message.checkpoint.size for message in found[:-1])]
    assert found[0].checkpoint.size == 1
    assert all(fits(message.checkpoint, daemon.ledger) for message in found)
    proof = Proof.parse(base64.b64decode(found[0].headers["Edge-Rebased"]))
    assert proof.row == lines_of(daemon.ledger, SITE)[0]
    check_inclusion(leaf_hash(proof.row), 0, 1, proof.hashes, found[0].checkpoint.root)
    pins = tmp_path / "pins"
    pins.write_text(run(daemon, "key", "pin"))
    assert "hub: ok, " in run(daemon, "verify", "--hub", "--pins", str(pins))
