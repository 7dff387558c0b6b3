"""The connections to the HTTP port or the local door: how many there may be, and how long each may take for what.

A connection costs a descriptor and a little memory until the head of its first request is complete; only then is it
handed to the HTTP protocol. When all places are taken, the oldest connection that is not in the middle of an answer
makes room, so a newcomer always gets in, whoever holds the others.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from syncdaemon.base.peers import Peer

HEAD_SECONDS = 5.0  # from the first byte of a request's head to its last
IDLE_SECONDS = 30.0  # without a request, before the first one and between two
ANSWER_SECONDS = 30.0  # until the peer has taken an answer
_SWEEP_SECONDS = 0.5
_HEAD_BYTES = 16_384  # what is longer is handed on all the same: the HTTP protocol refuses it

MakeProtocol = Callable[[], asyncio.Protocol]
Sender = str | Peer
"""Who is at the other end: the address on another machine or on this one, or the user at the local door."""


class Callers:
    """All connections, in the order in which they came. `most`: how many there may be.

    An answer makes none younger: else busy connections would stay, and push out those that have just come.
    """

    def __init__(self, make_protocol: MakeProtocol, most: int) -> None:
        self.most = most
        self._make_protocol = make_protocol
        self._all: dict[Caller, None] = {}
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._all)

    def admit(self, connection: socket.socket, peer: Sender) -> None:
        """Takes over a new connection from this sender, in the place of the oldest one where it must be."""
        if len(self._all) >= self.most:
            self.close_oldest()
        self._all[Caller(self, connection, peer)] = None
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def close_oldest(self) -> bool:
        """Closes the oldest connection that is not in the middle of an answer. False where there is none at all.

        Answers keep half of the places for sure. Where more are under way, the oldest of all connections is closed:
        else those who do not take their answers would leave newcomers no place but one another's.
        """
        candidates = self._candidates()
        oldest = next(iter(candidates), None)
        if 2 * sum(one.answering for one in candidates) <= self.most:
            oldest = next((one for one in candidates if not one.answering), oldest)
        if oldest is not None:
            oldest.close()
        return oldest is not None

    def _candidates(self) -> list[Caller]:
        """Those of whom one makes room, in the order in which they came."""
        return list(self._all)

    def close_idle(self) -> None:
        """Closes every connection that is not in the middle of an answer."""
        for one in [one for one in self._all if not one.answering]:
            one.close()

    def close(self) -> None:
        """Closes them all."""
        for one in list(self._all):
            one.close()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def protocol(self) -> asyncio.Protocol:
        """What speaks HTTP on one connection."""
        return self._make_protocol()

    def gone(self, caller: Caller) -> None:
        """This one is closed."""
        self._all.pop(caller, None)

    def _sweep(self) -> None:
        """Closes those whose time is over, and looks again as long as there are any."""
        now = self._loop.time()
        for one in [one for one in self._all if one.deadline <= now]:
            one.close()
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep) if self._all else None


class LocalCallers(Callers):
    """Those at the local door. The user who has the most connections makes room: so no user can keep others out."""

    def _candidates(self) -> list[Caller]:
        held = Counter(_user(one) for one in self._all)
        most = max(held.values(), default=0)
        return [one for one in self._all if held[_user(one)] == most]


class Caller(asyncio.Protocol):
    """One connection. `peer`: who is at its other end. `deadline`: when it is closed, by the loop's clock."""

    def __init__(self, callers: Callers, connection: socket.socket, peer: Sender) -> None:
        self.peer = peer
        self.answering = False
        self._callers, self._connection = callers, connection
        self._loop = asyncio.get_running_loop()
        self.deadline = self._loop.time() + IDLE_SECONDS
        self._head_begun = False
        self._head = b""
        self._closed = False
        self._transport: asyncio.Transport | None = None
        self._protocol: asyncio.Protocol | None = None
        self._begin: asyncio.Task[None] | None = None
        self._loop.add_reader(connection, self._read_head)
        self._loop.call_soon(self._read_head)  # with a request that came with the connection, a turn earlier

    @contextmanager
    def answer(self) -> Iterator[None]:
        """While an answer is made and sent."""
        self.answering = True
        self.deadline = self._loop.time() + ANSWER_SECONDS
        try:
            yield
        finally:
            self.answering = self._head_begun = False
            self.deadline = self._loop.time() + IDLE_SECONDS

    def close(self) -> None:
        """At once: what the peer has not taken yet is thrown away."""
        self._callers.gone(self)
        if self._closed:
            return
        self._closed = True
        if self._transport is not None:
            self._transport.abort()
        elif self._begin is None:
            self._loop.remove_reader(self._connection)
            self._connection.close()

    def _read_head(self) -> None:
        """The peer has sent a part of its first request's head, or all of it, or has gone."""
        if self._closed or self._begin is not None:
            return
        try:
            piece = self._connection.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self.close()
            return
        self._head += piece
        self._heard()
        if _may_be_complete(self._head):
            self._loop.remove_reader(self._connection)
            self._begin = self._loop.create_task(self._speak_http())

    async def _speak_http(self) -> None:
        try:
            await self._loop.connect_accepted_socket(self._itself, self._connection)
        except OSError:
            self._callers.gone(self)
            self._connection.close()

    def _itself(self) -> Caller:
        return self

    def _heard(self) -> None:
        """Bytes have come: outside of an answer they are of a request's head."""
        if not self.answering and not self._head_begun:
            self._head_begun = True
            self.deadline = self._loop.time() + HEAD_SECONDS

    # What the transport calls. All of it goes on to the HTTP protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=0)  # so an answer is sent when the kernel has all of it
        self._protocol = self._callers.protocol()
        self._protocol.connection_made(transport)
        if self._closed:  # meanwhile
            transport.abort()
        else:
            self._protocol.data_received(self._head)

    def data_received(self, data: bytes) -> None:
        self._heard()
        if self._protocol is not None:
            self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received() if self._protocol is not None else None

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._callers.gone(self)
        if self._protocol is not None:
            self._protocol.connection_lost(exc)


def _user(caller: Caller) -> int | None:
    return caller.peer.uid if isinstance(caller.peer, Peer) else None


def _may_be_complete(head: bytes) -> bool:
    """Whether the HTTP protocol may have something to say to this beginning, an error included."""
    return b"\r\n\r\n" in head or len(head) > _HEAD_BYTES or not head[:1].isalpha()
