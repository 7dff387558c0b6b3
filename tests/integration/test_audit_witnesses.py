"""The auditor and witnesses of others: it feeds them, and is one itself."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from syncdaemon.evidence.notes import COSIGNER_KEY, SignedNote, VerifierKey
from tests.integration.test_auditor import Desk, cosigned, publish
from tests.support.hub import MakeHub
from tests.support.ports import own_port
from tests.support.sites import Site
from tests.support.witness import OtherWitness

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def test_a_witness_is_fed_in_order_and_its_signature_comes_back(make_hub: MakeHub, tmp_path: Path) -> None:
    """One that was down is led on from where it is; one that knows another history is a conflict."""
    hub, a = make_hub("a\n"), Site("a")
    hub.start()
    desk = Desk(hub, tmp_path, [a])
    witness = OtherWitness("witness.example.org/w", {a.origin: a.key.public})
    key = VerifierKey(witness.name, COSIGNER_KEY, witness.public)

    def is_witnessed(size: int) -> bool:
        found = cosigned(hub, "a")
        assert found is not None
        assert found[0].text == a.note(size).text
        assert found[0].cosigned(desk.verifier)
        return found[0].cosigned(key) is not None

    with witness.served() as url:
        policy = desk.folder / "policy"
        policy.write_text(f"witness w {witness.vkey} {url}\nquorum w\n")
        publish(hub, a, 0, 10)
        desk.once("--accept-state", "--policy", str(policy))
        assert is_witnessed(10)
        witness.down = True
        publish(hub, a, 10, 20)
        publish(hub, a, 20, 50)
        assert "503" in desk.once("--policy", str(policy), code=1)
        assert not is_witnessed(50)
        witness.down = False
        desk.once("--policy", str(policy))
        assert is_witnessed(50)
        assert witness.seen[-2:] == [(10, 20), (20, 50)]
        witness.known[a.origin] = (60, b"x" * 32)
        publish(hub, a, 50, 60)
        assert "another history" in desk.once("--policy", str(policy), code=1)
        assert "witness" in desk.once("--policy", str(policy), code=1)


def test_it_is_a_witness_for_others(make_hub: MakeHub, tmp_path: Path) -> None:
    """With one state for both ways: what came by HTTP is held against what comes from the hub."""
    hub, a = make_hub("a\n"), Site("a")
    hub.start()
    desk, port = Desk(hub, tmp_path, [a]), own_port()

    def post(body: bytes) -> tuple[int, bytes, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/add-checkpoint", data=body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read(), answer.headers["Content-Type"]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), error.headers["Content-Type"]

    command = desk.command("--accept-state", "--listen", f"127.0.0.1:{port}", "--sync-http-addr", "127.0.0.1:0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        try:
            assert running.stdout is not None
            while "witness_listens" not in running.stdout.readline():
                assert running.poll() is None
            status, body, _ = post(bytes(a.submission(0, 30)))
            assert status == 200
            whole = bytes(a.note(30)) + body
            assert SignedNote.parse(whole).cosigned(desk.verifier)
            assert post(bytes(a.submission(0, 30))) == (409, b"30\n", "text/x.tlog.size")
            forked = Site("a", fork=" another")
            assert post(bytes(forked.submission(30, 40)))[0] == 422
            assert post(bytes(Site("a", seed=b"stolen").submission(30, 40)))[0] == 403
            assert post(bytes(Site("b").submission(0, 40)))[0] == 404
            assert post(b"nonsense")[0] == 400
            assert post(b"x" * 70_000)[0] == 413
            assert post(bytes(a.submission(30, 30)))[0] == 200
        finally:
            running.terminate()
            running.communicate(timeout=60)
    publish(hub, forked, 0, 40)
    desk.once(code=1)
    found = cosigned(hub, "a")
    assert found is not None
    assert found[0].text == a.note(30).text
