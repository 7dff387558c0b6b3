"""The auditor at a hub: it reads every checkpoint under its own rights, cosigns, publishes, and refuses."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from nats.aio.client import Client

from syncdaemon.evidence.keyfile import new_key
from syncdaemon.evidence.notes import COSIGNER_KEY, Checkpoint, SignedNote, VerifierKey
from tests.support import judges
from tests.support.hub import PROGRAM, Hub, MakeHub
from tests.support.sites import BASE, Site, put

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

Result = TypeVar("Result")


class Desk:
    """An auditor's files, and its commands at a hub."""

    def __init__(self, hub: Hub, folder: Path, sites: list[Site], name: str = "auditor") -> None:
        self.hub, self.folder = hub, folder / name
        self.folder.mkdir()
        self.key = self.folder / "key.pem"
        self.public = new_key(self.key).public
        self.pins = self.folder / "pins"
        self.pins.write_text("".join(f"{site.pin}\n" for site in sites))
        self.state = self.folder / "state"

    @property
    def verifier(self) -> VerifierKey:
        """The cosigner's key."""
        return VerifierKey(f"{BASE}/auditor", COSIGNER_KEY, self.public)

    def command(self, *more: str) -> list[str]:
        """`syncdaemon audit` with these files."""
        files = ["--key", str(self.key), "--state", str(self.state), "--pins", str(self.pins)]
        return [str(PROGRAM), "audit", *files, *self.hub.at("auditor"), *more]

    def once(self, *more: str, code: int = 0) -> str:
        """One round, which ends with this code; what it says."""
        done = subprocess.run(
            self.command("--once", *more), capture_output=True, text=True, timeout=90, cwd=self.folder
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def begin(self, code: int = 0) -> str:
        """The first round of all."""
        return self.once("--accept-state", code=code)

    def accept(self, site: str) -> str:
        """`syncdaemon audit accept`."""
        words = [str(PROGRAM), "audit", "accept", site, "--state", str(self.state)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def site_state(self, site: str) -> dict[str, Any]:
        """What the state has of a site."""
        found: dict[str, Any] = json.loads((self.state / "sites" / f"{site}.json").read_text())
        return found


def at_hub(hub: Hub, user: str, work: Callable[[Client], Awaitable[Result]]) -> Result:
    """What this work comes to over a connection of this user."""

    async def visit() -> Result:
        client = await hub.connect(user)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(visit())


def publish(hub: Hub, site: Site, old: int, new: int, rebased: bytes = b"") -> int:
    """The site publishes a checkpoint."""
    return at_hub(hub, f"site-{site.name}", lambda client: site.publish(client, old, new, rebased))


def cosigned(hub: Hub, site: str) -> tuple[SignedNote, int] | None:
    """The newest cosigned note of a site as the site itself reads it, and up to where the auditor has read."""

    async def read(client: Client) -> tuple[SignedNote, int] | None:
        subject = f"$JS.API.DIRECT.GET.edge_cosigned.edge.cosigned.{site}.*"
        found = await client.request(subject, b"", 10)
        if found.headers is None or "Nats-Sequence" not in found.headers:
            return None
        return SignedNote.parse(found.data), int(found.headers["Edge-Read-To"])

    return at_hub(hub, f"site-{site}", read)


def rows_cosigned(hub: Hub, desk: Desk, site: Site) -> int:
    """How many rows of the site's log are cosigned; each signature is checked."""
    found = cosigned(hub, site.name)
    if found is None:
        return 0
    note, _ = found
    checkpoint = Checkpoint.parse(note.text)
    assert checkpoint == site.checkpoint(checkpoint.size)
    assert note.cosigned(desk.verifier)
    return checkpoint.size


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    """Two sites that connect directly."""
    hub = make_hub("a\nb\n")
    hub.start()
    return hub


@pytest.fixture
def a() -> Site:
    return Site("a")


@pytest.fixture
def b() -> Site:
    return Site("b")


@pytest.fixture
def desk(hub: Hub, tmp_path: Path, a: Site, b: Site) -> Desk:
    return Desk(hub, tmp_path, [a, b])


def test_every_checkpoint_is_read_in_order_and_the_newest_is_cosigned(hub: Hub, desk: Desk, a: Site, b: Site) -> None:
    """Under the rights that `permissions` prints, and nothing more."""
    publish(hub, a, 0, 3)
    publish(hub, a, 3, 9)
    publish(hub, b, 0, 5)
    last = publish(hub, a, 9, 200)
    said = desk.begin()
    assert "2 of 2 sites are cosigned" in said
    assert rows_cosigned(hub, desk, a) == 200
    assert rows_cosigned(hub, desk, b) == 5
    found = cosigned(hub, "a")
    assert found is not None
    assert found[1] == last
    publish(hub, a, 200, 333)
    desk.once()
    assert rows_cosigned(hub, desk, a) == 333


def test_go_finds_the_cosignature_good(hub: Hub, desk: Desk, a: Site, b: Site) -> None:
    """By sumdb/note, and a cosigner of the test's own."""
    program = judges.build()
    publish(hub, a, 0, 7)
    publish(hub, b, 0, 7)
    desk.begin()
    found = cosigned(hub, "a")
    assert found is not None
    judge = judges.GoJudge(program)
    try:
        said = judge.ask("cosignature", note=bytes(found[0]).decode(), name=f"{BASE}/auditor", public=desk.public)
    finally:
        judge.close()
    assert said["OK"], said
    assert said["Time"] > 1_600_000_000


def test_another_history_is_refused_and_alarms_until_somebody_has_looked(hub: Hub, desk: Desk, a: Site) -> None:
    """And the true one goes on."""
    publish(hub, Site("b"), 0, 5)
    publish(hub, a, 0, 50)
    desk.begin()
    forked = Site("a", fork=" another")
    publish(hub, forked, 50, 80)
    assert "fork" in desk.once(code=1)
    assert rows_cosigned(hub, desk, a) == 50
    publish(hub, a, 50, 90)
    assert "fork" in desk.once(code=1)
    assert rows_cosigned(hub, desk, a) == 90
    desk.accept("a")
    desk.once()
    desk.once()


@pytest.mark.parametrize(("new", "reason"), [(20, "rollback"), (50, "fork")])
def test_what_is_smaller_or_another_of_the_same_size_is_refused(
    hub: Hub, desk: Desk, a: Site, b: Site, new: int, reason: str
) -> None:
    publish(hub, b, 0, 5)
    publish(hub, a, 0, 50)
    desk.begin()
    publish(hub, Site("a", fork=" another"), 0, new)
    assert reason in desk.once(code=1)
    assert rows_cosigned(hub, desk, a) == 50


def test_a_stray_is_read_past_and_the_newest_note_published_again(hub: Hub, desk: Desk, a: Site, b: Site) -> None:
    """Its `Edge-Read-To` is over the stray, so the site may sign again."""
    publish(hub, b, 0, 5)
    publish(hub, a, 0, 50)
    desk.begin()
    thief = Site("a", seed=b"another key")
    for body in (b"no checkpoint", bytes(thief.submission(50, 60))):
        stray = at_hub(hub, "site-a", lambda client, body=body: put(client, "a", body))  # type: ignore[misc]
        desk.once(code=1)
        found = cosigned(hub, "a")
        assert found is not None
        assert found[1] >= stray
        assert rows_cosigned(hub, desk, a) == 50


def test_a_new_log_is_followed_only_when_the_operator_says_so(hub: Hub, desk: Desk, a: Site, b: Site) -> None:
    publish(hub, b, 0, 5)
    publish(hub, a, 0, 50)
    desk.begin()
    proof = a.begin_anew(50)
    publish(hub, a, 0, 1, proof)
    publish(hub, a, 1, 8)
    assert "rebased" in desk.once(code=1)
    assert "rebased" in desk.once(code=1)
    assert rows_cosigned(hub, desk, Site("a")) == 50
    assert a.origin in desk.accept("a")
    desk.once()
    assert rows_cosigned(hub, desk, a) == 8
    publish(hub, a, 8, 20)
    desk.once()
    assert rows_cosigned(hub, desk, a) == 20


def test_a_new_log_that_nobody_announced_is_refused(hub: Hub, desk: Desk, a: Site, b: Site) -> None:
    """Nor one that names another end than the one known here."""
    publish(hub, b, 0, 5)
    publish(hub, a, 0, 50)
    desk.begin()
    old = a.checkpoint(40)
    proof = a.begin_anew(40, old)
    publish(hub, a, 0, 1, proof)
    assert "new_log" in desk.once(code=1)
    publish(hub, a, 0, 2)
    assert "new_log" in desk.once(code=1)
    assert rows_cosigned(hub, desk, Site("a")) == 50


def test_a_state_that_is_lost_copied_or_old_never_signs(hub: Hub, desk: Desk, a: Site, b: Site) -> None:
    """Until the operator says so; and then it begins with what it signed itself."""
    publish(hub, b, 0, 5)
    publish(hub, a, 0, 50)
    assert "--accept-state" in desk.once(code=2)
    desk.begin()
    backup = desk.folder / "backup"
    subprocess.run(["cp", "-a", desk.state, backup], check=True)
    publish(hub, a, 50, 90)
    desk.once()
    copied = desk.state.rename(desk.folder / "aside")
    backup.rename(desk.state)
    (desk.state / "lock").unlink()
    os.link(copied / "lock", desk.state / "lock")  # as a snapshot of the whole disk would have it
    assert "older than the signatures" in desk.once(code=2)
    (desk.state / "lock").unlink()
    assert "is a copy" in desk.once(code=2)
    subprocess.run(["rm", "-r", desk.state], check=True)
    assert "has no state" in desk.once(code=2)
    publish(hub, Site("a", fork=" another"), 50, 80)
    desk.begin(code=1)
    assert rows_cosigned(hub, desk, a) == 90


def test_two_at_once_have_not_one_state(hub: Hub, desk: Desk, a: Site, b: Site) -> None:
    publish(hub, b, 0, 5)
    publish(hub, a, 0, 50)
    desk.begin()
    with subprocess.Popen(
        desk.command("--sync-http-addr", "127.0.0.1:0"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        assert running.stdout is not None
        while "auditing" not in running.stdout.readline():
            pass
        assert "another auditor has it" in desk.once(code=2)
        running.terminate()
        running.communicate(timeout=60)
    assert running.returncode == 0
