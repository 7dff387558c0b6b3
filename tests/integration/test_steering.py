"""Steering a running daemon: pause, resume, limit, rescan and reload, by commands and by SIGHUP."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.local_door import call
from tests.support.shell import Shell
from tests.support.users import PRODUCER, MakeSite

pytestmark = pytest.mark.integration


@pytest.fixture
def daemon(nats_server: NatsServer, make_daemon: MakeDaemon, shell: Shell) -> DaemonProcess:
    """A running daemon on the shell's folders, with its settings in a file."""
    (shell.folder / "settings.env").write_text("SYNC_BWLIMIT=off\n")
    made = make_daemon(nats_server.url, str(shell.folder))
    made.command = [*made.command, "--env-file", str(shell.folder / "settings.env")]
    made.start()
    return made


def status(daemon: DaemonProcess) -> dict[str, object]:
    found: dict[str, object] = json.loads(daemon.get("/status"))
    return found


def delivered(daemon: DaemonProcess) -> int:
    return len(daemon.rows_so_far("published"))


def test_a_pause_keeps_every_file_until_it_is_over(daemon: DaemonProcess, shell: Shell) -> None:
    """Metric, status and ledger tell who did it."""
    assert shell("pause").code == 0
    assert daemon.metric("syncdaemon_paused") == 1
    daemon.drop("a", b"evidence")
    eventually(lambda: daemon.metric("replay_queue_depth") == 1, what="it is counted")
    time.sleep(1)
    assert delivered(daemon) == 0
    found = status(daemon)
    assert found["paused"] == "an operator has paused all files"
    assert found["steered"] == {"pause": {"value": "all", "until": "", "uid": os.getuid()}}
    assert shell("resume").code == 0
    eventually(lambda: delivered(daemon) == 1, what="it goes")
    assert (daemon.metric("syncdaemon_paused"), status(daemon)["steered"]) == (0, {})
    assert [(row["call"], row["value"], row["uid"]) for row in daemon.rows("control")] == [
        ("pause", "all", os.getuid()),
        ("resume", "", os.getuid()),
    ]


@pytest.mark.lengthy
def test_a_pause_for_a_time_ends_by_itself(daemon: DaemonProcess, shell: Shell) -> None:
    assert shell("pause", "--for", "2s").code == 0
    daemon.drop("a", b"evidence")
    began = time.monotonic()
    eventually(lambda: delivered(daemon) == 1, what="it goes")
    assert time.monotonic() - began > 1
    assert status(daemon)["steered"] == {}


@pytest.mark.lengthy
def test_a_pause_of_large_files_lets_small_ones_pass_and_stops_an_upload(daemon: DaemonProcess, shell: Shell) -> None:
    """In the middle; it resumes behind the chunks that are stored."""
    assert shell("limit", "2M").code == 0
    daemon.drop("large", os.urandom(20 << 20))
    eventually(lambda: status(daemon)["upload"], what="the upload has begun")
    assert shell("pause", "--large").code == 0
    eventually(lambda: status(daemon)["upload"] is None, 10, "it has stopped")
    daemon.drop("small", b"evidence")
    eventually(lambda: delivered(daemon) == 1, what="the small one passes")
    assert status(daemon)["paused"] == "an operator has paused large files"
    assert shell("limit", "off").code == 0
    time.sleep(1)
    assert delivered(daemon) == 1
    assert shell("resume").code == 0
    eventually(lambda: delivered(daemon) == 2, 30, "the large one follows")


def test_a_limit_holds_and_goes_back_to_the_timetable(daemon: DaemonProcess, shell: Shell) -> None:
    assert shell("limit", "64k", "--for", "1h").code == 0
    assert daemon.metric("syncdaemon_bwlimit_bytes_per_second") == 65_536
    assert shell("limit", "timetable").code == 0
    assert daemon.metric("syncdaemon_bwlimit_bytes_per_second") == float("inf")
    assert shell("limit", "nonsense").code == 1
    assert shell("limit", "64k", "--for", "soon").code == 2


@pytest.mark.lengthy
def test_a_rescan_finds_what_no_event_told(daemon: DaemonProcess, shell: Shell) -> None:
    assert shell("rescan").code == 0
    assert [row["call"] for row in daemon.rows("control")] == ["rescan"]


@pytest.mark.parametrize("by", ["command", pytest.param("signal", marks=pytest.mark.lengthy)])
def test_a_reload_changes_what_can_be_changed_and_names_the_rest(daemon: DaemonProcess, shell: Shell, by: str) -> None:
    settings = Path(shell.folder / "settings.env")
    settings.write_text("SYNC_BWLIMIT=1M\nSYNC_LOG_LEVEL=debug\nSYNC_HOLD_SECONDS=7\n")
    if by == "command":
        said = shell("reload").out
        assert "changed: SYNC_BWLIMIT, SYNC_LOG_LEVEL" in said
        assert "only after a restart: SYNC_HOLD_SECONDS" in said
    else:
        daemon.process.send_signal(signal.SIGHUP)
        (line,) = daemon.logged("reloaded", at_least=1)
        assert line["for_a_restart"] == ["SYNC_HOLD_SECONDS"]
    assert daemon.metric("syncdaemon_bwlimit_bytes_per_second") == 1 << 20
    assert daemon.metric("edge_link_status") == 1
    eventually(lambda: [row["call"] for row in daemon.rows("control")] == ["reload"], what="the ledger tells it")
    settings.write_text("SYNC_BWLIMIT=fast\n")
    ended = shell("reload", "--sync-bwlimit", "off", "--env-file", "/dev/null")
    assert (ended.code, "nothing is changed: SYNC_BWLIMIT" in ended.err) == (1, True)
    assert daemon.metric("syncdaemon_bwlimit_bytes_per_second") == 1 << 20


@pytest.mark.lengthy
def test_a_renewed_login_is_used_at_once(
    make_daemon: MakeDaemon, nats_server: NatsServer, shell: Shell, tmp_path: Path
) -> None:
    """Another server in the file of the settings: the daemon goes there, without a restart."""
    settings = shell.folder / "settings.env"
    settings.write_text("NATS_URL=nats://127.0.0.1:1\n")
    daemon = make_daemon(nats_server.url, str(shell.folder))
    daemon.command = [*daemon.command, "--env-file", str(settings)]
    del daemon.env["NATS_URL"]
    daemon.start()
    assert daemon.metric("edge_link_status") == 0
    settings.write_text(f"NATS_URL={nats_server.url}\n")
    assert "changed: NATS_URL" in shell("reload", "--env-file", str(settings)).out
    eventually(lambda: daemon.metric("edge_link_status") == 1, 40, "it is connected")


def test_without_a_daemon_the_commands_say_so(shell: Shell) -> None:
    for command in (("pause",), ("resume",), ("limit", "off"), ("rescan",), ("reload",)):
        ended = shell(*command)
        assert (ended.code, len(ended.said)) == (3, 1), command


def test_named_users_may_steer_and_root_only_if_it_is_named(nats_server: NatsServer, make_site: MakeSite) -> None:
    site = make_site(nats_server.url, SYNC_STEER_UIDS=str(PRODUCER))
    site.daemon.start()
    steer = "from syncdaemon.client import Outbox; Outbox('.').order('rescan', {})"
    site.produced(steer)
    assert call(site.replay, "/v1/control/rescan", {}).status == 403  # the test is root
    assert call(site.replay, "/status").status == 200
    assert [row["uid"] for row in site.daemon.rows("control")] == [PRODUCER]
