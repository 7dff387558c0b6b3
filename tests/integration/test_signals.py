"""What signals do to a process: the ledger has its last row whichever of them ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import MakeDaemon, eventually
from tests.support.jetstream import ledger_rows
from tests.support.process import PROGRAM
from tests.support.receiver import Receiver
from tests.support.server import MakeNatsServer
from tests.support.shell import Shell

pytestmark = pytest.mark.integration

DEADLY = [
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGQUIT),
    *(signal.SIGXCPU, signal.SIGPWR, signal.SIGSTKFLT, signal.SIGRTMIN, signal.SIGRTMAX),
]


@pytest.mark.parametrize("number", DEADLY, ids=str)
def test_a_signal_that_ends_a_process_ends_the_daemon_in_good_order(
    nats_server: NatsServer, make_daemon: MakeDaemon, number: int
) -> None:
    """With the row `close`; and its parent sees that it died of the signal, as with any tool."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    daemon.drop("one.bin", b"one")
    eventually(lambda: daemon.rows_so_far("published"), what="the file has a receipt")
    daemon.process.send_signal(number)
    assert daemon.ended(20) == -number
    assert [row["event"] for row in daemon.rows("open", "close")] == ["open", "close"]
    assert len(daemon.logged("stopping")) == 1


def test_a_hangup_is_no_end_and_says_that_there_is_nothing_to_reload(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    daemon = make_daemon(nats_server.url)
    daemon.start()
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: daemon.logged("nothing_to_reload"), what="it says so")
    daemon.drop("one.bin", b"one")
    eventually(lambda: daemon.rows_so_far("published"), what="it goes on")
    assert daemon.stop() == 0


def test_signals_that_mean_nothing_change_nothing(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(nats_server.url)
    daemon.start()
    for number in (signal.SIGPIPE, signal.SIGIO, signal.SIGCHLD, signal.SIGWINCH, signal.SIGURG, signal.SIGTTOU):
        daemon.process.send_signal(number)
    daemon.drop("one.bin", b"one")
    eventually(lambda: daemon.rows_so_far("published"), what="it goes on")
    assert daemon.stop() == 0


def test_a_second_signal_of_any_kind_ends_at_once(make_nats_server: MakeNatsServer, make_daemon: MakeDaemon) -> None:
    """An end that takes long, because the server stands still."""
    server = make_nats_server()
    server.start()
    daemon = make_daemon(server.url)
    daemon.start()
    eventually(lambda: daemon.metric("edge_link_status") == 1, what="it is connected")
    server.freeze()
    try:
        for number in range(50):
            daemon.drop(f"{number}.bin", b"%d" % number)
        eventually(lambda: daemon.metric("replay_queue_depth") == 50, what="all are seen")
        eventually(lambda: daemon.metric("syncdaemon_settling_files") == 0, what="all are complete")
        daemon.process.send_signal(signal.SIGTERM)
        eventually(lambda: daemon.logged("stopping"), what="it begins to end")
        daemon.process.send_signal(signal.SIGUSR1)
        assert daemon.ended(5) in (128 + signal.SIGUSR1, -signal.SIGUSR1)  # the latter: it had just come to its end
    finally:
        server.thaw()


def test_a_normal_end_logs_no_trouble(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """No line says that the link is down: it was closed."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    eventually(lambda: daemon.logged("link_up"), what="it is connected")
    assert daemon.stop() == 0
    assert daemon.logged("link_down") == []
    assert [line["signal"] for line in daemon.logged("stopping")] == ["SIGTERM"]
    assert [row["up"] for row in daemon.rows("link")] == [True, False]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGALRM, signal.SIGQUIT], ids=str)
def test_the_other_end_puts_back_what_it_holds_and_dies_of_the_signal(
    nats_server: NatsServer, tmp_path: Path, number: int
) -> None:
    receiver = Receiver(tmp_path, tmp_path / "target", nats_server.url)
    try:
        receiver.start()
        receiver.process.send_signal(signal.SIGHUP)
        eventually(lambda: receiver.logged("nothing_to_reload"), what="a hangup is no end")
        receiver.process.send_signal(number)
        assert receiver.ended(20) == -number
        assert len(receiver.logged("stopping")) == 1
    finally:
        receiver.kill()


# At a terminal


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT], ids=str)
def test_the_end_of_the_terminal_ends_dev_and_its_server(shell: Shell, number: int) -> None:
    """In good order, and no server is left."""
    with (shell.folder / "dev.out").open("wb") as out:
        process = subprocess.Popen(
            [*PROGRAM, "dev", "--folder", "try"], cwd=shell.folder, env=shell.env, stdout=out, stderr=out
        )
    try:
        eventually(lambda: "Ctrl-C" in (shell.folder / "dev.out").read_text(), 40, "it is ready")
        process.send_signal(number)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert ledger_rows(shell.folder / "try" / "ledger")[-1]["event"] == "close"
    eventually(lambda: not servers(shell.folder), what="the server has ended")


def servers(folder: Path) -> list[str]:
    """The command lines of the servers whose configuration lies there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in line and b"nats-server" in line:
            found.append(line.decode())
    return found


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 3), (signal.SIGHUP, 3), (signal.SIGUSR1, -signal.SIGUSR1)],
    ids=str,
)
def test_a_drain_that_is_stopped_says_what_is_left(shell: Shell, number: int, code: int) -> None:
    """There is no server. Ctrl-C has the exit code that a shell expects of it. The ledger has its last row."""
    (shell.replay / "one.bin").write_bytes(b"one")
    process = subprocess.Popen(
        [*PROGRAM, "drain"], cwd=shell.folder, env=shell.env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    eventually(lambda: any(shell.ledger.glob("*.jsonl")), 40, "the ledger is open")
    eventually(lambda: ledger_rows(shell.ledger), 40, "the ledger has its first row")
    process.send_signal(number)
    _, said = process.communicate(timeout=40)
    assert process.returncode == code
    assert "Traceback" not in said
    assert [row["event"] for row in ledger_rows(shell.ledger)][-1] == "close"
    assert shell.files() == ["one.bin"]


# Ctrl-C while a command starts


@pytest.mark.parametrize("command", ["run", "dev", "verify", "config"])
def test_ctrl_c_shows_no_traceback_at_any_instant_of_the_start(shell: Shell, command: str) -> None:
    """And the exit code is 130, or where the command was already at work the one of its end in good order.

    What Python itself does before the first line of ours runs is its own; nothing of ours is in such a traceback.
    """
    whole = begun(shell, command)
    wrong: list[tuple[object, ...]] = []
    for step in range(1, 13):
        process = start(shell, command)
        time.sleep(whole * step / 10)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=40)
        ours = "init_import_site" not in said and ("syncdaemon" in said or "site-packages" in said)
        if "Traceback" in said and ours:
            wrong.append((step, said))
        ended = "there is no ledger" in said  # it had come to its own end before
        if "Traceback" not in said and not ended and process.returncode not in (130, -signal.SIGINT, 0, 1, 3):
            wrong.append((step, process.returncode, said))
    assert wrong == []


def start(shell: Shell, command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "syncdaemon", *command.split()],
        cwd=shell.folder,
        env=shell.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def begun(shell: Shell, command: str) -> float:
    """For how many seconds the imports of a command last, about."""
    began = time.monotonic()
    process = start(shell, f"{command} --sync-order wrong")
    process.communicate(timeout=40)
    return 2 * (time.monotonic() - began)
