"""A producer that is another user attacks through the directory that it may write to.

Nothing that it could not read is published, nothing that it could not delete is deleted, and other files are delivered.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, eventually
from tests.support.jetstream import each_message
from tests.support.users import DAEMON, PRODUCER, PRODUCERS, Shared, as_producer, python

pytestmark = [pytest.mark.integration]

SECRET = b"user: root, password: secret\n"
NAME = "site.creds"
MakeShared = Callable[..., Shared]


def stored(server: NatsServer) -> set[str]:
    """The digests of all that is in the stream."""

    async def read() -> set[str]:
        return {message.headers["Edge-Sha256"] async for message in each_message(server.url, "swarm_jobs")}

    return asyncio.run(read())


def secret_in(folder: Path) -> Path:
    """A file of the daemon's user that nobody else may read."""
    path = folder / NAME
    path.write_bytes(SECRET)
    for place, mode in ((folder, 0o700), (path, 0o600)):
        os.chown(place, DAEMON, DAEMON)
        place.chmod(mode)
    return path


def drop(daemon: DaemonProcess, name: str, data: bytes) -> None:
    """The producer drops a file, as producers should."""

    def dropping() -> None:
        target = daemon.replay / name
        target.parent.mkdir(exist_ok=True, parents=True)
        temporary = target.with_name(f".{target.name}.part")
        temporary.write_bytes(data)
        temporary.rename(target)

    as_producer(dropping)


def untouched(server: NatsServer, daemon: DaemonProcess, *secrets: Path) -> None:
    """Other files are delivered, and the secrets are where they were, and nowhere else."""
    contents = [path.read_bytes() for path in secrets]
    drop(daemon, "other", b"evidence of others")
    digest = sha256(b"evidence of others").hexdigest()
    eventually(lambda: digest in stored(server), what="another file is delivered")
    eventually(lambda: not (daemon.replay / "other").exists(), what="and let go of")
    assert [path.read_bytes() for path in secrets] == contents
    assert not stored(server) & {sha256(content).hexdigest() for content in contents}
    own = daemon.replay / ".syncdaemon"
    kept = {path.read_bytes() for path in own.rglob("*") if path.is_file() and not path.is_symlink()}
    assert not kept & set(contents)


def uploaded(daemon: DaemonProcess) -> int:
    """How many bytes of a large file the server has."""
    upload = json.loads(daemon.get("/status"))["upload"]
    return int(upload["stored"]) if upload else 0


