"""`syncdaemon put`, by root and by a producer beside a daemon of another user, as it is deployed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import eventually
from tests.support.jetstream import messages
from tests.support.shell import Shell
from tests.support.users import DAEMON, PRODUCER, MakeSite, Site, as_user, python

pytestmark = pytest.mark.integration

WEEK = 7 * 86_400
ROOT: list[str] = []


@pytest.fixture
def site(nats_server: NatsServer, make_site: MakeSite) -> Site:
    """A daemon that runs, and a folder `from` of files that everybody may read."""
    made = make_site(nats_server.url, SYNC_SETTLE_IN_PLACE_SECONDS="1")
    (made.replay.parent / "from").mkdir()
    made.daemon.start()
    return made


def put(
    site: Site, who: list[str], *arguments: str, umask: int = 0o077, data: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Runs the command in the folder `from`."""
    command = [*who, python(), "-m", "syncdaemon", "put", *arguments]
    folder = site.replay.parent / "from"
    return subprocess.run(
        command, env=site.daemon.env, cwd=folder, umask=umask, input=data, capture_output=True, timeout=60
    )


def source(site: Site, name: str, data: bytes, age: float = 0) -> Path:
    """A file to put."""
    path = site.replay.parent / "from" / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(data)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def arrives(site: Site, *paths: str) -> list[dict[str, object]]:
    """Waits until files of these paths, and no others, are delivered; their rows."""
    eventually(lambda: len(site.daemon.rows_so_far("published")) >= len(paths), 20, "all are delivered")
    eventually(lambda: not site.daemon.waiting(), 10, "nothing is left")
    assert site.daemon.rows("refused") == []
    rows = site.daemon.rows("published")
    assert sorted(str(row["path"]) for row in rows) == sorted(paths)
    return rows


@pytest.mark.parametrize("who", [ROOT, as_user(PRODUCER)], ids=["root", "producer"])
def test_what_is_put_with_a_close_umask_is_delivered(site: Site, who: list[str]) -> None:
    """The umask 077 lets nobody else read what one makes. The daemon can read it, and strangers can't."""
    source(site, "f", b"evidence")
    ended = put(site, who, "f", "--name", "new/folder/f")
    assert (ended.returncode, ended.stderr) == (0, b"")
    arrives(site, "new/folder/f")


def test_what_a_producer_puts_into_an_open_directory_is_not_given_to_everybody(site: Site) -> None:
    """Where the daemon could not read it otherwise, put says so and leaves nothing."""
    source(site, "f", b"secret")
    site.replay.chmod(0o1777)
    os.chown(site.replay, DAEMON, 0)
    ended = put(site, as_user(PRODUCER), "f")
    assert ended.returncode == 1
    assert f"the daemon, user {DAEMON}, could not read it with the mode 0600".encode() in ended.stderr
    assert site.daemon.waiting() == []
    assert put(site, as_user(PRODUCER), "f", umask=0o022).returncode == 0
    arrives(site, "f")


def test_root_gives_nothing_to_whoever_made_the_daemons_folder(nats_server: NatsServer, make_site: MakeSite) -> None:
    """Before the daemon has ever run, a producer can make `.syncdaemon`. That makes it no daemon."""
    site = make_site(nats_server.url)
    source(site, "f", b"secret")
    site.replay.chmod(0o777)
    site.produced("os.mkdir('.syncdaemon')")
    assert put(site, ROOT, "f").returncode == 1
    assert [path.name for path in site.replay.iterdir()] == [".syncdaemon"]


@pytest.mark.parametrize("who", [ROOT, as_user(PRODUCER)], ids=["root", "producer"])
def test_a_file_keeps_its_time_and_is_not_late(site: Site, nats_server: NatsServer, who: list[str]) -> None:
    """Last week's file: its mtime is in the header and the ledger, and its latency counts from now."""
    path = source(site, "f", b"evidence", WEEK)
    assert put(site, who, "f").returncode == 0
    (row,) = arrives(site, "f")
    wanted = path.stat().st_mtime_ns
    assert row["mtime_ns"] == wanted
    (message,) = asyncio.run(messages(nats_server.url, "swarm_jobs"))
    assert (message.headers or {})["Edge-Mtime-Ns"] == str(wanted)
    found = site.daemon.metrics()
    assert found["syncdaemon_delivery_latency_seconds_count"] == 1
    assert found["syncdaemon_delivery_latency_seconds_sum"] < 60


