"""Several users on one machine: the daemon as it is deployed, and a producer that is another user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import needs
from tests.support.daemon import DaemonProcess

DAEMON, PRODUCER, PRODUCERS = 10001, 10002, 10003  # two users, and the group of those who write to the directory


class Shared(NamedTuple):
    """A replay directory of the daemon's user that others write to, and a place for what is none of their business."""

    daemon: DaemonProcess
    secrets: Path


@pytest.fixture(params=[0o3770, 0o777], ids=["3770", "0777"])
def shared(request: pytest.FixtureRequest) -> Iterator[Callable[..., Shared]]:
    """Makes it, with the daemon as a user of its own, not running; in the mode that is right, and in a careless one."""
    needs.root()
    setpriv = needs.program("setpriv")
    as_daemon = [setpriv, f"--reuid={DAEMON}", f"--regid={DAEMON}", f"--groups={PRODUCERS}"]
    if subprocess.run([*as_daemon, sys.executable, "-c", ""], capture_output=True).returncode:
        needs.missing("needs a Python that other users can run")
    place = Path(tempfile.mkdtemp(prefix="syncdaemon-shared-", dir="/tmp"))
    place.chmod(0o711)
    daemons: list[DaemonProcess] = []

    def make(url: str, **settings: str) -> Shared:
        secrets = place / "secrets"
        secrets.mkdir(mode=0o700)
        daemon = DaemonProcess(place, url, **settings)
        daemon.ledger.mkdir(mode=0o700)
        for folder, group in ((place, -1), (daemon.replay, PRODUCERS), (daemon.ledger, DAEMON), (secrets, DAEMON)):
            os.chown(folder, DAEMON, group)
        daemon.replay.chmod(request.param)
        daemon.command[:0] = as_daemon
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
