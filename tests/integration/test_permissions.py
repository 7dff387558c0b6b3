"""What `syncdaemon permissions` prints is what a nats-server reads, and what it refuses to print."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from syncdaemon.dev.server import find_binary
from tests.support.shell import Shell, one_line

pytestmark = pytest.mark.integration

SITES = "a\nb\nc leaf\nd leaf\n"
PARTIES = ("worker", "auditor", "site-a", "site-b", "site-c", "site-d")


@pytest.fixture
def folder(shell: Shell) -> Path:
    """With what the printed configuration includes: who logs in, and where the messages lie."""
    shell.folder.joinpath("sites").write_text(SITES)
    users = shell.folder / "users"
    users.mkdir()
    for party in PARTIES:
        (users / f"{party}.conf").write_text(f'users: [{{user: "{party}", password: "{party}"}}]\n')
    (users / "hub-password.conf").write_text('HUB_PASSWORD: "x"\n')
    (shell.folder / "jetstream.conf").write_text(f'store_dir: "{shell.folder}/store"\nmax_file_store: 10GB\n')
    (shell.folder / "hub.conf").write_text('url: "nats-leaf://127.0.0.1:7422"\n')
    (shell.folder / "secrets").mkdir(mode=0o700)
    return shell.folder


@pytest.mark.parametrize(
    ("words", "frame"),
    [
        ("--role hub --sites sites", 'include "printed.conf"'),
        ("--role hub --sites sites --jwt secrets", 'include "printed.conf"'),
        ("--role leaf --site c", 'include "printed.conf"'),
        ("--role site --site a", 'authorization { users: [{user: u, password: u, include "printed.conf"}] }'),
        ("--role worker --sites sites", 'authorization { users: [{user: u, password: u, include "printed.conf"}] }'),
        ("--role auditor --sites sites", 'authorization { users: [{user: u, password: u, include "printed.conf"}] }'),
    ],
)
def test_a_server_reads_what_is_printed(shell: Shell, folder: Path, words: str, frame: str) -> None:
    printed = shell("permissions", *words.split(), SYNC_STREAM_CREATE="false")
    assert printed.code == 0, printed
    assert printed.out
    (folder / "printed.conf").write_text(printed.out)
    (folder / "server.conf").write_text(frame.replace(", include", "\n  include").replace("}]", "\n}]") + "\n")
    tried = subprocess.run([find_binary(), "-t", "-c", folder / "server.conf"], capture_output=True, text=True)
    assert tried.returncode == 0, tried.stderr


def test_a_site_that_may_make_streams_that_others_use_gets_no_rights(shell: Shell) -> None:
    """By a stream with sources it could read what all others stored."""
    line = one_line(shell("permissions", "--role", "site", "--site", "a", SYNC_STREAM_CREATE="true"), 2)
    assert line.startswith("SYNC_STREAM_CREATE: a site that may create streams can read those of all others")


@pytest.mark.parametrize("role", ["site --site a", "hub --sites sites"])
def test_a_bucket_that_all_sites_share_gets_no_rights(shell: Shell, folder: Path, role: str) -> None:
    """Each of them could write into it, and empty it."""
    given = {"SYNC_BUCKET": "edge_replay", "SYNC_STREAM_CREATE": "false"}
    line = one_line(shell("permissions", "--role", *role.split(), **given), 2)
    assert "a bucket belongs to one site" in line
