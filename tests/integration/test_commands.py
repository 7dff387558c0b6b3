"""Every command as a user calls it: a process, what it prints, and its exit code."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from syncdaemon.dev.server import HOST, NatsServer
from syncdaemon.ledger import chain, end
from syncdaemon.settings.table import VARIABLES
from tests.support.client import connect
from tests.support.daemon import MakeDaemon, eventually
from tests.support.jetstream import ledger_rows, messages
from tests.support.ports import own_port
from tests.support.process import PROGRAM
from tests.support.server import MakeNatsServer, new_server
from tests.support.shell import PASSWORD, Shell, one_line

pytestmark = pytest.mark.integration

COMMANDS = ("run", "dev", "drain", "receive", "status", "doctor", "verify", "put", "config")


def read_only(path: Path) -> tuple[str, ...]:
    """A program that runs the rest of the line where `path` can't be written to, not even by root."""
    if os.geteuid() != 0:
        return ("sh", "-c", 'chmod a-w "$0" && "$@"; code=$?; chmod u+w "$0"; exit $code', str(path))
    probe = subprocess.run(["unshare", "-m", "true"], capture_output=True)
    if probe.returncode:
        pytest.skip("this root can't make a mount namespace (unshare -m), and modes do not hold it back")
    bind = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    return ("unshare", "-m", "sh", "-c", bind, str(path))


# Help and settings.


def test_help_lists_every_command(shell: Shell) -> None:
    """With what it is for; without a command the same is shown."""
    ended = shell("--help")
    assert ended.code == 0
    assert all(re.search(rf"^\W*{command} +\w", ended.out, re.MULTILINE) for command in (*COMMANDS, "quarantine"))
    assert re.match(r"syncdaemon \d+\.\d+", shell("--version").out)


@pytest.mark.parametrize("command", [[], ["quarantine"], ["quarantine", "requeue"]], ids=str)
def test_help_that_nobody_asked_for_goes_to_standard_output_too(shell: Shell, command: list[str]) -> None:
    """So that a pager sees it. The exit code says that something is missing."""
    ended = shell(*command)
    assert (ended.code, ended.err) == (2, "")
    assert ended.out == shell(*command, "--help").out


@pytest.mark.parametrize("command", [*COMMANDS, "quarantine list", "quarantine requeue"])
def test_help_of_a_command_names_every_setting_as_a_flag(shell: Shell, command: str) -> None:
    """With no server, no folder and no error."""
    ended = shell(*command.split(), "--help")
    assert ended.code == 0
    assert ended.err == ""
    flags = set(re.findall(r"--[a-z-]+", ended.out))
    assert {f"--{variable.lower().replace('_', '-')}" for variable in VARIABLES} <= flags


@pytest.mark.parametrize("after", [False, True], ids=["before the command", "after it"])
@pytest.mark.parametrize("command", ["config --json", "quarantine list"])
def test_the_file_of_settings_can_be_named(shell: Shell, command: str, after: bool) -> None:
    """Before the command, as a wrapper names it, and after it. A `.env` is not read then."""
    (shell.folder / "site.env").write_text("SYNC_ORDER=newest\nSYNC_REPLAY_DIR=/nowhere\n")
    (shell.folder / ".env").write_text("SYNC_ARTER=1\n")
    named = ["--env-file", "site.env"]
    del shell.env["SYNC_REPLAY_DIR"]
    ended = shell(*command.split(), *named) if after else shell(*named, *command.split())
    if command == "quarantine list":
        assert "/nowhere" in ended.err + ended.out
        return
    shown = json.loads(ended.out)
    assert shown["SYNC_ORDER"] == {"value": "newest", "source": "site.env"}
    assert shown["SITE"]["source"] == "environment"


def test_the_file_that_is_named_last_is_read(shell: Shell) -> None:
    """So a user can name another one than the wrapper of a package does."""
    (shell.folder / "other.env").write_text("SYNC_ORDER=newest\n")
    wrapper = ["--env-file", "missing.env"]
    for ended in (
        shell(*wrapper, "config", "--json", "--env-file", "other.env"),
        shell(*wrapper, "--env-file", "other.env", "config", "--json"),
    ):
        assert json.loads(ended.out)["SYNC_ORDER"]["source"] == "other.env"


@pytest.mark.parametrize("name", ["missing.env", "", "."])
def test_a_named_file_that_can_not_be_read_is_said(shell: Shell, name: str) -> None:
    """Unlike a `.env`, it must be there."""
    ended = shell("config", "--env-file", name)
    assert "can't be read" in one_line(ended, 2)


