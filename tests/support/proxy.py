"""A wire with a weakness, between a client and a server on this machine."""

from __future__ import annotations

import socket
import threading
import time
from typing import Self

from syncdaemon.dev.server import HOST

_PIECE = 16 << 10


class Proxy:
    """Forwards connections to `port`.

    `rate`: at most so many bytes a second come from the server. `stop_at`: when the client sends this, it and all that
    follows stays here, as on a link that dies in one direction.
    """

    def __init__(self, port: int, rate: float = 0.0, stop_at: bytes = b"") -> None:
        self._port, self._rate, self._stop_at = port, rate, stop_at
        self.stopped = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((HOST, 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Where a client finds it."""
        return f"nats://{HOST}:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((HOST, self._port))
            except OSError:  # as a server that is not there
                client.close()
                continue
            if self._rate:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE)
            self._sockets += [client, server]
            for work in ((self._up, client, server), (self._down, server, client)):
                thread = threading.Thread(target=work[0], args=work[1:], daemon=True)
                thread.start()
                self._threads.append(thread)

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        while data := _read(client):
            if self._stop_at and self._stop_at in data:
                self.stopped.set()
            if not self.stopped.is_set():
                _write(server, data)
        _end(server)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        due = time.monotonic()
        while data := _read(server):
            if self._rate:
                due = max(due, time.monotonic()) + len(data) / self._rate
                time.sleep(max(0.0, due - time.monotonic()))
            _write(client, data)
        _end(client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            _end(one)
        for thread in self._threads:
            thread.join()
        for one in self._sockets:
            one.close()


def _read(source: socket.socket) -> bytes:
    try:
        return source.recv(_PIECE)
    except OSError:
        return b""


def _write(target: socket.socket, data: bytes) -> None:
    try:
        target.sendall(data)
    except OSError:
        return


def _end(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
