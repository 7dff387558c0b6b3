"""A command imports what it uses: what only looks starts in a fraction of the daemon's time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.ports import own_port

HEAVY = {
    "aiohttp",
    "nats",
    "prometheus_client",
    "pydantic",
    "pydantic_settings",
    "structlog",
    "watchfiles",
    "zstandard",
}
STEER = ("pause", "resume", "limit", "rescan", "reload")
HELP = ("run", "dev", "drain", "receive", "status", "doctor", "verify", "put", "config", *STEER)
PROGRAM = Path(sys.executable).with_name("syncdaemon")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a replay directory, a refused file and a file to put."""
    quarantine = tmp_path / "replay" / ".syncdaemon" / "quarantine"
    quarantine.mkdir(parents=True)
    (quarantine / "refused.bin").write_bytes(b"evidence")
    (tmp_path / "evidence.bin").write_bytes(b"evidence")
    return tmp_path


def imported(site: Path, *arguments: str, code: int = 0, extra: Mapping[str, str] = {}) -> set[str]:
    """The packages that a command imports."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SYNC_", "NATS_"))},
        "SYNC_REPLAY_DIR": str(site / "replay"),
        "SYNC_HTTP_ADDR": f"127.0.0.1:{own_port()}",
        **extra,
    }
    command = [sys.executable, "-X", "importtime", str(PROGRAM), *arguments]
    done = subprocess.run(command, cwd=site, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("command", ["", *HELP, "quarantine", "quarantine list", "quarantine requeue"])
def test_help_needs_neither_the_daemon_nor_tables(site: Path, command: str) -> None:
    assert imported(site, *command.split(), "--help") & {*HEAVY, "asyncio", "rich"} == set()


@pytest.mark.parametrize("command", ["config --json", "quarantine list --json"])
def test_what_looks_needs_none_of_what_delivers(site: Path, command: str) -> None:
    assert imported(site, *command.split()) & {*HEAVY, "asyncio", "rich"} == set()


@pytest.mark.parametrize("command", ["config", "quarantine list"])
def test_tables_need_rich_alone(site: Path, command: str) -> None:
    found = imported(site, *command.split())
    assert found & HEAVY == set()
    assert "rich" in found


def test_status_needs_none_of_what_delivers(site: Path) -> None:
    assert imported(site, "status", code=3) & {*HEAVY, "asyncio", "rich"} == set()
    assert imported(site, "status", "--sync-http-addr", "nowhere", code=2) & {*HEAVY, "asyncio", "rich"} == set()


def test_put_needs_what_it_copies_with(site: Path) -> None:
    """And nothing else; a file that is not there is wrong usage, as soon as that can be said."""
    found = imported(site, "put", "evidence.bin")
    assert found & {*HEAVY, "rich"} == set()
    assert found & {"aiofiles", "asyncio"} == set()
    assert imported(site, "put", "nowhere.bin", code=2) & {*HEAVY, "rich"} == set()


@pytest.mark.parametrize(
    ("line", "proposed"),
    [
        ("syncdaemon qu", ["quarantine"]),
        ("syncdaemon quarantine re", ["requeue"]),
        ("syncdaemon status --js", ["--json"]),
        ("syncdaemon verify --sync-led", ["--sync-ledger-dir"]),
    ],
)
def test_a_shell_completes_commands_and_options(site: Path, line: str, proposed: list[str]) -> None:
    """With none of what delivers."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_SYNCDAEMON_COMPLETE": "complete_bash"}
    assert imported(site, extra=words) & {*HEAVY, "asyncio", "rich"} == set()
    done = subprocess.run([PROGRAM], env=os.environ | words, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == proposed


def test_completion_is_shown_for_the_users_shell(site: Path) -> None:
    """As typer has it: its own option."""
    assert "--show-completion" in subprocess.run([PROGRAM, "--help"], capture_output=True, text=True).stdout
