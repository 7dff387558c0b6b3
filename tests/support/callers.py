"""Clients of the HTTP port that do not behave: plain sockets that send what they like, and keep what they hold."""

from __future__ import annotations

import http.client
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import pytest

Address = tuple[str, int]


class Answered(NamedTuple):
    """What came back: status, headers by their names in small letters, body."""

    status: int
    headers: dict[str, str]
    body: bytes


def get(address: Address, path: str = "/livez", method: str = "GET", **fields: str) -> Answered:
    """One request. `fields`: headers, `_` for `-`; an empty text leaves one out. Raises OSError where none answers."""
    connection = http.client.HTTPConnection(*address, timeout=10)
    try:
        given = {"Host": f"{address[0]}:{address[1]}", "Connection": "close"}
        given |= {name.replace("_", "-"): value for name, value in fields.items()}
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in given.items():
            if value:
                connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        headers = {name.lower(): ", ".join(answer.headers.get_all(name, [])) for name in answer.headers}
        return Answered(answer.status, headers, answer.read())
    finally:
        connection.close()


def said(address: Address, sent: bytes, within: float = 10.0) -> bytes:
    """All that comes back for these bytes until the other side closes, or for so many seconds."""
    with socket.create_connection(address, timeout=within) as connection:
        with suppress(OSError):
            connection.sendall(sent)
        connection.settimeout(within)
        received = b""
        with suppress(OSError):
            while piece := connection.recv(65_536):
                received += piece
        return received


class Crowd:
    """Opens so many connections, sends the same bytes on each, and holds them all until it is left."""

    def __init__(self, address: Address, count: int, sent: bytes = b"") -> None:
        self._address, self._count, self._sent = address, count, sent
        self._held: list[socket.socket] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._open_all)

    def _open_all(self) -> None:
        while len(self._held) < self._count and not self._stop.is_set():
            with suppress(OSError):
                connection = socket.create_connection(self._address, timeout=5.0)
                connection.setblocking(False)
                self._held.append(connection)
                with suppress(OSError):
                    connection.send(self._sent)

    def trickle(self, byte: bytes = b"x") -> int:
        """Sends one byte more on each; the number of connections that took it."""
        took = 0
        for connection in self._held:
            with suppress(OSError):
                took += connection.send(byte)
        return took

    @property
    def complete(self) -> bool:
        """Whether all are open, or were."""
        return not self._thread.is_alive()

    def still_open(self) -> int:
        """How many the other side has not closed."""
        return sum(map(_is_open, self._held))

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for connection in self._held:
            connection.close()


def _is_open(connection: socket.socket) -> bool:
    try:
        while piece := connection.recv(65_536):
            del piece
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def slowest(address: Address, seconds: float, path: str = "/livez") -> float:
    """Asks as a probe does, on a new connection each time, for so long; the longest wait for a 200.

    Fails where a request has no such answer.
    """
    worst, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            answered = get(address, path)
        except (OSError, http.client.HTTPException) as error:
            pytest.fail(f"a probe has no answer after {time.monotonic() - began:.3f} s: {error!r}")
        assert answered.status == 200
        worst = max(worst, time.monotonic() - began)
        time.sleep(0.05)
    return worst


@contextmanager
def many_descriptors(count: int) -> Iterator[None]:
    """This process may have so many open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), max(hard, count)))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
