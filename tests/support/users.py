"""Several users, as where the daemon is deployed: it is one, the producers are another, and neither is root.

The replay directory belongs to the daemon and is open to a group in which both are.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import needs
from tests.support.daemon import DaemonProcess

DAEMON, PRODUCER, STRANGER, GROUP = 10001, 10002, 10003, 10001
PRODUCERS = 10003  # a group of those who write to a directory, in which the daemon is, too
_ROOT = Path(__file__).parents[2]
_PATHS = os.pathsep.join((str(_ROOT / "services"), str(_ROOT), sysconfig.get_path("purelib")))


def as_user(uid: int) -> list[str]:
    """What stands before a command that this user runs, without any capability."""
    return [needs.program("setpriv"), f"--reuid={uid}", f"--regid={GROUP}", "--clear-groups", "--"]


@functools.cache
def python() -> str:
    """An interpreter that every user may run, with our packages on PYTHONPATH."""
    needs.root()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for program in (os.path.realpath(sys.executable), f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        command = [*as_user(DAEMON), program, "-c", "import nats, aiohttp, pydantic, syncdaemon"]
        if not subprocess.run(command, env=_environment(), capture_output=True, cwd="/").returncode:
            return program
    needs.missing(f"needs a {version} that other users may run")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": _PATHS, "PYTHONDONTWRITEBYTECODE": "1"}


class Site:
    """A daemon of one user and the producers of another, in a folder that both can reach."""

    def __init__(self, folder: Path, url: str, **settings: str) -> None:
        self.daemon = DaemonProcess(folder, url, **settings)
        self.replay = self.daemon.replay
        self.daemon.command[:1] = [*as_user(DAEMON), python()]
        self.daemon.env["PYTHONPATH"] = _PATHS
        self.daemon.ledger.mkdir()
        for place, mode in ((folder, 0o755), (self.daemon.ledger, 0o700), (self.replay, 0o3770)):
            os.chown(place, DAEMON, GROUP)
            place.chmod(mode)
        self._producers: list[subprocess.Popen[bytes]] = []

    def produce(self, code: str, *arguments: str, uid: int = PRODUCER) -> subprocess.Popen[bytes]:
        """Runs Python code in the replay directory as a producer, beside the test.

        The code may wait for its input, and print lines. It finds the modules os, sys and time, and a function
        `append(name, data)`.
        """
        begin = "import os, sys, time\nos.umask(0o002)\n" + _APPEND
        command = [*as_user(uid), python(), "-c", begin + code, *arguments]
        made = subprocess.Popen(
            command, cwd=self.replay, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._producers.append(made)
        return made

    def produced(self, code: str, *arguments: str, uid: int = PRODUCER) -> None:
        """The same, and waits for its end."""
        assert self.produce(code, *arguments, uid=uid).wait(120) == 0

    def end(self) -> None:
        """Ends the daemon and the producers."""
        self.daemon.kill()
        for producer in self._producers:
            producer.kill()
            producer.wait()
            assert producer.stdin is not None
            assert producer.stdout is not None
            producer.stdin.close()
            producer.stdout.close()


_APPEND = """
def append(name, data):
    with open(name, "ab") as file:
        file.write(data)
"""

MakeSite = Callable[..., Site]


@pytest.fixture
def make_site() -> Iterator[MakeSite]:
    """Sites that end with the test: takes the server's URL and settings by variable."""
    needs.root()
    folder = Path(tempfile.mkdtemp(prefix="syncdaemon-users-"))
    folder.chmod(0o755)
    made: list[Site] = []

    def make(url: str, **settings: str) -> Site:
        place = folder / f"edge{len(made)}"
        place.mkdir()
        made.append(Site(place, url, **settings))
        return made[-1]

    yield make
    for site in made:
        site.end()
    shutil.rmtree(folder, ignore_errors=True)


class Shared(NamedTuple):
    """A replay directory of the daemon's user that others write to, and a place for what is none of their business."""

    daemon: DaemonProcess
    secrets: Path


@pytest.fixture(params=[pytest.param(0o3770, id="3770"), pytest.param(0o777, id="0777", marks=pytest.mark.lengthy)])
def shared(request: pytest.FixtureRequest) -> Iterator[Callable[..., Shared]]:
    """Makes it, with the daemon as a user of its own, not running; in the mode that is right, and in a careless one."""
    needs.root()
    setpriv = needs.program("setpriv")
    as_daemon = [setpriv, f"--reuid={DAEMON}", f"--regid={DAEMON}", f"--groups={PRODUCERS}"]
    place = Path(tempfile.mkdtemp(prefix="syncdaemon-shared-", dir="/tmp"))
    place.chmod(0o711)
    daemons: list[DaemonProcess] = []

    def make(url: str, **settings: str) -> Shared:
        secrets = place / "secrets"
        secrets.mkdir(mode=0o700)
        # Of a file in a folder that is just made, the watch may see nothing.
        daemon = DaemonProcess(place, url, **{"SYNC_SETTLE_IN_PLACE_SECONDS": "1", **settings})
        daemon.ledger.mkdir(mode=0o700)
        for folder, group in ((place, -1), (daemon.replay, PRODUCERS), (daemon.ledger, DAEMON), (secrets, DAEMON)):
            os.chown(folder, DAEMON, group)
        daemon.replay.chmod(request.param)
        daemon.command[:1] = [*as_daemon, python()]
        daemon.env["PYTHONPATH"] = _PATHS
        daemons.append(daemon)
        return Shared(daemon, secrets)

    yield make
    for daemon in daemons:
        daemon.kill()
    shutil.rmtree(place)


def as_producer(work: Callable[[], object]) -> None:
    """Does the work in another process, as the producer's user. Fails where it raises anything."""
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setgroups([PRODUCERS])
            os.setresgid(PRODUCER, PRODUCER, PRODUCER)
            os.setresuid(PRODUCER, PRODUCER, PRODUCER)
            os.umask(0)  # so that the daemon can let go of what is in its folders
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0, "the producer's work failed: see its traceback"
