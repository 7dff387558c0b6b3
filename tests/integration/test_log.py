"""A log that can't be written stops nothing: not the delivery, not the other end, not the end of the process."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support import needs
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import messages
from tests.support.process import PROGRAM
from tests.support.receiver import Receiver
from tests.support.shell import Shell

pytestmark = pytest.mark.integration

END_SECONDS = 15.0  # the usual end, on a busy machine

# A bug of ours: a task beside the delivery fails with an error that no part expects.
BROKEN = """
import sys
from syncdaemon.daemon.upkeep import OwnRows

async def fails(self):
    raise RuntimeError("this is a bug")

OwnRows.run = fails
sys.argv = ["syncdaemon", "run"]
from syncdaemon.cli import main
main()
"""


@contextmanager
def full_disk() -> Iterator[int]:
    """A destination that takes nothing: no space left on device."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def reader_gone() -> Iterator[int]:
    """A pipe whose reader has ended."""
    read, write = os.pipe()
    os.close(read)
    try:
        yield write
    finally:
        os.close(write)


@contextmanager
def unread_pipe() -> Iterator[int]:
    """A pipe that is full, and whose reader stands still."""
    read, write = os.pipe()
    fill(write)
    try:
        yield write
    finally:
        os.close(read)
        os.close(write)


@contextmanager
def stopped_terminal() -> Iterator[int]:
    """A terminal at which somebody pressed Ctrl-S."""
    controller, terminal = os.openpty()
    termios.tcflow(terminal, termios.TCOOFF)
    try:
        yield terminal
    finally:
        os.close(controller)
        os.close(terminal)


def fill(pipe: int) -> None:
    """Writes until nothing more goes in."""
    flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    try:
        while os.write(pipe, b"x" * 4096):
            pass
    except BlockingIOError:
        pass
    fcntl.fcntl(pipe, fcntl.F_SETFL, flags)


BAD = [full_disk, reader_gone, unread_pipe, stopped_terminal]


@pytest.fixture(params=BAD, ids=lambda destination: destination.__name__)
def bad(request: pytest.FixtureRequest) -> Iterator[int]:
    """A descriptor that can't be written to, of each kind."""
    with request.param() as descriptor:
        yield descriptor


def closed_well(daemon: DaemonProcess) -> bool:
    """Whether its last row is the one of an end in good order."""
    return b'"event":"close"' in max(daemon.ledger.glob("evidence-*.jsonl")).read_bytes().splitlines()[-1]


# The daemon


def test_the_daemon_delivers_and_ends_whatever_becomes_of_its_log(
    nats_server: NatsServer, make_daemon: MakeDaemon, bad: int
) -> None:
    """It lives, answers its probes, delivers after a restart of the server, and ends in its usual time."""
    daemon = make_daemon(nats_server.url, SYNC_LOG_LEVEL="debug", SYNC_HOLD_SECONDS="0")
    daemon.stderr = bad
    daemon.start()
    daemon.drop("one.bin", b"one")
    eventually(lambda: len(daemon.rows_so_far("published")) == 1, what="the first file has a receipt")
    nats_server.stop()
    nats_server.start()
    daemon.drop("two.bin", b"two")
    eventually(lambda: len(daemon.rows_so_far("published")) == 2, what="the second file has a receipt")
    assert daemon.get("/livez") == "ok\n"
    assert daemon.stop(END_SECONDS) == 0
    assert closed_well(daemon)


