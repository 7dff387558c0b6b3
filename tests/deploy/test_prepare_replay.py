"""The pod's replay directory: the daemon's own and sticky, in a claim whose root is not the daemon's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.manifests import K8S
from tests.support import needs

SCRIPT = K8S / "base/syncdaemon/prepare_replay.py"
DAEMON, PRODUCER, GROUP = 10001, 10002, 10001


@pytest.fixture
def claim() -> Iterator[Path]:
    """The root of a volume as a kubelet hands it over with `fsGroup: 10001`: of root, with the group and setgid."""
    needs.root()
    folder = Path(tempfile.mkdtemp(prefix="claim-"))  # every user gets to it, unlike to a folder of pytest
    folder.chmod(0o755)
    root = folder / "volume"
    root.mkdir()
    os.chown(root, 0, GROUP)
    root.chmod(0o2775)
    (folder / "prepare_replay.py").write_bytes(SCRIPT.read_bytes())
    yield root
    shutil.rmtree(folder)


def prepare(claim: Path) -> subprocess.CompletedProcess[str]:
    """The init container."""
    python = os.path.realpath("/usr/bin/python3") if os.path.exists("/usr/bin/python3") else sys.executable
    command = [python, str(claim.parent / "prepare_replay.py"), str(claim)]
    return subprocess.run(command, user=DAEMON, group=GROUP, extra_groups=[GROUP], capture_output=True, text=True)


def as_producer(*command: str) -> int:
    """A command of a producer of the same claim: another user of the same group. Its exit code."""
    return subprocess.run(command, user=PRODUCER, group=PRODUCER, extra_groups=[GROUP], capture_output=True).returncode


def put(path: Path, data: str, owner: int = PRODUCER, mode: int = 0o644) -> None:
    path.write_text(data)
    os.chown(path, owner, GROUP)
    path.chmod(mode)


def is_the_daemons(replay: Path) -> bool:
    """Its own, with the group of the producers, setgid and sticky."""
    found = replay.stat()
    return (found.st_uid, found.st_gid, oct(found.st_mode & 0o7777)) == (DAEMON, GROUP, "0o3770")


def test_the_directory_belongs_to_the_daemon_and_is_sticky(claim: Path) -> None:
    done = prepare(claim)
    assert (done.returncode, done.stderr) == (0, "")
    assert is_the_daemons(claim / "replay")
    assert prepare(claim).returncode == 0, "a second start finds it ready"
    assert is_the_daemons(claim / "replay")


def test_a_producer_can_write_and_can_not_touch_what_is_the_daemons(claim: Path) -> None:
    """Neither its folder nor a file of another user."""
    prepare(claim)
    replay = claim / "replay"
    (replay / ".syncdaemon").mkdir()
    os.chown(replay / ".syncdaemon", DAEMON, GROUP)
    put(replay / "of-another", "evidence", owner=10003)
    assert as_producer("touch", str(replay / "evidence")) == 0
    assert as_producer("mv", "-n", str(replay / ".syncdaemon"), str(replay / "away")) != 0
    assert as_producer("rmdir", str(replay / ".syncdaemon")) != 0
    assert as_producer("mv", str(replay / "of-another"), str(replay / "away")) != 0
    assert sorted(it.name for it in replay.iterdir()) == [".syncdaemon", "evidence", "of-another"]


def test_what_an_earlier_version_left_in_the_claims_root_is_taken_along(claim: Path) -> None:
    """Waiting files, folders, quarantine and hold; not what a producer still writes, nor what is no evidence."""
    put(claim / "waiting.bin", "waiting")
    put(claim / "being-written.part", "half")
    put(claim / ".hidden", "hidden")
    (claim / "link").symlink_to("/etc/passwd")
    (claim / "lost+found").mkdir()
    for folder in (".syncdaemon", "camera"):
        (claim / folder).mkdir()
        os.chown(claim / folder, DAEMON, GROUP)
        put(claim / folder / "file", folder)
    done = prepare(claim)
    assert done.returncode == 0
    assert "'waiting.bin' lay beside replay" in done.stderr
    replay = claim / "replay"
    assert sorted(it.name for it in replay.iterdir()) == [".syncdaemon", "camera", "waiting.bin"]
    assert (replay / "waiting.bin").read_text() == "waiting"
    assert (replay / "camera/file").read_text() == "camera"
    assert sorted(it.name for it in claim.iterdir()) == [
        ".hidden",
        "being-written.part",
        "link",
        "lost+found",
        "replay",
    ]


def test_nothing_is_replaced_by_what_lies_beside_it(claim: Path) -> None:
    """And what stays is named, so that somebody can decide."""
    prepare(claim)
    put(claim / "replay/evidence", "first")
    put(claim / "evidence", "second")
    done = prepare(claim)
    assert done.returncode == 0
    assert "'evidence' stays beside replay: File exists" in done.stderr
    assert ((claim / "replay/evidence").read_text(), (claim / "evidence").read_text()) == ("first", "second")


def test_an_empty_folder_that_kubernetes_made_for_a_producer_is_replaced(claim: Path) -> None:
    """A producer's pod came first: the kubelet makes the folder of its mount, as root."""
    (claim / "replay").mkdir(mode=0o755)
    assert prepare(claim).returncode == 0
    assert is_the_daemons(claim / "replay")


@pytest.mark.parametrize("owner", [0, PRODUCER])
def test_a_folder_of_somebody_else_with_files_is_refused(claim: Path, owner: int) -> None:
    """No file is lost with it, and the pod says what to do."""
    (claim / "replay").mkdir()
    put(claim / "replay/evidence", "evidence")
    os.chown(claim / "replay", owner, GROUP)
    done = prepare(claim)
    assert done.returncode == 1
    assert f"belongs to user {owner}" in done.stderr
    assert (claim / "replay/evidence").read_text() == "evidence"


@pytest.mark.parametrize("dangling", [True, False])
def test_a_symlink_in_its_place_is_refused(claim: Path, dangling: bool) -> None:
    """Whose target stays as it is."""
    target = claim.parent / "target"
    if not dangling:
        target.mkdir()
        os.chown(target, DAEMON, GROUP)
        target.chmod(0o755)
    (claim / "replay").symlink_to(target)
    done = prepare(claim)
    assert done.returncode == 1
    assert "replay" in done.stderr
    assert target.exists() is not dangling
    assert dangling or target.stat().st_mode & 0o7777 == 0o755


def test_a_name_that_is_no_utf_8_is_moved_and_printed_without_harm(claim: Path) -> None:
    (claim / os.fsdecode(b"bad\xff\x1b[31m")).write_text("evidence")
    done = prepare(claim)
    assert done.returncode == 0
    assert "\x1b" not in done.stderr
    assert (claim / "replay" / os.fsdecode(b"bad\xff\x1b[31m")).exists()
