"""From the key to the proof, as a site does it: by commands and a daemon, also as another user than root."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sysconfig
from hashlib import sha256
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from syncdaemon.evidence.keyfile import new_key, read_key
from syncdaemon.evidence.notes import LOG_KEY, VerifierKey
from syncdaemon.ledger import Ledger
from syncdaemon.ledger.checkpoints import Signer
from syncdaemon.ledger.tile_store import read_log_id, tree_folder
from tests.support import judges, needs
from tests.support.daemon import MakeDaemon, eventually
from tests.support.evidence import BASE, SITE, entries, lines_of, receipt, root_as_defined, written
from tests.support.shell import Shell, one_line
from tests.support.users import DAEMON, GROUP, MakeSite, as_user, python

pytestmark = pytest.mark.integration


@pytest.fixture
def site(shell: Shell) -> Shell:
    """A shell whose site has a key and an origin."""
    key = shell.folder / "key.pem"
    assert shell("key", "new", key).code == 0
    shell.env |= {"SITE": SITE, "SYNC_CHECKPOINT_KEY": str(key), "SYNC_CHECKPOINT_ORIGIN": BASE}
    return shell


async def sign(shell: Shell) -> VerifierKey:
    """Signs a checkpoint of all rows and one more, as the daemon will when it has read what the hub has; its key."""
    key = read_key(shell.folder / "key.pem")
    ledger = Ledger(shell.ledger, SITE, with_tree=True)
    ledger.open()
    await ledger.append([receipt(77)])
    for _ in range(1_000):
        if ledger._tree is not None and ledger._tree.head == ledger.head:
            break
        await asyncio.sleep(0.01)
    note = await ledger.sign_checkpoint(Signer(shell.ledger, SITE, BASE, key), None)
    await ledger.close()
    return VerifierKey(note.text.split("\n")[0], LOG_KEY, key.public)


# The key.


def test_a_key_is_made_and_shown(site: Shell) -> None:
    made = site("key", "new", site.folder / "another.pem")
    assert made.code == 0
    assert len(made.out.strip()) == 44
    pin = site("key", "pin").out.strip()
    assert pin.endswith(f" {BASE}/{SITE}")
    assert site("key", "pin", SYNC_CHECKPOINT_KEY=str(site.folder / "another.pem")).out.split()[0] == made.out.strip()
    assert "is there already" in one_line(site("key", "new", site.folder / "another.pem"), 2)


def test_the_vkey_exists_with_row_1(site: Shell) -> None:
    assert "row 1 of site edge-1 is not in" in one_line(site("key", "vkey"), 1)
    lines = written(site.ledger, entries(3))
    log = sha256(lines[0]).hexdigest()[:16]
    assert site("key", "vkey").out.startswith(f"{BASE}/{SITE}/{log}+")


@pytest.mark.parametrize("command", ["run", pytest.param("drain", marks=pytest.mark.lengthy)])
def test_a_key_needs_an_origin(site: Shell, command: str) -> None:
    assert "SYNC_CHECKPOINT_ORIGIN: missing" in one_line(site(command, SYNC_CHECKPOINT_ORIGIN=""), 2)


def test_a_key_is_not_needed_and_then_there_is_none(shell: Shell) -> None:
    assert "SYNC_CHECKPOINT_KEY: not set" in one_line(shell("key", "pin", SYNC_CHECKPOINT_ORIGIN=BASE), 2)


@pytest.mark.parametrize("command", ["run", pytest.param("drain", marks=pytest.mark.lengthy)])
def test_the_daemon_does_not_start_with_a_key_that_others_read(site: Shell, command: str) -> None:
    (site.folder / "key.pem").chmod(0o644)
    assert "SYNC_CHECKPOINT_KEY" in (line := one_line(site(command), 2))
    assert "others can reach it" in line


def test_a_mounted_secret_as_the_daemons_user(site: Shell) -> None:
    """Root's file, mode 0440, of the group that `fsGroup` names; then of a group that is not ours."""
    needs.root()
    key = site.folder / "key.pem"
    for gid, code in ((GROUP, 0), (0, 2)):
        os.chown(key, 0, gid)
        key.chmod(0o440)
        command = [*as_user(DAEMON), python(), "-m", "syncdaemon", "key", "pin"]
        environment = site.env | {"PYTHONPATH": os.pathsep.join(_paths()), "PYTHONDONTWRITEBYTECODE": "1"}
        ended = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True)
        assert ended.returncode == code, ended