def test_config_shows_where_each_value_is_from_and_masks_secrets(shell: Shell) -> None:
    """Flag, environment, .env and default; neither a password nor a token is ever printed."""
    (shell.folder / ".env").write_text("SYNC_ORDER=newest\nSYNC_SETTLE_SECONDS=9\n")
    urls = f"nats://edge:{PASSWORD}@one:4222,tls://{PASSWORD}@two"
    ended = shell("config", "--sync-settle-seconds", "2", NATS_URL=urls)
    assert ended.code == 0
    assert PASSWORD not in ended.out + ended.err
    rows = {line.split()[0]: line.split() for line in ended.out.splitlines() if line.strip()}
    assert set(VARIABLES) <= set(rows)
    assert rows["SYNC_SETTLE_SECONDS"][1:3] == ["2", "flag"]
    assert rows["SITE"][1:3] == ["test-site", "environment"]
    assert rows["SYNC_ORDER"][1:3] == ["newest", ".env"]
    assert rows["SYNC_AFTER"][1:3] == ["delete", "default"]
    assert rows["NATS_URL"][1] == "nats://edge:********@one:4222,tls://********@two:4222"


def test_config_as_json_has_the_same(shell: Shell) -> None:
    """For programs: value and source of every setting."""
    secrets = {"NATS_USER": "edge", "NATS_PASSWORD": PASSWORD, "SYNC_HOLD_SECONDS": "5"}
    ended = shell("config", "--json", "--sync-order", "newest", **secrets)
    assert ended.code == 0
    assert PASSWORD not in ended.out + ended.err
    found = json.loads(ended.out)
    assert set(found) == set(VARIABLES)
    assert found["NATS_PASSWORD"] == {"value": "********", "source": "environment"}
    assert found["NATS_USER"] == {"value": "edge", "source": "environment"}
    assert found["NATS_TOKEN"] == {"value": "", "source": "default"}
    assert found["SYNC_ORDER"] == {"value": "newest", "source": "flag"}
    assert found["SYNC_HOLD_SECONDS"]["value"] == "5"


# put


def test_put_copies_files_into_the_replay_directory(shell: Shell) -> None:
    """It prints where they are now; the originals stay, and nothing half done is left."""
    for name, text in (("a.txt", "one"), ("b with blank.txt", "two")):
        (shell.folder / name).write_text(text)
    ended = shell("put", "a.txt", "b with blank.txt")
    assert ended.code == 0
    assert ended.out.splitlines() == [str(shell.replay / "a.txt"), str(shell.replay / "b with blank.txt")]
    assert (shell.replay / "a.txt").read_text() == "one"
    assert (shell.folder / "a.txt").read_text() == "one"
    assert sorted(path.name for path in shell.replay.iterdir()) == ["a.txt", "b with blank.txt"]


def test_put_never_replaces_a_file_that_still_waits(shell: Shell) -> None:
    """Exit 1, and the waiting one is as it was."""
    (shell.folder / "a.txt").write_text("new")
    (shell.replay / "a.txt").write_text("old")
    assert "a file of this name still waits there" in one_line(shell("put", "a.txt"), 1)
    assert (shell.replay / "a.txt").read_text() == "old"
    assert [path.name for path in shell.replay.iterdir()] == ["a.txt"]


def test_put_of_a_missing_file_is_wrong_usage(shell: Shell) -> None:
    """Exit 2, and the name is said."""
    ended = shell("put", "nowhere.txt")
    assert ended.code == 2
    assert "nowhere.txt" in ended.err
    assert shell.files() == []


def test_put_into_a_replay_directory_that_is_no_directory_is_said_in_one_line(shell: Shell) -> None:
    """Missing, a file, or read-only."""
    (shell.folder / "a.txt").write_text("one")
    (shell.folder / "file").write_text("")
    for place in ("nowhere", "file"):
        assert place in one_line(shell("put", "a.txt", "--sync-replay-dir", place), 1)
    assert str(shell.replay) in one_line(shell.under(read_only(shell.replay), "put", "a.txt"), 1)


def test_put_refuses_a_name_that_is_never_taken(shell: Shell) -> None:
    """Else it would lie there for ever, and the user believes it is delivered."""
    for name in (".hidden", "a.part"):
        (shell.folder / name).write_text("one")
        assert name in one_line(shell("put", name), 1)
    assert list(shell.replay.iterdir()) == []


# drain