def run(daemon: DaemonProcess, who: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command beside the daemon. `who`: what makes it another user's than root's."""
    command = [*who, python(), "-m", "syncdaemon", *arguments]
    return subprocess.run(command, env=daemon.env, cwd=daemon.replay.parent, capture_output=True, text=True)


def doctor(daemon: DaemonProcess) -> dict[str, dict[str, str]]:
    """What `doctor` finds, by check; root calls it."""
    found = json.loads(run(daemon, [], "doctor", "--json").stdout)
    return {finding["check"]: finding for finding in found}


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system, such as a Secret that Kubernetes mounts."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("target", ["a secret", "the ledger", "another file system"])
def test_a_folder_that_becomes_a_symlink_while_its_file_settles(
    nats_server: NatsServer, shared: MakeShared, elsewhere: Path, target: str
) -> None:
    """What the symlink leads to has the name of the file that waits; it is not read, and not moved."""
    daemon, secrets = shared(nats_server.url, SYNC_RESCAN_SECONDS="1", SYNC_HOLD_SECONDS="0")
    folder = {"a secret": secrets, "the ledger": daemon.ledger, "another file system": elsewhere}[target]
    secret = secret_in(folder)
    if target == "the ledger":
        secret = secret.rename(folder / "evidence-other-site-20200101.jsonl")
    daemon.start()

    def attack() -> None:
        inside = daemon.replay / "a"
        inside.mkdir()
        with (inside / secret.name).open("wb") as growing:
            for _ in range(15):
                growing.write(b"x")
                growing.flush()
                time.sleep(0.1)
            inside.rename(daemon.replay / ".a")
            inside.symlink_to(folder)
        time.sleep(2)

    as_producer(attack)
    untouched(nats_server, daemon, secret)


def test_a_folder_that_becomes_a_symlink_again_and_again(nats_server: NatsServer, shared: MakeShared) -> None:
    """At every instant between scan, look, read and move."""
    daemon, secrets = shared(nats_server.url, SYNC_RESCAN_SECONDS="1", SYNC_SETTLE_SECONDS="0", SYNC_HOLD_SECONDS="0")
    secret = secret_in(secrets)
    daemon.start()

    def attack() -> None:
        inside, link = daemon.replay / "a", daemon.replay / ".link"
        link.symlink_to(secrets)
        end = time.monotonic() + 6
        number = 0
        while time.monotonic() < end:
            number += 1
            aside = daemon.replay / f".a{number}"
            inside.mkdir()
            (inside / NAME).write_bytes(b"bait %d" % number)
            time.sleep(0.0005 * (number % 40))
            inside.rename(aside)
            link.rename(inside)
            time.sleep(0.001 * (number % 7))
            inside.rename(link)

    as_producer(attack)
    untouched(nats_server, daemon, secret)


def test_a_folder_that_becomes_a_symlink_while_a_large_file_is_uploaded(
    nats_server: NatsServer, shared: MakeShared
) -> None:
    """The upload reads the file that was hashed, and only that is moved."""
    daemon, secrets = shared(nats_server.url, SYNC_RESCAN_SECONDS="1", SYNC_BWLIMIT="1Mi", SYNC_HOLD_SECONDS="0")
    secret = secret_in(secrets)
    large = os.urandom(3 << 20)
    daemon.start()
    drop(daemon, f"a/{NAME}", large)
    eventually(lambda: uploaded(daemon) > 0, what="the upload has begun")

    def attack() -> None:
        (daemon.replay / "a").rename(daemon.replay / "b")
        (daemon.replay / "a").symlink_to(secrets)

    as_producer(attack)
    eventually(lambda: sha256(large).hexdigest() in stored(nats_server), 30, "the large file is delivered")
    eventually(lambda: not (daemon.replay / "b" / NAME).exists(), 30, "and let go of, in the folder where it is now")
    untouched(nats_server, daemon, secret)


def test_hard_links_of_a_producer_lead_to_its_own_files(nats_server: NatsServer, shared: MakeShared) -> None:
    """The kernel refuses a link to what it may not write (fs.protected_hardlinks); others are files like any."""
    daemon, secrets = shared(nats_server.url, SYNC_HOLD_SECONDS="0")
    secret = secret_in(secrets)
    secrets.chmod(0o711)
    daemon.start()

    def link() -> None:
        with pytest.raises(PermissionError):
            os.link(secret, daemon.replay / "stolen")
        (daemon.replay / ".mine").write_bytes(b"mine")
        for name in ("one", "two"):
            os.link(daemon.replay / ".mine", daemon.replay / name)

    as_producer(link)
    eventually(lambda: sha256(b"mine").hexdigest() in stored(nats_server), 60, "it is delivered")
    eventually(lambda: not (daemon.replay / "two").exists(), 60, "both names are let go of")
    untouched(nats_server, daemon, secret)
    assert (daemon.replay / ".mine").read_bytes() == b"mine"


# The daemon's own folder.


def a_folder(own: Path, secrets: Path) -> None:
    """The producer made it first."""
    own.mkdir()
    own.chmod(0o777)


def a_symlink(own: Path, secrets: Path) -> None:
    """It leads to a folder of the daemon's user."""
    own.symlink_to(secrets)


def a_file(own: Path, secrets: Path) -> None:
    own.write_bytes(b"")


@pytest.mark.parametrize("plant", [a_folder, a_symlink, a_file])
def test_a_folder_of_ours_that_somebody_else_made_is_refused(
    nats_server: NatsServer, shared: MakeShared, plant: Callable[[Path, Path], None]
) -> None:
    """With one line that says what is where, and what to do."""
    daemon, secrets = shared(nats_server.url)
    own = daemon.replay / ".syncdaemon"
    as_producer(lambda: plant(own, secrets))
    daemon.launch()
    assert daemon.ended(20) == 2
    (line,) = [line for line in daemon.log().splitlines() if line.startswith("syncdaemon: ")]
    assert f"SYNC_REPLAY_DIR: {own}" in line
    assert "somebody else made it" in line
    assert f"chown -hR {DAEMON} {own}" in line
    assert list(secrets.iterdir()) == []

    own.unlink() if own.is_symlink() or own.is_file() else own.rmdir()
    daemon.start()


@pytest.mark.parametrize("name", ["held", "quarantine", "requeue", "archive", "lock"])
def test_what_was_planted_in_our_folder_is_refused(nats_server: NatsServer, shared: MakeShared, name: str) -> None:
    """It may have been writable to the group, as fsGroup makes it. Nothing is followed, and nothing truncated."""
    daemon, secrets = shared(nats_server.url)
    secret = secret_in(secrets)
    own = daemon.replay / ".syncdaemon"
    own.mkdir()
    os.chown(own, DAEMON, PRODUCERS)
    own.chmod(0o770)
    as_producer(lambda: (own / name).symlink_to(secret if name == "lock" else secrets))
    daemon.launch()
    assert daemon.ended(20) == 2
    (line,) = [line for line in daemon.log().splitlines() if line.startswith("syncdaemon: ")]
    assert f"{own}/{name}" in line
    assert secret.read_bytes() == SECRET
    assert list(secrets.iterdir()) == [secret]


def test_a_bucket_and_a_sidecar_that_were_planted_lead_nowhere(nats_server: NatsServer, shared: MakeShared) -> None:
    """In folders that were writable to the group: neither is a held file deleted through them, nor a reason written."""
    daemon, secrets = shared(nats_server.url, SYNC_HOLD_SECONDS="0", SYNC_RESCAN_SECONDS="1")
    secret = secret_in(secrets)
    daemon.start()
    assert daemon.stop() == 0
    own = daemon.replay / ".syncdaemon"
    found = secret.stat()
    held = secret.rename(secrets / f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}-1-{'0' * 64}-1")
    for folder in (own, own / "held", own / "quarantine"):
        os.chown(folder, DAEMON, PRODUCERS)
        folder.chmod(0o770)

    def plant() -> None:
        (own / "held" / "123").symlink_to(secrets)
        (own / "held" / "124").mkdir()
        (own / "held" / "124" / "no name of ours").write_bytes(b"")
        (own / "quarantine" / "x.reason.json.tmp").symlink_to(held)
        (own / "quarantine" / "y.reason.json").symlink_to(held)
        os.mkfifo(own / "quarantine" / "z.reason.json")

    as_producer(plant)
    daemon.start()
    assert [oct(path.stat().st_mode & 0o7777) for path in (own / "held", own / "quarantine")] == ["0o700"] * 2
    untouched(nats_server, daemon, held)


def test_our_folder_and_its_parts_have_their_modes(nats_server: NatsServer, shared: MakeShared) -> None:
    """Also where an older version, a umask or fsGroup made them others."""
    daemon, _ = shared(nats_server.url, SYNC_AFTER="archive")
    own = daemon.replay / ".syncdaemon"
    for _ in range(2):
        daemon.start()
        drop(daemon, "file", b"evidence")
        eventually(lambda: not (daemon.replay / "file").exists(), what="it is delivered")
        modes = {path.name: path.stat().st_mode & 0o7777 for path in (own, *own.iterdir())}
        assert modes.pop(".syncdaemon") == 0o710
        assert modes.pop("lock") == 0o600
        assert modes.pop("socket") == 0o660
        assert set(modes.values()) == {0o700}
        assert {"held", "quarantine", "requeue", "archive"} <= modes.keys()
        assert own.stat().st_gid == PRODUCERS
        assert daemon.stop() == 0
        for path in (own, *own.iterdir()):
            path.chmod(0o2770 if path.is_dir() else 0o640)
        os.chown(own, DAEMON, DAEMON)


def test_our_folder_is_replaced_while_the_daemon_runs(nats_server: NatsServer, shared: MakeShared) -> None:
    """By whoever may write to a directory that is not sticky: delivery waits, with words, and goes on afterwards."""
    daemon, secrets = shared(nats_server.url, SYNC_RESCAN_SECONDS="1", SYNC_HOLD_SECONDS="0")
    secret = secret_in(secrets)
    own, taken = daemon.replay / ".syncdaemon", daemon.replay / ".taken"
    daemon.start()
    (ledger,) = daemon.ledger.glob("evidence-*.jsonl")

    def replace() -> None:
        own.rename(taken)
        own.mkdir()
        own.chmod(0o777)
        for name in ("held", "quarantine", "requeue", "archive"):
            (own / name).symlink_to(secrets)
        (own / "lock").symlink_to(ledger)

    if daemon.replay.stat().st_mode & 0o1000:
        with pytest.raises(AssertionError):
            as_producer(replace)
        untouched(nats_server, daemon, secret)
        return
    as_producer(replace)
    eventually(lambda: daemon.page("/readyz")[0] == 503, what="it is not ready")
    assert f"{own} is not the directory that the daemon began with" in daemon.ailment("scanned")
    drop(daemon, "waits", b"waits")
    planted = sorted(path.name for path in own.iterdir())
    time.sleep(2)
    assert (daemon.replay / "waits").exists()
    assert sorted(path.name for path in own.iterdir()) == planted
    assert secret.read_bytes() == SECRET
    assert not daemon.rows_so_far("published")

    shutil.rmtree(own)
    taken.rename(own)
    untouched(nats_server, daemon, secret)
    assert sha256(b"waits").hexdigest() in stored(nats_server)
    assert daemon.stop() == 0
    assert len(daemon.rows("published")) == 2


def test_a_file_of_the_producer_that_can_not_be_read_is_set_aside_as_it_is(
    nats_server: NatsServer, shared: MakeShared
) -> None:
    """It stays the producer's, and its reason is the daemon's alone."""
    daemon, secrets = shared(nats_server.url, SYNC_RESCAN_SECONDS="1", SYNC_HOLD_SECONDS="0")
    secret = secret_in(secrets)
    daemon.start()
    drop(daemon, "x", b"mine")

    def hide() -> None:
        fd = os.open(daemon.replay / "y", os.O_CREAT | os.O_WRONLY, 0)
        os.write(fd, b"hidden")
        os.close(fd)

    as_producer(hide)
    aside = daemon.replay / ".syncdaemon" / "quarantine"
    eventually(lambda: (aside / "y").exists(), 30, "it is set aside")
    assert (aside / "y").stat().st_uid == PRODUCER
    assert (aside / "y.reason.json").stat().st_uid == DAEMON
    untouched(nats_server, daemon, secret)


# What is said of it.


def test_the_start_and_the_doctor_say_what_others_can_do(nats_server: NatsServer, shared: MakeShared) -> None:
    """With the commands that cure it, and nothing where all is right."""
    daemon, _ = shared(nats_server.url)
    daemon.start()
    right = bool(daemon.replay.stat().st_mode & 0o1000)
    warned = daemon.logged("replay_dir_is_shared", at_least=0 if right else 1)
    assert len(warned) == (0 if right else 1)
    if not right:
        assert "each can rename or remove the files of the others and .syncdaemon" in warned[0]["danger"]
        assert f"chmod 3770 {daemon.replay}" in warned[0]["cure"]
    found = doctor(daemon)["shared"]
    assert found["level"] == ("ok" if right else "warning")
    assert right or f"chmod 3770 {daemon.replay}" in found["remedy"]


@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_a_folder_that_the_daemon_can_not_rename_in_is_named(
    nats_server: NatsServer, shared: MakeShared, mode: int
) -> None:
    """By health, the log and the doctor, with the cure; its file is delivered once, and moved when that is done."""
    daemon, _ = shared(nats_server.url, SYNC_HOLD_SECONDS="0")
    closed = daemon.replay / "closed"

    def close() -> None:
        closed.mkdir()
        (closed / "x").write_bytes(b"evidence")
        closed.chmod(mode)

    as_producer(close)
    daemon.start()
    eventually(lambda: f"{closed} " in daemon.ailment("retired"), what="health names the folder")
    cure = f"chmod -t {closed}" if mode & 0o1000 else f"chmod 2770 {closed}"
    assert cure in daemon.ailment("retired")
    assert cure in str(daemon.logged("not_moved", at_least=1)[0]["error"])
    found = doctor(daemon)["moves"]
    assert (found["level"], cure in found["remedy"]) == ("failure", True)

    os.chown(closed, PRODUCER, PRODUCERS)
    closed.chmod(0o2770)
    eventually(lambda: not (closed / "x").exists(), what="it is moved")
    assert daemon.stop() == 0
    assert len(daemon.rows("published", "duplicate")) == 1


def test_commands_of_root_and_of_the_daemon_go_on_to_work(nats_server: NatsServer, shared: MakeShared) -> None:
    """Of anybody else they say in one line why not, and what to do."""
    daemon, _ = shared(nats_server.url, SYNC_RESCAN_SECONDS="1")
    daemon.start()

    def hide() -> None:
        fd = os.open(daemon.replay / "y", os.O_CREAT | os.O_WRONLY, 0)
        os.close(fd)

    as_producer(hide)
    aside = daemon.replay / ".syncdaemon" / "quarantine"
    eventually(lambda: (aside / "y").exists(), 30, "it is set aside")
    as_user = daemon.command[: daemon.command.index(python())]
    as_stranger = [word.replace(str(DAEMON), str(PRODUCER)) for word in as_user]
    for who in ([], as_user):
        shown = run(daemon, who, "quarantine", "list")
        assert (shown.returncode, "unreadable" in shown.stdout) == (0, True), shown.stderr
    refused = run(daemon, as_stranger, "quarantine", "list")
    assert refused.returncode == 2
    assert "run it as the user of the daemon, or as root" in refused.stderr
    os.chmod(aside / "y", 0o644)
    back = run(daemon, [], "quarantine", "requeue", "--all")
    assert back.returncode == 0, back.stderr
    eventually(lambda: len(daemon.rows_so_far("published")) == 1, what="it is delivered after all")
    assert run(daemon, as_stranger, "status").returncode == 0
    source = daemon.replay.parent / "by hand"
    source.write_bytes(b"by hand")
    put = run(daemon, as_stranger, "put", str(source))
    assert put.returncode == 0, put.stderr
    eventually(lambda: len(daemon.rows_so_far("published")) == 2, what="what was put is delivered")
