"""A user's shell: every command as a process, what it prints, and its exit code."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from syncdaemon.dev.server import HOST
from tests.support import needs
from tests.support.ports import own_port
from tests.support.process import PROGRAM, clean_environment

PASSWORD = "correct-horse-battery"
NOBODY = 65_534


class Ended(NamedTuple):
    """A command that has ended. `said`: the lines on its standard error that are no log lines."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        return [line for line in self.err.splitlines() if not line.startswith("{")]


class Shell:
    """A user's shell in an empty folder, with the environment of one site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.replay = folder / "replay"
        self.ledger = folder / "ledger"
        self.replay.mkdir()
        self.env = {
            **clean_environment(),
            "COLUMNS": "200",
            "SITE": "test-site",
            "NATS_URL": f"nats://{HOST}:{own_port()}",
            "SYNC_REPLAY_DIR": str(self.replay),
            "SYNC_LEDGER_DIR": str(self.ledger),
            "SYNC_HTTP_ADDR": f"{HOST}:{own_port()}",
        }
        self.env.pop("EDGE_MODE", None)

    def __call__(self, *arguments: str | Path, **settings: str) -> Ended:
        """Runs `syncdaemon` to its end."""
        return self.under((), *arguments, **settings)

    def under(self, program: tuple[str, ...], *arguments: str | Path, **settings: str) -> Ended:
        """The same, started by another program. No command ever shows a traceback."""
        command = [*program, *PROGRAM, *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.env | settings, capture_output=True, text=True, timeout=40
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    def files(self) -> list[str]:
        """What waits in the replay directory."""
        own = self.replay / ".syncdaemon"
        found = (path for path in self.replay.rglob("*") if path.is_file() and not path.is_relative_to(own))
        return sorted(str(path.relative_to(self.replay)) for path in found)


@pytest.fixture
def shell() -> Iterator[Shell]:
    """In a folder that any user can reach. Below pytest's own none is: each run that begins closes them to others."""
    with TemporaryDirectory(prefix="syncdaemon-shell-") as folder:
        os.chmod(folder, 0o711)
        yield Shell(Path(folder))


def given_away(shell: Shell) -> int:
    """Gives the replay directory with all in it to another user; that user's number. Only root can do that."""
    needs.root()
    for folder, _, names in os.walk(shell.replay):
        for place in (folder, *(os.path.join(folder, name) for name in names)):
            os.chown(place, NOBODY, NOBODY)
    return NOBODY


def one_line(ended: Ended, code: int) -> str:
    """The one line for a person that a command which can't do its work ends with."""
    assert ended.code == code, ended
    assert len(ended.said) == 1, ended
    line = ended.said[0]
    assert line.startswith("syncdaemon: ")
    assert PASSWORD not in ended.err + ended.out
    return line.removeprefix("syncdaemon: ")


def run_script(script: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Runs the script in one bash that ends at the first command that fails; fails with all that it printed."""
    with subprocess.Popen(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        output, _ = shell.communicate()
    assert shell.returncode == 0, output
