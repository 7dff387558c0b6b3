"""What systemd is told, word for word, on a socket as systemd makes it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncdaemon.daemon.supervisor import Supervisor

PID = 4711


class Listener:
    """The manager's end of the socket."""

    def __init__(self, end: socket.socket, address: str) -> None:
        self.address = address
        self._end = end

    def words(self) -> list[str]:
        """All that has come until now."""
        found = []
        while True:
            try:
                found.append(self._end.recv(4096).decode())
            except BlockingIOError:
                return found


@contextmanager
def listening(address: str) -> Iterator[Listener]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.setblocking(False)
        end.bind(address.replace("@", "\0", 1))
        yield Listener(end, address)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Listener]:
    with listening(str(tmp_path / "notify")) as listener:
        yield listener


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": ""}, None),
        ({"NOTIFY_SOCKET": "vsock:2:1"}, None),
        ({"NOTIFY_SOCKET": "/n"}, Supervisor("/n", 0.0)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000"}, Supervisor("/n", 3.0)),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(PID)}, Supervisor("@n", 3.0)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, Supervisor("/n", 0.0)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "soon"}, Supervisor("/n", 0.0)),
    ],
    ids=str,
)
def test_the_environment_of_a_unit_says_where_and_how_often(environ: dict[str, str], found: Supervisor | None) -> None:
    assert Supervisor.of(environ, PID) == found


async def test_it_is_ready_when_the_start_is_done_and_not_before(systemd: Listener) -> None:
    ready, stop = asyncio.Event(), asyncio.Event()
    telling = asyncio.create_task(Supervisor(systemd.address, 0.0).run(ready, stop))
    await asyncio.sleep(0.05)
    assert systemd.words() == []
    ready.set()
    await asyncio.sleep(0.05)
    assert systemd.words() == ["READY=1"]
    stop.set()
    await telling
    assert systemd.words() == ["STOPPING=1"]


async def test_an_end_during_the_start_is_told_without_ever_being_ready(systemd: Listener) -> None:
    stop = asyncio.Event()
    stop.set()
    await Supervisor(systemd.address, 1.0).run(asyncio.Event(), stop)
    assert systemd.words() == ["STOPPING=1"]


async def test_the_watchdog_hears_a_word_again_and_again(systemd: Listener) -> None:
    ready, stop = asyncio.Event(), asyncio.Event()
    ready.set()
    telling = asyncio.create_task(Supervisor(systemd.address, 0.2).run(ready, stop))
    words: list[str] = []
    async with asyncio.timeout(20):
        while len(words) < 5:
            await asyncio.sleep(0.05)
            words += systemd.words()
    stop.set()
    await telling
    first, *beats, last = words + systemd.words()
    assert (first, last, {*beats}) == ("READY=1", "STOPPING=1", {"WATCHDOG=1"})


async def test_a_loop_that_hangs_says_nothing(systemd: Listener) -> None:
    ready, stop = asyncio.Event(), asyncio.Event()
    ready.set()
    telling = asyncio.create_task(Supervisor(systemd.address, 0.1).run(ready, stop))
    await asyncio.sleep(0.1)
    assert "WATCHDOG=1" in systemd.words()
    time.sleep(0.3)  # noqa: ASYNC251 - this is the hang
    assert systemd.words() == []
    stop.set()
    await telling


async def test_an_abstract_socket_is_one_too() -> None:
    with listening(f"@syncdaemon-test-{time.monotonic_ns()}") as systemd:
        stop = asyncio.Event()
        stop.set()
        await Supervisor(systemd.address, 0.0).run(asyncio.Event(), stop)
        assert systemd.words() == ["STOPPING=1"]


async def test_a_socket_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    ready, stop = asyncio.Event(), asyncio.Event()
    ready.set()
    telling = asyncio.create_task(Supervisor(str(tmp_path / "gone"), 0.05).run(ready, stop))
    await asyncio.sleep(0.1)
    assert not telling.done()
    stop.set()
    await telling
