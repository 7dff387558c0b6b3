"""The daemon as the process of a systemd unit: what it says on the socket that it is given."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import MakeDaemon
from tests.support.receiver import Receiver
from tests.support.server import MakeNatsServer

pytestmark = pytest.mark.integration


def test_it_says_that_it_is_ready_alive_and_about_to_stop(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(20)
        daemon = make_daemon(make_nats_server().url)
        daemon.env |= {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "400000"}
        daemon.launch()
        assert systemd.recv(100) == b"READY=1"
        assert daemon.page("/livez")[0] == 200, "it was not done with its start"
        assert {systemd.recv(100) for _ in range(5)} == {b"WATCHDOG=1"}
        assert daemon.stop() == 0
        systemd.setblocking(False)
        words = []
        while b"STOPPING=1" not in words:
            words.append(systemd.recv(100))
        assert set(words[:-1]) <= {b"WATCHDOG=1"}


def test_a_worker_says_the_same(nats_server: NatsServer, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(20)
        worker = Receiver(tmp_path, tmp_path / "received", nats_server.url)
        worker.env |= {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "400000"}
        try:
            worker.launch()
            assert systemd.recv(100) == b"READY=1"
            assert worker.page("/livez")[0] == 200, "it was not done with its start"
            assert {systemd.recv(100) for _ in range(3)} == {b"WATCHDOG=1"}
            assert worker.stop() == 0
        finally:
            worker.kill()


def test_a_daemon_that_can_not_begin_is_never_ready(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.setblocking(False)
        daemon = make_daemon(make_nats_server().url)
        daemon.env |= {"NOTIFY_SOCKET": str(address), "SYNC_REPLAY_DIR": str(tmp_path / "missing")}
        daemon.launch()
        assert daemon.ended(20) == 2
        with pytest.raises(BlockingIOError):
            systemd.recv(100)
