"""A TCP relay between a daemon and its server, that can hold back what either says, without ending the connection.

It counts what clients send, and can hold it back from a certain byte on.

What is held back is not lost: it arrives when the relay lets go, as with a real network and TCP's repetitions.
For a real network see `tests.support.network`; this one needs no root.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from syncdaemon.dev.server import HOST, NatsServer
from tests.support.ports import own_port

_RESET = struct.pack("ii", 1, 0)
_PIECE = 1 << 16
_NO_LIMIT = 1 << 60


class Relay:
    """Listens on a free port; `to_server` and `to_client` are the two directions: clear one to hold it back.

    `mute_after`: as soon as a client sends these bytes, nothing more goes to any client. `sent`: bytes that went to the
    server.
    """

    def __init__(self, port: int, mute_after: bytes = b"") -> None:
        self.to_server, self.to_client = threading.Event(), threading.Event()
        self.mute_after = mute_after
        self._server_port = port
        self.sent = 0
        self._most = _NO_LIMIT
        self._limit = threading.Condition()
        self._ends: set[socket.socket] = set()
        self.port = own_port()
        self._listener = socket.create_server((HOST, self.port))
        self.restore()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where a client connects to."""
        return f"nats://{HOST}:{self.port}"

    def hold(self) -> None:
        """A black hole: nothing comes through, nobody is told."""
        self.to_server.clear()
        self.to_client.clear()

    def hold_after(self, more: int) -> None:
        """Lets so many more bytes go to the server, and then none until `restore`."""
        self._most = self.sent + more

    @property
    def held(self) -> bool:
        """Whether so many went."""
        return self.sent >= self._most

    def restore(self) -> None:
        """All that was held back arrives."""
        with self._limit:
            self._most = _NO_LIMIT
            self._limit.notify_all()
        self.to_server.set()
        self.to_client.set()

    def reset(self) -> None:
        """Every connection ends as if the peer had crashed; what was held back is lost."""
        for end in list(self._ends):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RD)
            end.close()
        self._ends.clear()

    def close(self) -> None:
        """Ends all."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()
        self.restore()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection((HOST, self._server_port))
                except OSError:
                    client.close()
                    continue
                for end in (client, server):  # else small pieces wait for the peer's delayed acknowledgements
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._ends |= {client, server}
                for pair in ((client, server, self.to_server), (server, client, self.to_client)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, gate: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(self._room(gate)):
                if gate is self.to_server and self.mute_after and self.mute_after in data:
                    self.to_client.clear()
                gate.wait()
                target.sendall(data)
                self.sent += len(data) if gate is self.to_server else 0
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self._ends.discard(end)

    def _room(self, gate: threading.Event) -> int:
        """How many bytes may be taken; waits where none may."""
        if gate is self.to_client:
            return _PIECE
        with self._limit:
            self._limit.wait_for(lambda: not self.held)
            return min(_PIECE, self._most - self.sent)


MakeRelay = Callable[..., Relay]
"""Takes the server, and the keyword arguments of `Relay`."""


@pytest.fixture
def make_relay() -> Iterator[MakeRelay]:
    """Relays to a server; they end with the test."""
    made: list[Relay] = []

    def make(server: NatsServer, mute_after: bytes = b"") -> Relay:
        made.append(Relay(server.port, mute_after))
        return made[-1]

    yield make
    for relay in made:
        relay.close()