def fill(shell: Shell, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        (shell.replay / f"f{number}.txt").write_text(f"file {number}")


async def test_drain_delivers_what_is_there_and_ends(shell: Shell, nats_server: NatsServer) -> None:
    """Exit 0 with a summary; a second one finds nothing."""
    fill(shell, 30)
    (shell.replay / "sub").mkdir()
    (shell.replay / "sub" / "deep.txt").write_text("deep")
    ended = shell("drain", NATS_URL=nats_server.url)
    assert ended.code == 0, ended
    assert len(ended.said) == 1
    assert re.fullmatch(r"31 files delivered \(\d+ bytes\) in \d+\.\d s", ended.said[0])
    assert ended.out == ""
    assert shell.files() == []
    assert len(await messages(nats_server.url, "swarm_jobs")) == 31
    events = [row["event"] for row in ledger_rows(shell.ledger)]
    assert events.count("published") == 31
    assert (events[0], events[-1]) == ("open", "close")

    ended = shell("drain", NATS_URL=nats_server.url)
    assert ended.code == 0
    assert ended.said[0].startswith("0 files delivered (0 bytes)")


@pytest.mark.parametrize("attempt", [1, 2])
def test_drain_of_an_empty_directory_ends_at_once(shell: Shell, nats_server: NatsServer, attempt: int) -> None:
    """The link is then just connecting, and is given up in the middle of that; so more than one try is worth it."""
    ended = shell("drain", NATS_URL=nats_server.url)
    assert ended.code == 0
    assert ended.said[0].startswith("0 files delivered (0 bytes)")


def test_the_last_row_tells_how_many_rows_a_process_wrote(shell: Shell, nats_server: NatsServer) -> None:
    """From its `open` row to its `close` row, both counted."""
    for start in (0, 5):
        fill(shell, 5, start)
        assert shell("drain", NATS_URL=nats_server.url).code == 0
        rows = ledger_rows(shell.ledger)
        first = max(at for at, row in enumerate(rows) if row["event"] == "open")
        assert rows[-1]["rows"] == len(rows) - first


def test_drain_of_a_file_whose_name_no_message_can_carry_exits_1(
    shell: Shell, make_nats_server: MakeNatsServer
) -> None:
    """The file is in quarantine with its reason and a `refused` row; the others are delivered."""
    server = make_nats_server(config="max_payload: 4096")
    server.start()
    fill(shell, 3)
    folder = shell.replay.joinpath(*["ä" * 100] * 8)  # percent-encoded, that is longer
    folder.mkdir(parents=True)
    (folder / "named.bin").write_bytes(b"x" * 20_000)
    ended = shell("drain", NATS_URL=server.url)
    assert ended.code == 1, ended
    assert ended.said[0].startswith("3 files delivered")
    assert "1 files refused" in ended.said[1]
    assert shell.files() == []

    quarantine = shell.replay / ".syncdaemon" / "quarantine"
    assert (quarantine / "named.bin").read_bytes() == b"x" * 20_000
    sidecar = json.loads((quarantine / "named.bin.reason.json").read_text())
    (refused,) = [row for row in ledger_rows(shell.ledger) if row["event"] == "refused"]
    for key in ("reason", "error", "path", "size", "sha256", "attempts"):
        assert sidecar[key] == refused[key]
    assert refused["reason"] == "too_large"
    assert "4096" in refused["error"]
    assert sidecar["first"] <= sidecar["last"] == sidecar["last"].strip()
    assert refused["path"] not in [row.get("path") for row in ledger_rows(shell.ledger) if row["event"] == "published"]


def test_drain_without_a_server_gives_up_in_time(shell: Shell) -> None:
    """Exit 3, one line that names NATS_URL, and the files stay."""
    fill(shell, 3)
    line = one_line(shell("drain", "--timeout", "1"), 3)
    assert line.startswith(f"NATS_URL: no connection: {shell.env['NATS_URL']}: ")
    assert len(shell.files()) == 3


def test_drain_into_a_full_stream_says_why_and_keeps_the_files(shell: Shell, nats_server: NatsServer) -> None:
    """Exit 1 at the timeout; there is no other way out while the stream takes nothing."""
    for number in range(3):
        (shell.replay / f"f{number}.bin").write_bytes(b"%d" % number * 5_000)
    ended = shell("drain", "--timeout", "2", NATS_URL=nats_server.url, SYNC_STREAM_MAX_BYTES="2k")
    line = one_line(ended, 1)
    assert "3 files left" in line
    assert "maximum bytes exceeded" in line
    assert len(shell.files()) == 3
    assert not (shell.replay / ".syncdaemon" / "quarantine" / "f0.bin").exists()


def test_drain_with_refused_credentials_says_so(shell: Shell, make_nats_server: MakeNatsServer) -> None:
    """Exit 3, one line without the password."""
    server = make_nats_server(config="authorization { user: edge, password: another }")
    server.start()
    fill(shell, 1)
    ended = shell("drain", "--timeout", "1", NATS_URL=server.url, NATS_USER="edge", NATS_PASSWORD=PASSWORD)
    line = one_line(ended, 3)
    assert line.startswith("NATS_URL: no connection")
    assert "the server refused the credentials" in line


# status


def test_status_and_metrics_of_a_running_daemon_agree(
    shell: Shell, nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """As a table for people, and as JSON for programs."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    for number in range(5):
        daemon.drop(f"f{number}.txt", b"%d" % (number // 2) * 100)
    eventually(lambda: len(daemon.rows_so_far("published", "duplicate")) == 5, what="five files are delivered")
    eventually(lambda: daemon.metric("syncdaemon_held_files") == 5, what="they are held")

    address = f"{HOST}:{daemon.port}"
    ended = shell("status", "--json", SYNC_HTTP_ADDR=address)
    assert ended.code == 0
    assert ended.err == ""
    found, metrics = json.loads(ended.out), daemon.metrics()
    assert found["published_files"] == metrics["syncdaemon_published_files_total"] == 3
    assert found["published_bytes"] == metrics["syncdaemon_published_bytes_total"] == 300
    assert found["duplicates"] == metrics["syncdaemon_duplicates_total"] == 2
    assert found["queue_depth"] == metrics["replay_queue_depth"] == 0
    assert found["held_files"] == metrics["syncdaemon_held_files"] == 5
    assert found["quarantined_files"] == metrics["syncdaemon_quarantined_files"] == 0
    assert found["in_doubt_files"] == metrics["syncdaemon_in_doubt_files"] == 0
    assert found["link"]["up"] == (metrics["edge_link_status"] == 1)
    assert found["link"]["reconnects"] == metrics["syncdaemon_link_reconnects_total"] == 0
    assert found["ledger_rows"] == metrics["syncdaemon_ledger_rows_total"] == len(ledger_rows(daemon.ledger))
    assert found["site"] == "test-site"
    assert found["last_receipt"]["stream"] == "swarm_jobs"

    table = shell("status", SYNC_HTTP_ADDR=f"0.0.0.0:{daemon.port}")
    assert table.code == 0
    text = " ".join(table.out.split())
    for shown in ("published files 3", "duplicates 2", f"url={nats_server.url}"):
        assert shown in text


def test_status_without_a_daemon_exits_3(shell: Shell) -> None:
    """One line that says where it asked."""
    line = one_line(shell("status"), 3)
    assert line.startswith("SYNC_HTTP_ADDR: no daemon answers at http://")


def test_status_tells_by_its_exit_code_that_the_link_is_down(
    shell: Shell, nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """1, for people and for programs; how many bytes wait, and how long that takes, in bytes and seconds."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    address = f"{HOST}:{daemon.port}"
    eventually(lambda: shell("status", SYNC_HTTP_ADDR=address).code == 0, what="the link is up")
    nats_server.stop()
    eventually(lambda: daemon.metric("edge_link_status") == 0, what="the link is down")
    for number in range(4):
        daemon.drop(f"f{number}", bytes(1_000 * number))
    eventually(lambda: daemon.metric("replay_queue_depth") == 4, what="the files wait")

    assert shell("status", SYNC_HTTP_ADDR=address).code == 1
    ended = shell("status", "--json", SYNC_HTTP_ADDR=address)
    found = json.loads(ended.out)
    assert ended.code == 1
    assert (found["waiting_bytes"], found["time_left_seconds"]) == (6_000, "unknown")
    assert not [name for name in found if name.endswith("bps")]
    nats_server.start()
    eventually(lambda: shell("status", SYNC_HTTP_ADDR=address).code == 0, what="the link is up again")
    eventually(lambda: not daemon.waiting(), what="all is delivered")
    ended = shell("status", "--json", SYNC_HTTP_ADDR=address)
    assert (json.loads(ended.out)["waiting_bytes"], json.loads(ended.out)["time_left_seconds"]) == (0, 0)


def test_status_says_that_a_drain_is_at_work(shell: Shell, nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """It has no web side, but it has the directory."""
    drain = make_daemon(f"nats://{HOST}:{own_port()}", str(shell.folder))
    drain.command[drain.command.index("run")] = "drain"
    (shell.replay / "waits").write_bytes(b"evidence")
    with subprocess.Popen(drain.command, env=drain.env, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: "a `drain`, or a daemon" in shell("status").err, what="status says so")
            assert shell("status").code == 3
        finally:
            process.kill()
    assert "a `drain`" not in one_line(shell("status"), 3)


# verify


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger folder that two processes have written to, on what looks like two days."""
    folder = tmp_path_factory.mktemp("delivered")
    shell = Shell(folder)
    with new_server(folder / "server") as server:
        fill(shell, 20)
        assert shell("drain", NATS_URL=server.url).code == 0
        (first,) = shell.ledger.glob("evidence-*.jsonl")
        first.rename(first.with_name("evidence-test-site-20200101.jsonl"))
        fill(shell, 20, 20)
        assert shell("drain", NATS_URL=server.url).code == 0
    files = ledger_files(shell.ledger)
    if len(files) == 1:  # the second process went on in the file that it found
        lines = files[0].read_bytes().splitlines(keepends=True)
        half = len(lines) // 2
        files[0].write_bytes(b"".join(lines[:half]))
        (shell.ledger / "evidence-test-site-20200102.jsonl").write_bytes(b"".join(lines[half:]))
    return shell.ledger


def ledger_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("evidence-*.jsonl"))


@pytest.fixture
def ledger(shell: Shell, delivered: Path) -> list[Path]:
    """The two files of that ledger, in the shell's own folder."""
    shutil.copytree(delivered, shell.ledger)
    files = ledger_files(shell.ledger)
    assert len(files) == 2
    return files


def test_verify_of_a_good_ledger(shell: Shell, ledger: list[Path]) -> None:
    """Exit 0, with the number of rows and files, the events and the last digest; a site need not be named."""
    rows = ledger_rows(shell.ledger)
    shell.env.pop("SITE")
    for arguments in ((), ("--site", "test-site")):
        ended = shell("verify", *arguments)
        assert ended.code == 0, ended
        assert ended.err == ""
        assert ended.out.startswith(f"test-site: ok, {len(rows)} rows in 2 files (")
        assert "40 published" in ended.out
        assert f"from {rows[0]['ts']} to {rows[-1]['ts']}" in ended.out


def test_verify_names_the_line_that_was_altered(shell: Shell, ledger: list[Path]) -> None:
    """In the middle of a file: exit 1, the file and that very line."""
    lines = ledger[0].read_bytes().splitlines(keepends=True)
    number = next(at for at, line in enumerate(lines, 1) if b'"path":"f7.txt"' in line)
    lines[number - 1] = lines[number - 1].replace(b'"path":"f7.txt"', b'"path":"f8.txt"')
    ledger[0].write_bytes(b"".join(lines))
    assert one_line(shell("verify"), 1).startswith(f"{ledger[0]} line {number}: ")


def test_verify_names_the_place_of_a_removed_row(shell: Shell, ledger: list[Path]) -> None:
    """The row that now stands there has another number."""
    lines = ledger[0].read_bytes().splitlines(keepends=True)
    del lines[9]
    ledger[0].write_bytes(b"".join(lines))
    assert one_line(shell("verify"), 1) == f"{ledger[0]} line 10: row number 11, expected 10"


@pytest.mark.parametrize("edit", ["not utf-8", "swapped", "blank"])
def test_verify_finds_any_other_damage(shell: Shell, ledger: list[Path], edit: str) -> None:
    """In the second file, at the line where it is."""
    lines = ledger[1].read_bytes().splitlines(keepends=True)
    match edit:
        case "swapped":
            lines[4], lines[5] = lines[5], lines[4]
        case "not utf-8":
            lines[4] = lines[4].replace(b'"event"', b'"e\xffent"')
        case "blank":
            lines.insert(4, b"\n")
    ledger[1].write_bytes(b"".join(lines))
    assert one_line(shell("verify"), 1).startswith(f"{ledger[1]} line 5: ")


def test_verify_finds_a_torn_last_line_and_the_next_start_repairs_it(
    shell: Shell, ledger: list[Path], nats_server: NatsServer
) -> None:
    """Exit 1 with the last line's number; a drain puts a `recovered` row there, and then all is well."""
    whole = ledger[1].read_bytes()
    torn = whole.splitlines()[-1][:50]
    ledger[1].write_bytes(whole + torn)
    line = one_line(shell("verify"), 1)
    assert line.startswith(f"{ledger[1]} line {len(whole.splitlines()) + 1}: the line is not finished")

    assert shell("drain", NATS_URL=nats_server.url).code == 0
    (recovered,) = [row for row in ledger_rows(shell.ledger) if row["event"] == "recovered"]
    assert recovered["bytes"] == 50
    assert shell("verify").code == 0


def test_verify_without_a_ledger_is_wrong_usage(shell: Shell) -> None:
    """Exit 2: neither in a missing folder, nor of another site."""
    assert one_line(shell("verify"), 2) == f"SYNC_LEDGER_DIR: there is no ledger in {shell.ledger}"
    shell.ledger.mkdir()
    (shell.ledger / "evidence-other-20261124.jsonl").write_text("")
    assert "there is no ledger" in one_line(shell("verify"), 2)


def test_verify_of_a_ledger_whose_start_was_moved_away(shell: Shell, ledger: list[Path]) -> None:
    """Damage, unless the user says that this was meant."""
    ledger[0].unlink()
    assert one_line(shell("verify"), 1).startswith(f"{ledger[1]} line 1: row number ")
    ended = shell("verify", "--allow-missing-start")
    assert ended.code == 0
    assert "in 1 files" in ended.out


def test_verify_reports_what_a_later_version_wrote_and_goes_on(
    shell: Shell, ledger: list[Path], nats_server: NatsServer
) -> None:
    """Exit 1, with file and line of the event that it does not know; a start passes over it."""
    line, _ = chain.seal(end(ledger[1]), "test-site", "2020-01-02T00:00:00.000000Z", "anchor", {"day": "20200101"})
    with ledger[1].open("ab") as file:
        file.write(line + b"\n")
    number = len(ledger[1].read_bytes().splitlines())
    assert shell("drain", NATS_URL=nats_server.url).code == 0

    ended = shell("verify")
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.startswith(f"test-site: not ok, {len(ledger_rows(shell.ledger))} rows in ")
    assert f"{ledger[1]} line {number}: unknown event 'anchor'; rows of it: 1\n" in ended.out


def test_verify_names_a_row_without_its_fields(shell: Shell, ledger: list[Path]) -> None:
    """Though the chain holds: exit 1 with one line, and the same at the next start."""
    line, _ = chain.seal(end(ledger[1]), "test-site", "2020-01-02T00:00:00.000000Z", "published", {"path": "a"})
    with ledger[1].open("ab") as file:
        file.write(line + b"\n")
    said = f"{ledger[1]} line {len(ledger[1].read_bytes().splitlines())}: the published row has no field 'size'"
    assert one_line(shell("verify"), 1) == said
    assert one_line(shell("drain"), 1) == said


def test_verify_of_a_ledger_that_a_daemon_is_writing(
    shell: Shell, nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """It reads beside the running daemon and disturbs nothing."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    daemon.drop("a.txt", b"one")
    eventually(lambda: daemon.rows("published"), what="a file is delivered")
    assert shell("verify", SYNC_LEDGER_DIR=str(daemon.ledger)).code == 0
    daemon.drop("b.txt", b"two")
    eventually(lambda: len(daemon.rows_so_far("published")) == 2, what="another file is delivered")


# dev


@pytest.fixture
def usual_ports_taken() -> Iterator[None]:
    """Something listens where the server, its monitor and the daemon would like to."""
    with ExitStack() as held:
        for port in (4222, 8222, 8080):
            try:
                held.enter_context(socket.create_server((HOST, port)))
            except OSError:
                continue  # taken already: as good
        yield


class Dev:
    """`syncdaemon dev` as a process."""

    def __init__(self, shell: Shell) -> None:
        self._out = shell.folder / "dev.out"
        self.err = shell.folder / "dev.err"
        with self._out.open("wb") as out, self.err.open("wb") as err:
            command = [*PROGRAM, "dev", "--folder", "try"]
            self.process = subprocess.Popen(command, cwd=shell.folder, env=shell.env, stdout=out, stderr=err)

    @property
    def text(self) -> str:
        """What it has printed."""
        return self._out.read_text()

    def welcome(self) -> str:
        """All that it prints, once it is ready."""
        eventually(lambda: "Ctrl-C" in self.text or self.process.poll() is not None, 30, "it is ready")
        assert self.process.poll() is None, self.err.read_text()
        return self.text

    def stop(self) -> None:
        """SIGTERM ends it with exit code 0."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        assert "Traceback" not in self.text + self.err.read_text()


@pytest.fixture
def dev(shell: Shell) -> Iterator[list[Dev]]:
    """Those that a test starts; killed where it does not stop them."""
    started: list[Dev] = []
    yield started
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, f"{pattern} is not in {text}"
    return match[1]


def test_dev_shows_a_first_delivery_and_where_to_go_on(shell: Shell, dev: list[Dev], usual_ports_taken: None) -> None:
    """Receipt of the sample, replay folder and URLs that work; a second start delivers no sample again."""
    dev.append(Dev(shell))
    text = dev[0].welcome()
    assert "The sample file is delivered" in text
    assert found(r"stream_seq +(\d+)", text) == "1"
    assert re.fullmatch("[0-9a-f]{64}", found(r"sha256 +(\w+)", text))

    web = found(r"(http://[\d.:]+)/status", text)
    nats_url = found(r"(nats://[\d.:]+)", text)
    monitor = found(r"monitoring (http://\S+)\)", text)
    assert not {web.rpartition(":")[2], nats_url.rpartition(":")[2], monitor.split("/")[2].partition(":")[2]} & {
        "4222",
        "8222",
        "8080",
    }
    for url in (f"{web}/healthz", monitor):
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert answer.status == 200

    replay = shell.folder / found(r"replay folder +(\S+)", text)
    ledger = shell.folder / found(r"ledger +(\S+)", text)
    source = shell.folder / "evidence.txt"
    source.write_text("evidence")
    assert shell("put", source, "--sync-replay-dir", replay).code == 0
    eventually(lambda: events(ledger, "published") == 2, what="a file that is put there is delivered")
    for command in re.findall(r"^  \.venv/bin/syncdaemon (.+)$", text, re.MULTILINE):
        assert shell(*command.split()).code == 0
    dev[0].stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((HOST, int(nats_url.rpartition(":")[2])))

    dev.append(Dev(shell))
    again = dev[1].welcome()
    assert "sample" not in again
    assert str(replay.relative_to(shell.folder)) in again
    dev[1].stop()
    assert events(ledger, "published") == 2
    assert ledger_rows(ledger)[-1]["event"] == "close"


def events(ledger: Path, event: str) -> int:
    return sum(row["event"] == event for row in ledger_rows(ledger))


# What a user can get wrong: one line, and never a traceback.


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"SYNC_SETLE_SECONDS": "1"}, "SYNC_SETLE_SECONDS is not a setting; did you mean SYNC_SETTLE_SECONDS?"),
        ({"SYNC_HOLD_SECONDS": "soon"}, "SYNC_HOLD_SECONDS: not a number of seconds ('soon')"),
        ({"SITE": "Not OK"}, "SITE: not a site label ('Not OK')"),
        ({"NATS_URL": f"http://edge:{PASSWORD}@h:4222"}, "NATS_URL: does not begin with nats:// or tls://"),
        ({"NATS_USER": "edge"}, "NATS_PASSWORD: missing"),
        ({"NATS_CREDS": "nowhere.creds"}, "NATS_CREDS: no such file or directory ('nowhere.creds')"),
        ({"SYNC_REPLAY_DIR": "nowhere"}, "SYNC_REPLAY_DIR: "),
        ({"SYNC_HTTP_ADDR": "no-port"}, "SYNC_HTTP_ADDR: has no port ('no-port')"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_a_wrong_setting_is_said_in_one_line(shell: Shell, settings: dict[str, str], said: str) -> None:
    """Exit 2, before anything is touched."""
    assert one_line(shell("run", **settings), 2).startswith(said)
    assert not shell.ledger.exists() or ledger_files(shell.ledger) == []


def test_several_wrong_settings_are_said_in_one_line(shell: Shell) -> None:
    """All of them, so that one look is enough."""
    line = one_line(shell("drain", SITE="Not OK", SYNC_ORDER="random", SYNC_SETLE_SECONDS="1"), 2)
    assert all(name in line for name in ("SITE", "SYNC_ORDER", "SYNC_SETLE_SECONDS"))


def test_a_ledger_among_the_files_to_deliver_is_refused(shell: Shell) -> None:
    """It would be delivered itself."""
    line = one_line(shell("run", SYNC_LEDGER_DIR=str(shell.replay / "ledger")), 2)
    assert line.startswith("SYNC_LEDGER_DIR: in the replay directory")


def test_a_replay_directory_that_cannot_be_written_is_refused(shell: Shell) -> None:
    """Delivered files could not be moved out of it."""
    fill(shell, 1)
    line = one_line(shell.under(read_only(shell.replay), "run"), 2)
    assert line.startswith(f"SYNC_REPLAY_DIR: {shell.replay} is not writable")


def test_a_replay_directory_that_is_a_file_is_refused(shell: Shell) -> None:
    """The same as a missing one."""
    (shell.folder / "file").write_text("")
    assert one_line(shell("run", SYNC_REPLAY_DIR="file"), 2).startswith("SYNC_REPLAY_DIR: ")


def test_a_ledger_directory_that_cannot_be_written_is_refused(shell: Shell) -> None:
    """Read-only, or below what is no folder."""
    shell.ledger.mkdir()
    line = one_line(shell.under(read_only(shell.ledger), "run"), 2)
    assert line.startswith(f"SYNC_LEDGER_DIR: {shell.ledger} can't be written")
    (shell.folder / "file").write_text("")
    assert one_line(shell("run", SYNC_LEDGER_DIR="file/ledger"), 2).startswith("SYNC_LEDGER_DIR: ")


@pytest.mark.parametrize("command", ["run", "drain"])
async def test_a_stream_that_does_not_capture_the_subject_is_refused(
    shell: Shell, nats_server: NatsServer, command: str
) -> None:
    """With the stream's subjects and the remedy; the file stays."""
    client = await connect(nats_server.url)
    await client.jetstream().add_stream(name="swarm_jobs", subjects=["other.>"])
    await client.close()
    fill(shell, 1)
    line = one_line(await asyncio.to_thread(shell, command, NATS_URL=nats_server.url), 2)
    assert line.startswith("SYNC_SUBJECT: the stream swarm_jobs captures other.>, not edge.replay.")
    assert shell.files() == ["f0.txt"]
    assert ledger_rows(shell.ledger)[-1]["event"] == "close"


def test_a_missing_stream_that_may_not_be_created_is_refused(shell: Shell, nats_server: NatsServer) -> None:
    """As SYNC_STREAM_CREATE=false wants it."""
    fill(shell, 1)
    line = one_line(shell("run", NATS_URL=nats_server.url, SYNC_STREAM_CREATE="false"), 2)
    assert line == "SYNC_STREAM: there is no stream swarm_jobs at the server, and SYNC_STREAM_CREATE=false"
    assert shell.files() == ["f0.txt"]


def test_a_second_daemon_on_a_directory_is_refused(
    shell: Shell, nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """Whatever its site and ledger; the first one goes on."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    line = one_line(shell("run", SITE="other", SYNC_REPLAY_DIR=str(daemon.replay)), 2)
    assert line.startswith(f"SYNC_REPLAY_DIR: another syncdaemon works on {daemon.replay}")
    daemon.drop("a.txt", b"one")
    eventually(lambda: daemon.rows("published"), what="the first daemon delivers")


def test_a_second_daemon_on_a_ledger_is_refused(shell: Shell, nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Of the same site; another site may share the folder."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    shared = {"SYNC_LEDGER_DIR": str(daemon.ledger), "NATS_URL": nats_server.url}
    line = one_line(shell("run", **shared), 2)
    assert line.startswith("SYNC_LEDGER_DIR: another process writes the ledger of site test-site")
    fill(shell, 2)
    assert shell("drain", SITE="other", **shared).code == 0


def test_a_damaged_ledger_stops_the_daemon(shell: Shell, ledger: list[Path]) -> None:
    """Exit 1 with file and line: it must not write on."""
    lines = ledger[1].read_bytes().splitlines(keepends=True)
    lines[5] = lines[5].replace(b'"size":', b'"size":1')
    ledger[1].write_bytes(b"".join(lines))
    before = ledger[1].read_bytes()
    assert one_line(shell("run"), 1).startswith(f"{ledger[1]} line 6: ")
    assert ledger[1].read_bytes() == before


def test_a_damaged_last_line_stops_the_daemon_too(shell: Shell, ledger: list[Path]) -> None:
    """It is finished, so no crash has torn it; and it is no row."""
    lines = ledger[1].read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1][:-2] + b"\n"
    ledger[1].write_bytes(b"".join(lines))
    assert one_line(shell("run"), 1).startswith(f"{ledger[1]} line {len(lines)}: ")


def test_a_day_without_a_row_between_others_is_no_damage(
    shell: Shell, ledger: list[Path], nats_server: NatsServer
) -> None:
    """Where the disk was full on a whole day its file is empty; the chain goes on past it."""
    empty = ledger[1].with_name("evidence-test-site-20200103.jsonl")
    ledger[1].rename(ledger[1].with_name("evidence-test-site-20200105.jsonl"))
    empty.write_bytes(b"")
    fill(shell, 1, 100)
    assert shell("drain", NATS_URL=nats_server.url).code == 0
    assert shell("verify").code == 0


def test_a_taken_http_port_is_refused(shell: Shell) -> None:
    """With the address."""
    with socket.create_server((HOST, 0)) as taken:
        address = f"{HOST}:{taken.getsockname()[1]}"
        line = one_line(shell("run", SYNC_HTTP_ADDR=address), 2)
    assert line.startswith(f"SYNC_HTTP_ADDR: can't listen on {address}")
