"""`syncdaemon top` on a real terminal: what it shows, how little it writes, and how it leaves the terminal."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon
from tests.support.process import PROGRAM, eventually

pytestmark = [pytest.mark.integration, pytest.mark.lengthy]


@pytest.fixture
def daemon(nats_server: NatsServer, make_daemon: MakeDaemon) -> DaemonProcess:
    made = make_daemon(nats_server.url, SITE="harbour-3")
    made.start()
    eventually(lambda: made.metric("edge_link_status") == 1, 60, "the link is up")
    return made


class Terminal:
    """A command at a terminal; `shown` is all that was written to it."""

    def __init__(self, process: subprocess.Popen[bytes], controller: int) -> None:
        self.process, self._controller = process, controller
        self.shown = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._controller, 65_536):
                self.shown += data
        except OSError:
            pass

    def press(self, keys: bytes) -> int:
        """Presses keys that end it; its exit code."""
        os.write(self._controller, keys)
        code = self.process.wait(30)
        self._reader.join(5)
        return code

    def shows(self, text: str) -> None:
        """Waits until it does."""
        eventually(lambda: text.encode() in self.shown, 60, f"{text!r} in {bytes(self.shown[-2000:])!r}")


@contextmanager
def top(daemon: DaemonProcess, *arguments: str, columns: int = 100, lines: int = 50) -> Iterator[Terminal]:
    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    before = termios.tcgetattr(terminal)
    env = {**daemon.env, "TERM": "xterm", "PYTHONUTF8": "1"}
    command = [*PROGRAM, "top", *arguments]
    with subprocess.Popen(command, env=env, stdin=terminal, stdout=terminal, stderr=terminal) as process:
        try:
            yield Terminal(process, controller)
            assert termios.tcgetattr(terminal) == before, "the terminal is not as it was"
        finally:
            process.kill()
            os.close(terminal)
    os.close(controller)


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_it_shows_what_the_page_shows_until_a_key_is_pressed(daemon: DaemonProcess, key: bytes) -> None:
    with top(daemon) as terminal:
        terminal.shows("Is my evidence safe?")
        terminal.shows("Every file that came is stored in the stream.")
        daemon.drop("red\x1b[31m.csv", b"evidence")
        terminal.shows("red\\x1b[31m.csv")
        assert terminal.press(key) == 0
        assert bytes(terminal.shown).rstrip().endswith(b"\x1b[?1049l")


def test_a_quiet_daemon_costs_hardly_a_character(daemon: DaemonProcess) -> None:
    """What is as it was is not written again: it can be used over a slow line."""
    with top(daemon) as terminal:
        terminal.shows("Every file that came is stored in the stream.")
        before = len(terminal.shown)
        _, _ = daemon.get("/status"), threading.Event().wait(5)
        assert len(terminal.shown) - before < 5 * 250
        assert terminal.press(b"q") == 0


def test_it_says_that_the_daemon_has_gone_and_finds_it_again(daemon: DaemonProcess) -> None:
    with top(daemon) as terminal:
        terminal.shows("Yes")
        daemon.kill()
        terminal.shows("Not known: no word from the daemon")
        terminal.shown.clear()
        daemon.start()
        terminal.shows("Every file that came is stored in the stream.")
        assert terminal.press(b"q") == 0


def test_it_comes_in_by_the_local_door_too(daemon: DaemonProcess) -> None:
    with top(daemon, "--sync-http-addr", "127.0.0.1:1") as terminal:
        terminal.shows("Every file that came is stored in the stream.")
        assert terminal.press(b"q") == 0


def test_without_a_terminal_it_prints_once(daemon: DaemonProcess) -> None:
    done = subprocess.run([*PROGRAM, "top"], env=daemon.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "harbour-3" in done.stdout
    assert "\x1b" not in done.stdout


def test_without_a_daemon_it_says_so(daemon: DaemonProcess) -> None:
    daemon.kill()
    done = subprocess.run([*PROGRAM, "top"], env=daemon.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "SYNC_HTTP_ADDR" in done.stderr
