"""What a kernel tells of a connection, and what is assumed where it tells nothing."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from syncdaemon.dev.server import HOST
from syncdaemon.link import kernel


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    """One that is full: its peer reads nothing."""
    with socket.create_server((HOST, 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.setblocking(False)
        try:
            while True:
                client.send(bytes(1 << 16))
        except BlockingIOError:
            pass
        yield client


def test_bytes_that_wait_are_known(connection: socket.socket) -> None:
    assert kernel.unacknowledged(connection) > 0


def test_where_the_kernel_tells_nothing_nothing_waits(
    connection: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And there is no gap; no call fails."""
    monkeypatch.setattr(kernel, "_QUEUED", None)
    monkeypatch.setattr(kernel, "_TCP_INFO", None)
    assert kernel.unacknowledged(connection) == 0
    assert kernel.gap(connection) is None


def test_macos_is_asked_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """SO_NWRITE is the option 0x1024 there. A kernel that refuses it is as one that tells nothing."""

    class Raw:
        def __init__(self, answer: int | None) -> None:
            self.answer = answer

        def getsockopt(self, level: int, option: int) -> int:
            assert (level, option) == (socket.SOL_SOCKET, 0x1024)
            if self.answer is None:
                raise OSError
            return self.answer

    monkeypatch.setattr(sys, "platform", "darwin")
    assert kernel.unacknowledged(Raw(7)) == 7  # type: ignore[arg-type]
    assert kernel.unacknowledged(Raw(None)) == 0  # type: ignore[arg-type]
