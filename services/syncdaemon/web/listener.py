"""The listening sockets: they accept connections, as many at a time as leave the rest of the program its descriptors.

A descriptor is needed for every file that is delivered, for the ledger and for the link. So connections get an eighth
of those that this process may have, 64 at most, and none while the process is close to its limit. Where the kernel has
no descriptor for us, nothing is accepted for a moment: the connection stays in the kernel's queue, and the loop would
report it again and again.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from contextlib import suppress

import structlog

from syncdaemon.base.errors import SettingsError
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.base.peers import peer_of
from syncdaemon.web.callers import Callers, Sender

MOST_CONNECTIONS = 64
_LEAST_CONNECTIONS = 4
_QUEUE = 4096  # connections that the kernel keeps for us; net.core.somaxconn may be less
_REST_SECONDS = 0.1
# The kernel keeps a connection for so long, or until its first bytes come (tcp(7), TCP_DEFER_ACCEPT). So a probe has
# its request with it when it takes a place, and no crowd of silent connections can push it out before it has asked.
# Only Linux has that; another kernel hands on a connection before its first bytes.
_DEFER = getattr(socket, "TCP_DEFER_ACCEPT", None)
_DEFER_SECONDS = 1

log = structlog.get_logger(__name__)


def descriptors() -> int:
    """How many descriptors this process may have."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 20 if limit == resource.RLIM_INFINITY else limit


def most_connections(descriptors: int) -> int:
    """How many connections there may be at a time, for a process that may have so many descriptors."""
    return max(_LEAST_CONNECTIONS, min(MOST_CONNECTIONS, descriptors // 8))


class Listener:
    """Listens from `open` to `close`, and hands each connection to `callers`."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._loop = asyncio.get_running_loop()
        # A newcomer takes about five turns of the loop to its answer. In these, others must not take all places.
        self._at_once = max(1, callers.most // 16)
        limit = descriptors()
        self._crowded, self._full = limit - min(128, limit // 4), limit - min(16, limit // 8)
        self._sockets: list[socket.socket] = []
        self._resting: set[asyncio.TimerHandle] = set()
        self._once_a_minute = OnceAMinute()

    @property
    def port(self) -> int:
        """The port that is listened on; of use where the settings said 0."""
        return int(self._sockets[0].getsockname()[1])

    async def open(self, host: str, port: int) -> None:
        """Listens on every address of this host. Raises SettingsError where one can't be had."""
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
                self._sockets.append(_listening(family, address))
        except OSError as error:
            self.close()
            raise SettingsError(
                f"SYNC_HTTP_ADDR: can't listen on {host}:{port} ({error.strerror}); name a free address"
            ) from None
        for listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def add(self, listening: socket.socket) -> None:
        """Takes over a Unix socket that listens, whose senders are told apart by their users."""
        self._sockets.append(listening)
        self._loop.add_reader(listening, self._accept, listening)

    def close(self) -> None:
        """Accepts nothing more."""
        for timer in self._resting:
            timer.cancel()
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            listening.close()
        self._sockets.clear()

    def _accept(self, listening: socket.socket) -> None:
        """Some of the connections that wait; the loop calls again while there are more."""
        for _ in range(self._at_once):
            try:
                connection, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(listening, error)
                return
            connection.setblocking(False)
            self._admit(connection, address)

    def _admit(self, connection: socket.socket, address: object) -> None:
        """The kernel gives the lowest free number, so a high one says that few are left."""
        number = connection.fileno()
        if number >= self._crowded and not self._callers.close_oldest() and number >= self._full:
            connection.close()
            self._complain("few descriptors are left")
            return
        try:
            self._callers.admit(connection, _sender(connection, address))
        except OSError as error:  # the kernel does not tell who it is
            connection.close()
            self._complain(error.strerror or str(error))

    def _rest(self, listening: socket.socket, error: OSError) -> None:
        """Nothing is accepted for a moment; one connection less may be all that is needed."""
        self._complain(error.strerror or str(error))
        self._callers.close_oldest()
        self._loop.remove_reader(listening)
        timer = self._loop.call_later(_REST_SECONDS, self._resume, listening)
        self._resting = {timer, *(one for one in self._resting if one.when() > self._loop.time())}

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def _complain(self, error: str) -> None:
        if self._once_a_minute.due(self._loop.time()):
            log.warning(
                "http_not_accepting",
                error=error,
                connections=len(self._callers),
                descriptors=descriptors(),
                remedy="raise the limit of open files (ulimit -n), or find out who opens so many connections",
            )


def _sender(connection: socket.socket, address: object) -> Sender:
    """Raises OSError."""
    return str(address[0]) if isinstance(address, tuple) else peer_of(connection)


def _listening(family: int, address: tuple[object, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if _DEFER is not None:
            with suppress(OSError):
                listening.setsockopt(socket.IPPROTO_TCP, _DEFER, _DEFER_SECONDS)
        listening.bind(address)
        listening.listen(_QUEUE)
    except OSError:
        listening.close()
        raise
    return listening