@pytest.mark.parametrize("who", [ROOT, as_user(PRODUCER)], ids=["root", "producer"])
def test_a_folder_goes_with_all_below(site: Site, who: list[str]) -> None:
    """In folders of the same names, out of which the daemon can move files. What is never taken is said."""
    for name in ("run/a", "run/deep/er/b", "run/.hidden", "run/c.part", "run/.git/config"):
        source(site, name, name.encode())
    (site.replay.parent / "from/run/link").symlink_to("/etc/passwd")
    (site.replay.parent / "from/run/links").symlink_to("/etc")
    ended = put(site, who, "run")
    assert ended.returncode == 0
    left_out = ("run/.hidden", "run/c.part", "run/.git", "run/link", "run/links")
    assert sorted(line.split()[1] for line in ended.stderr.decode().splitlines()) == sorted(left_out)
    assert len(ended.stdout.splitlines()) == 2
    arrives(site, "run/a", "run/deep/er/b")


def test_one_file_that_fails_keeps_no_other_from_it(site: Site) -> None:
    """Exit 1, and each is said: one is missing, one has a name that is never taken, one is not for this user."""
    for name in ("a", "b.part", "c", "closed"):
        source(site, name, name.encode())
    (site.replay.parent / "from/closed").chmod(0o600)
    ended = put(site, as_user(PRODUCER), "a", "missing", "b.part", "closed", "c")
    assert ended.returncode == 1
    said = ended.stderr.decode()
    assert all(word in said for word in ("missing", "b.part", "closed")), said
    assert len(said.splitlines()) == 3
    arrives(site, "a", "c")


def test_standard_input_needs_a_name(site: Site) -> None:
    """And then it is a file like any other."""
    assert put(site, as_user(PRODUCER), "-", data=b"piped").returncode == 2
    assert put(site, as_user(PRODUCER), "-", "--name", "a/piped", data=b"piped").returncode == 0
    arrives(site, "a/piped")


@pytest.mark.parametrize("name", ["../f", "/f", "a//f", ".f", "a/.b/f", "f.part", "a/", "x" * 256])
def test_a_name_that_leads_nowhere_is_refused(shell: Shell, name: str) -> None:
    """Out of the directory, or to where nothing is taken."""
    (shell.folder / "f").write_text("one")
    ended = shell("put", "f", "--name", name)
    assert (ended.code, len(ended.said)) == (1, 1)
    assert list(shell.replay.rglob("*")) == []


def test_a_name_goes_with_one_file(shell: Shell) -> None:
    (shell.folder / "f").write_text("one")
    assert shell("put", "f", "f", "--name", "g").code == 2


def test_an_empty_folder_is_said(shell: Shell) -> None:
    """Else the user believes that something is delivered."""
    (shell.folder / "empty").mkdir()
    ended = shell("put", "empty")
    assert ended.code == 1
    assert "no file in it" in ended.err


def test_ctrl_c_ends_a_pipe_that_brings_nothing(site: Site) -> None:
    """At once, and nothing is left."""
    command = [python(), "-m", "syncdaemon", "put", "-", "--name", "f"]
    running = subprocess.Popen(command, env=site.daemon.env, cwd=site.replay.parent, stdin=subprocess.PIPE)
    eventually(lambda: len(site.daemon.waiting()) == 1, 10, "it has begun")
    running.send_signal(signal.SIGINT)
    assert running.wait(5) == 130
    assert site.daemon.waiting() == []
    assert running.stdin is not None
    running.stdin.close()


def test_what_lies_too_deep_is_said_and_all_else_goes(shell: Shell) -> None:
    """A folder is deeper than any path can name: one line for what can't be read, and the file beside it is put."""
    (shell.folder / "deep").mkdir()
    (shell.folder / "deep/beside").write_bytes(b"beside")
    make_deep = f"cd deep; for n in $(seq 30); do mkdir {'d' * 200} && cd {'d' * 200}; done; echo deep >file"
    subprocess.run(["bash", "-c", make_deep], cwd=shell.folder, check=True)
    done = shell("put", "deep")
    assert done.code == 1
    assert (shell.replay / "deep/beside").read_bytes() == b"beside"
    (said,) = done.said
    assert said.endswith(": File name too long")


@pytest.mark.parametrize(
    ("name", "why"),
    [("", "does not exist"), ("n" * 5_000, "File name too long"), ("closed/file", "Permission denied")],
    ids=["empty", "too-long", "behind-a-closed-folder"],
)
def test_what_is_no_file_is_said_in_a_line(site: Site, name: str, why: str) -> None:
    """An empty name, as of a variable that is not set, is not the folder that the shell is in."""
    closed = site.replay.parent / "from" / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").write_bytes(b"")
    done = put(site, as_user(PRODUCER), name)
    assert done.returncode == 2
    assert why in done.stderr.decode()
    assert b"Traceback" not in done.stderr