def _paths() -> list[str]:
    root = Path(__file__).parents[2]
    return [str(root / "services"), sysconfig.get_path("purelib")]


# The daemon, with the tree beside its ledger.


def test_the_daemon_keeps_the_tree_of_what_it_delivers(
    make_daemon: MakeDaemon, nats_server: NatsServer, tmp_path: Path
) -> None:
    """Also over a kill: the next process goes on with it."""
    new_key(tmp_path / "key.pem")
    settings = {"SYNC_CHECKPOINT_KEY": str(tmp_path / "key.pem"), "SYNC_CHECKPOINT_ORIGIN": BASE}
    daemon = make_daemon(nats_server.url, **settings)
    daemon.start()
    for number in range(40):
        daemon.drop(f"a/{number}", b"%d" % number)
    eventually(lambda: len(daemon.rows_so_far("published")) == 40)
    daemon.kill()
    daemon.start()
    daemon.drop("b", b"more")
    eventually(lambda: len(daemon.rows_so_far("published")) == 41)
    assert daemon.stop() == 0
    lines = lines_of(daemon.ledger, "test-site")
    state = json.loads((tree_folder(daemon.ledger, "test-site") / "state").read_bytes())
    assert (state["size"], state["root"]) == (len(lines), root_as_defined(lines).hex())
    assert read_log_id(daemon.ledger, "test-site") == sha256(lines[0]).hexdigest()[:16]


def test_a_daemon_of_another_user_with_a_mounted_secret(make_site: MakeSite, nats_server: NatsServer) -> None:
    """As in a pod: root's file of mode 0440 and of the group that `fsGroup` names."""
    site = make_site(nats_server.url, SYNC_CHECKPOINT_ORIGIN=BASE)
    key = site.daemon.ledger.parent / "key.pem"
    new_key(key)
    os.chown(key, 0, GROUP)
    key.chmod(0o440)
    site.daemon.env["SYNC_CHECKPOINT_KEY"] = str(key)
    site.daemon.start()
    site.produced("open('.part', 'w').write('content'); os.rename('.part', 'file')")
    eventually(lambda: site.daemon.rows_so_far("published"))
    assert site.daemon.stop() == 0
    lines = lines_of(site.daemon.ledger, "test-site")
    state = tree_folder(site.daemon.ledger, "test-site") / "state"
    assert json.loads(state.read_bytes())["root"] == root_as_defined(lines).hex()
    assert state.stat().st_uid == DAEMON


# Proofs.


async def test_a_file_is_proved_to_a_stranger(site: Shell) -> None:
    written(site.ledger, entries(700), a_day=300)
    key = await sign(site)
    proof = site.folder / "x.tlog-proof"
    assert site("prove", "a/file-301", "-o", proof).out == f"{proof} proves row 301\n"
    file = site.folder / "file"
    file.write_bytes(b"content")
    pin = site("key", "pin").out.strip()
    shutil.rmtree(site.ledger)
    proved = site("verify-proof", file, proof, "--pin", pin, "--unwitnessed", SITE="!", SYNC_WRONG="1")
    assert proved.code == 0
    assert f"row 301 of {key.name} is signed by this key; whoever has it can have made this at any time" in proved.out
    assert site("verify-proof", file, proof, "--vkey", key.vkey, "--unwitnessed").code == 0
    alone = site("verify-proof", file, proof, "--pin", pin)
    assert (alone.code, alone.out) == (1, proved.out)
    assert "no witness" in alone.err
    file.write_bytes(b"kontent")
    assert "the proof is about another file" in one_line(site("verify-proof", file, proof, "--pin", pin), 1)