def test_lines_that_are_lost_are_counted(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """As a number that an alert can watch; and none is lost where the log is well."""
    well = make_daemon(nats_server.url, "well")
    well.start()
    eventually(lambda: well.logged("link_up"), what="its log is written")
    assert well.metric("syncdaemon_log_lines_dropped_total") == 0
    with reader_gone() as descriptor:
        daemon = make_daemon(nats_server.url, "ill")
        daemon.stderr = descriptor
        daemon.start()
        eventually(lambda: daemon.metric("syncdaemon_log_lines_dropped_total") >= 1, what="a lost line is counted")
        assert daemon.stop(END_SECONDS) == 0


def test_a_log_that_works_again_says_how_many_lines_it_lacks(
    nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    """A file on a full disk, until somebody makes room. No line is glued to half a one."""
    needs.root()
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=True)
    try:
        log, filler = disk / "log", disk / "filler"
        with log.open("ab") as file:
            fill_disk(filler)
            daemon = make_daemon(nats_server.url)
            daemon.stderr = file.fileno()
            daemon.start()
            eventually(lambda: daemon.metric("syncdaemon_log_lines_dropped_total") >= 1, what="a lost line is counted")
            filler.unlink()
            eventually(lambda: b"log_lines_lost" in log.read_bytes(), what="the loss is said")
            lost = daemon.metric("syncdaemon_log_lines_dropped_total")
            assert daemon.stop(END_SECONDS) == 0
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
        assert sum(line["lines"] for line in lines if line["event"] == "log_lines_lost") == lost
        assert {line["event"] for line in lines} >= {"stopping"}
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill_disk(filler: Path) -> None:
    """Until there is no room for a byte."""
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass


def test_with_standard_error_closed_no_line_gets_into_another_file(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """The next file that is opened would get its number, and that could be the ledger."""
    daemon = make_daemon(nats_server.url, SYNC_LOG_LEVEL="debug")
    daemon.command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *daemon.command]
    daemon.start()
    daemon.drop("one.bin", b"one")
    eventually(lambda: len(daemon.rows_so_far("published")) == 1, what="the file has a receipt")
    assert daemon.stop(END_SECONDS) == 0
    assert closed_well(daemon)
    assert [row["event"] for row in daemon.rows("open", "close")] == ["open", "close"]


def test_the_last_lines_are_written_before_the_end(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """By a reader that is slow and not dead: a full pipe is read a moment after the end was asked for."""
    read, write = os.pipe()
    fill(write)
    daemon = make_daemon(nats_server.url)
    daemon.stderr = write
    daemon.start()
    os.close(write)
    daemon.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    with open(read, "rb") as pipe:
        text = pipe.read()
    assert daemon.ended(END_SECONDS) == 0
    events = [json.loads(line)["event"] for line in text[text.index(b"{") :].splitlines()]
    assert "stopping" in events


# A bug


def crash(daemon: DaemonProcess, stderr: int | None) -> int:
    """The exit code of a daemon with a bug."""
    daemon.command = [sys.executable, "-c", BROKEN]
    daemon.stderr = stderr
    daemon.launch()
    return daemon.ended(40)


def test_a_bug_ends_the_daemon_with_its_traceback(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """The whole of it."""
    daemon = make_daemon(nats_server.url)
    assert crash(daemon, None) == 1
    assert "Traceback (most recent call last)" in daemon.log()
    assert "RuntimeError: this is a bug" in daemon.log()
    assert closed_well(daemon)


def test_a_bug_ends_the_daemon_in_good_order_whatever_becomes_of_the_traceback(
    nats_server: NatsServer, make_daemon: MakeDaemon, bad: int
) -> None:
    """Its exit code is the same, and it does not hang."""
    daemon = make_daemon(nats_server.url)
    assert crash(daemon, bad) == 1
    assert closed_well(daemon)


def test_what_a_library_logs_is_a_line_of_the_log(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """With its logger's name, its text and its error."""
    source = BROKEN.replace(
        'raise RuntimeError("this is a bug")',
        "import logging\n    try:\n        1 / 0\n    except ZeroDivisionError:\n        "
        'logging.getLogger("nats.aio").exception("it %s", "failed")\n    logging.getLogger("x").log(35, "%d", "wrong")',
    )
    daemon = make_daemon(nats_server.url)
    daemon.command = [sys.executable, "-c", source]
    daemon.start()
    eventually(lambda: daemon.logged("it failed") and daemon.logged("%d"), what="the lines are there")
    (line,) = daemon.logged("it failed")
    assert (line["level"], line["logger"]) == ("error", "nats.aio")
    assert "ZeroDivisionError" in line["exception"]
    assert daemon.stop(END_SECONDS) == 0


# The other commands


def test_the_other_end_receives_and_ends_whatever_becomes_of_its_log(
    nats_server: NatsServer, make_daemon: MakeDaemon, bad: int, tmp_path: Path
) -> None:
    daemon = make_daemon(nats_server.url)
    daemon.start()
    daemon.drop("one.bin", b"one")
    receiver = Receiver(tmp_path, tmp_path / "target", nats_server.url)
    receiver.stderr = bad
    try:
        receiver.start()
        eventually(lambda: receiver.metric("nats_worker_processed_total") == 1, what="the file is received")
        assert receiver.get("/livez") == "ok\n"
        assert receiver.stop(END_SECONDS) == 0
    finally:
        receiver.kill()


def test_lines_that_the_other_end_loses_are_counted(nats_server: NatsServer, tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, tmp_path / "target", nats_server.url)
    try:
        with full_disk() as descriptor:
            receiver.stderr = descriptor
            receiver.start()
            eventually(lambda: receiver.metric("nats_worker_log_lines_dropped_total") >= 1, what="it is counted")
    finally:
        receiver.kill()


def test_a_drain_delivers_and_ends_whatever_becomes_of_its_log(shell: Shell, nats_server: NatsServer, bad: int) -> None:
    """Its bar included, which is drawn on a terminal."""
    for number in range(20):
        (shell.replay / f"{number}.bin").write_bytes(b"%d" % number)
    command = [*PROGRAM, "drain", "--nats-url", nats_server.url]
    done = subprocess.run(command, cwd=shell.folder, env=shell.env, stderr=bad, stdout=subprocess.PIPE, timeout=40)
    assert done.returncode == 0
    assert len(asyncio.run(messages(nats_server.url, "swarm_jobs"))) == 20
    assert shell.files() == []


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_dev_lives_and_ends_whatever_becomes_of_what_it_prints(shell: Shell, bad: int, stream: str) -> None:
    """Its welcome goes to standard output, its log to standard error."""
    command = [*PROGRAM, "dev", "--folder", "try"]
    out, err = (bad, subprocess.DEVNULL) if stream == "stdout" else (subprocess.DEVNULL, bad)
    process = subprocess.Popen(command, cwd=shell.folder, env=shell.env, stdout=out, stderr=err)
    try:
        ledger = shell.folder / "try" / "ledger"
        eventually(
            lambda: any(b'"published"' in file.read_bytes() for file in ledger.glob("*.jsonl")),
            40,
            "the sample is delivered",
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_a_wrong_setting_has_its_exit_code_whatever_becomes_of_the_line(shell: Shell, bad: int) -> None:
    """2, of wrong settings; so a supervisor does not take it for another trouble."""
    for arguments in (("run", "--sync-order", "wrong"), ("run", "--no-such-flag")):
        command = [*PROGRAM, *arguments]
        assert subprocess.run(command, cwd=shell.folder, env=shell.env, stderr=bad, timeout=40).returncode == 2


# Standard output of the commands that look


def test_a_reader_that_has_seen_enough_ends_a_command_quietly(shell: Shell) -> None:
    """As `syncdaemon config | head -1`: the exit code is that of a Unix tool."""
    for arguments in (("config",), ("config", "--json"), ("--help",), ("verify", "--help"), ("quarantine", "list")):
        with reader_gone() as descriptor:
            command = [*PROGRAM, *arguments]
            done = subprocess.run(
                command, cwd=shell.folder, env=shell.env, stdout=descriptor, stderr=subprocess.PIPE, timeout=40
            )
        assert (done.returncode, done.stderr) == (141, b""), arguments


def test_standard_output_that_can_not_be_written_is_said_in_one_line(shell: Shell) -> None:
    with full_disk() as descriptor:
        command = [*PROGRAM, "config"]
        done = subprocess.run(
            command, cwd=shell.folder, env=shell.env, stdout=descriptor, stderr=subprocess.PIPE, text=True, timeout=40
        )
    assert done.returncode == 1
    assert done.stderr == "syncdaemon: standard output can't be written: No space left on device\n"


def test_commands_do_their_work_with_standard_streams_closed(shell: Shell) -> None:
    """And none of what they would print gets into a file of theirs."""
    source = shell.folder / "evidence.bin"
    source.write_bytes(b"evidence")
    for closed in ("0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"):
        under = ("sh", "-c", f'exec "$@" {closed}', "sh")
        assert shell.under(under, "config").code == 0
        assert shell.under(under, "put", source).code == 0
        assert shell.under(under, "status").code == 3
        (placed,) = shell.replay.glob("*.bin")
        assert placed.read_bytes() == b"evidence"
        placed.unlink()
