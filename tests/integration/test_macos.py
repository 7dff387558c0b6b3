"""A developer's machine that is no Linux: what Linux alone has is taken away, each by itself and all together.

On a real macOS nothing is taken away, and the same tests say whether it works there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.lacking import KEYS, lacking
from tests.support.ports import own_port
from tests.support.process import PROGRAM, Process, clean_environment
from tests.support.receiver import Receiver, received
from tests.support.shell import Shell

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
MACOS = lacking("macos")
IMPORT_ALL = """
import importlib, pkgutil, syncdaemon
for module in pkgutil.walk_packages(syncdaemon.__path__, "syncdaemon."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
USED = (
    *("leases", "fdatasync", "advice", "holes", "paths", "openat2", "renameat2", "prctl", "inotify", "tcp", "proc"),
    "peers",
)
UNUSED = ",".join(key for key in KEYS if key not in USED)  # we need none of them, so they can go together
EVERY_LACK = pytest.mark.parametrize("what", [*USED, pytest.param(UNUSED, id="others"), "macos"])


def import_all(what: str) -> None:
    """Every module of the package, in a process that lacks this."""
    environment = {**os.environ, **lacking(what)}
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def deliver_by_each_way(daemon: DaemonProcess) -> None:
    """A file that was renamed into place, one that was written there, and one in a new folder, within seconds."""
    daemon.start()
    daemon.drop("renamed.txt", b"evidence 1")
    (daemon.replay / "written.txt").write_bytes(b"evidence 2")
    daemon.drop("folder/deep.txt", b"evidence 3")
    eventually(lambda: daemon.metric("syncdaemon_published_files_total") == 3, 20, "all three are delivered")
    eventually(lambda: daemon.waiting() == [], 10, "all three have left the directory")


def test_every_module_can_be_imported() -> None:
    import_all("macos")


def test_run_delivers_and_status_and_doctor_tell_how(
    nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path, shell: Shell
) -> None:
    """Neither writers nor closes are seen there: quiet alone tells, and `doctor` says so."""
    daemon = make_daemon(nats_server.url, **MACOS)
    deliver_by_each_way(daemon)
    shell.env |= daemon.env
    status = shell("status")
    assert status.code == 0, status.err
    doctor = shell("doctor", "--json")
    assert "quiet for SYNC_SETTLE_SECONDS counts as complete" in doctor.out
    put = shell("put", "/etc/hosts")
    assert put.code == 0, put.err
    eventually(lambda: daemon.metric("syncdaemon_published_files_total") == 4, 20, "what was put is delivered")
    assert daemon.stop() == 0
    verify = shell("verify", "--stream")
    assert verify.code == 0, verify.out

    target = tmp_path / "received"
    receiver = Receiver(tmp_path, target, nats_server.url, **MACOS)
    try:
        receiver.start()
        eventually(lambda: len(received(target)) == 4, 20, "the other end has all files")
    finally:
        receiver.kill()


def test_a_file_is_handed_over_and_its_receipt_is_had(
    nats_server: NatsServer, make_daemon: MakeDaemon, shell: Shell
) -> None:
    """The door has a plain path there, and the kernel tells by getpeereid who is at its other end."""
    with tempfile.TemporaryDirectory(prefix="door", dir="/tmp") as folder:
        daemon = make_daemon(nats_server.url, folder, **MACOS, SYNC_SETTLE_SECONDS="20")
        daemon.start()
        shell.env |= daemon.env
        ended = shell("put", "--wait", "--timeout", "15", "/etc/hosts")
        assert (ended.code, ended.out) == (0, f"{daemon.replay}/hosts: message 1 of swarm_jobs\n"), ended.err
        assert shell("pause", "--for", "1h").code == 0
        assert daemon.metric("syncdaemon_paused") == 1
        assert daemon.stop() == 0


@pytest.mark.lengthy
def test_a_path_that_is_too_long_for_a_socket_costs_the_door_alone(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    daemon = make_daemon(nats_server.url, "x" * 120, **MACOS)
    deliver_by_each_way(daemon)
    (line,) = daemon.logged("no_local_door", at_least=1)
    assert "the address of a socket has at most 103" in line["error"]


def test_drain_delivers_what_is_there(nats_server: NatsServer, shell: Shell) -> None:
    """A large file too: it is an object."""
    shell.env |= {"NATS_URL": nats_server.url, **MACOS}
    (shell.replay / "small").write_bytes(b"evidence")
    (shell.replay / "large").write_bytes(os.urandom(3 << 20))
    with (shell.replay / "sparse").open("wb") as sparse:
        sparse.truncate(2 << 20)
    ended = shell("drain")
    assert ended.code == 0, ended.err
    assert shell.files() == []
    assert shell("verify", "--stream").code == 0


def test_dev_delivers_its_sample(tmp_path: Path) -> None:
    """With a server of its own, and it ends in good order."""
    environment = {**clean_environment(), **MACOS, "SYNC_HTTP_ADDR": f"127.0.0.1:{own_port()}"}
    dev = Process([*PROGRAM, "dev", "--folder", str(tmp_path / "dev")], environment, tmp_path / "log")
    try:
        dev.launched(lambda: "The sample file is delivered" in dev.log(), 30)
        dropped = tmp_path / "dev/replay/dropped.txt"
        dropped.write_bytes(b"evidence")
        eventually(lambda: not dropped.exists(), 20, "a dropped file leaves the folder")
        assert dev.stop() == 0
    finally:
        dev.kill()


@pytest.mark.lengthy
@EVERY_LACK
def test_each_is_missed_by_itself(
    what: str, nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path, shell: Shell
) -> None:
    """A Linux can lack one of them: another libc, an old kernel, a container's filter. Files are delivered then too."""
    lack = lacking(what)
    daemon = make_daemon(nats_server.url, **lack, SYNC_SETTLE_IN_PLACE_SECONDS="1")
    deliver_by_each_way(daemon)
    assert daemon.stop() == 0
    shell.env |= daemon.env
    assert shell("put", "/etc/hosts").code == 0
    assert shell("drain").code == 0
    assert "warning" in shell("doctor", "--json").out  # whatever it finds, it ends and says it
    receiver = Receiver(tmp_path, tmp_path / "received", nats_server.url, **lack)
    try:
        receiver.start()
        eventually(lambda: len(received(receiver.target)) == 4, 20, "the other end has all files")
    finally:
        receiver.kill()


@pytest.mark.lengthy
def test_make_run_on_macos(tmp_path: Path) -> None:
    """The first minute of a developer, all the calls taken away. What is installed stays as it is."""
    installed = [f"--assume-old={path}" for path in (".venv/.installed-dev", ".venv/.made", "pyproject.toml")]
    command = ["make", *installed, "run", f"ARGS=--folder {tmp_path / 'dev'}"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        made = subprocess.Popen(
            command, cwd=ROOT, env={**clean_environment(), **MACOS}, stdout=output, stderr=output, process_group=0
        )
    try:
        eventually(lambda: "The sample file is delivered" in log.read_text(), 60, "make run delivers its sample")
        dropped = tmp_path / "dev/replay/dropped.txt"
        dropped.write_bytes(b"evidence")
        eventually(lambda: not dropped.exists(), 20, "a dropped file leaves the folder")
    finally:
        os.killpg(made.pid, signal.SIGINT)
        made.wait(20)
    assert "Traceback" not in log.read_text()


def test_without_prctl_the_server_dies_with_its_parent(tmp_path: Path) -> None:
    """A second process looks after it, and does not keep the lock of the server's store."""
    parent = (
        "import sys, time\nfrom pathlib import Path\nfrom syncdaemon.dev import leash, server\n"
        "leash._LEASH = leash._LEASH.replace('\"prctl\"', '\"no such call\"')\n"
        "one = server.NatsServer(Path(sys.argv[1]), port=int(sys.argv[2]))\n"
        "one.start()\none.stop()\none.start()\nprint(one.pid, flush=True)\ntime.sleep(100)\n"
    )
    command = [sys.executable, "-c", parent, str(tmp_path / "nats"), str(own_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            pid = int(process.stdout.readline())
            time.sleep(0.5)
            assert is_alive(pid)
        finally:
            process.kill()
    eventually(lambda: not is_alive(pid), 10, "the server dies with its parent")


def is_alive(pid: int) -> bool:
    """Whether this process runs. One that nobody has waited for yet does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return state != "" and not state.startswith("Z")