async def test_a_row_is_proved_by_the_nearest_checkpoint(site: Shell) -> None:
    written(site.ledger, entries(100))
    await sign(site)
    await sign(site)
    for n, size in ((2, 101), (101, 101), (102, 102)):
        proof = site.folder / f"{n}.tlog-proof"
        assert site("prove", "--row", str(n), "-o", proof).code == 0
        assert proof.read_text().split("\n\n")[1].split("\n")[1] == str(size)


@pytest.mark.lengthy
async def test_what_is_not_proved(site: Shell) -> None:
    out = site.folder / "x.tlog-proof"
    written(
        site.ledger,
        [*entries(100), ("held_lost", {"path": "a/file-50", "sha256": receipt(1)[1]["sha256"], "stream_seq": 50})],
    )
    assert "has row 2 yet" in one_line(site("prove", "--row", "2", "-o", out), 1)
    await sign(site)
    assert "its event is 'open'" in one_line(site("prove", "--row", "1", "-o", out), 1)
    assert "row 5000 is not in" in one_line(site("prove", "--row", "5000", "-o", out), 1)
    assert "there is no receipt of nothing" in one_line(site("prove", "nothing", "-o", out), 1)
    assert "one that is void" in one_line(site("prove", "a/file-50", "-o", out), 1)
    assert site("prove", "-o", out).code == 2
    assert site("prove", "a/file-2", "--row", "2", "-o", out).code == 2
    assert not out.exists()
    out.touch()
    assert "File exists" in one_line(site("prove", "a/file-2", "-o", out), 2)


async def test_a_row_that_was_altered_since_is_not_proved(site: Shell) -> None:
    written(site.ledger, entries(300))
    await sign(site)
    path = min(site.ledger.glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"stream_seq":299', b'"stream_seq":298'))
    ended = site("prove", "--row", "299", "-o", site.folder / "x.tlog-proof")
    assert "is not what it was at the checkpoint of 301 rows" in one_line(ended, 1)
    (tree_folder(site.ledger, SITE) / "tile" / "0" / "000").write_bytes(b"x")
    ended = site("prove", "--row", "2", "-o", site.folder / "x.tlog-proof")
    assert "is damaged: tile/0/000 has 1 bytes" in one_line(ended, 1)


def test_a_path_is_that_of_the_replay_directory(site: Shell) -> None:
    """Relative, absolute, or with bytes that are no text."""
    written(site.ledger, [*entries(1), receipt(2, path="a%20b/c%FF")])
    for path in ("a b/c\udcff", f"{site.replay}/a b/c\udcff", "./a b//c\udcff"):
        assert "has row 2 yet" in one_line(site("prove", path, "-o", "x"), 1)


@pytest.mark.lengthy
def test_wrong_usage_of_verify_proof(site: Shell) -> None:
    file, pin = site.folder / "file", site("key", "pin").out.strip()
    file.write_bytes(b"content")
    assert site("verify-proof", file, file).code == 2
    assert site("verify-proof", file, file, "--pin", pin, "--vkey", pin).code == 2
    assert "--pin: " in one_line(site("verify-proof", file, file, "--pin", "x"), 2)
    assert "--vkey: " in one_line(site("verify-proof", file, file, "--vkey", pin), 2)
    assert "--policy: " in one_line(site("verify-proof", file, file, "--pin", pin, "--policy", file), 2)
    assert "can't be read" in one_line(site("verify-proof", file, site.folder / "none", "--pin", pin), 2)
    assert "can't be read" in one_line(site("verify-proof", site.folder, file, "--pin", pin), 2)
    assert site("verify-proof", file, file, "--pin", pin, "--policy", file, "--unwitnessed").code == 2
    assert "proves nothing" in one_line(site("verify-proof", file, file, "--pin", pin), 1)


async def test_the_log_is_exported_and_a_judge_reads_it(site: Shell) -> None:
    written(site.ledger, entries(600))
    key = await sign(site)
    ended = site("ledger", "export", "log")
    assert ended.code == 0
    assert ended.out.startswith("601 rows of log ")
    note = (site.folder / "log" / "checkpoint").read_bytes()
    assert judges.checkpoint(note, [key.vkey]) == (key.name, 601, root_as_defined(lines_of(site.ledger)))
    assert "is not empty" in one_line(site("ledger", "export", "log"), 1)
