"""Who makes room at the local door: the user who has the most connections, and of that user the oldest one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from syncdaemon.base.peers import Peer
from syncdaemon.web.callers import LocalCallers

MANY, FEW, NEW = Peer(1, 1), Peer(2, 2), Peer(3, 3)


@pytest.fixture
def pairs() -> Iterator[list[socket.socket]]:
    made: list[socket.socket] = []
    yield made
    for one in made:
        one.close()


async def test_the_user_with_the_most_connections_gives_the_oldest_up(pairs: list[socket.socket]) -> None:
    callers = LocalCallers(asyncio.Protocol, 4)
    ends: list[tuple[Peer, socket.socket]] = []

    def come(peer: Peer) -> None:
        ours, theirs = socket.socketpair()
        pairs.extend((ours, theirs))
        theirs.setblocking(False)
        ours.setblocking(False)
        ends.append((peer, theirs))
        callers.admit(ours, peer)

    def closed() -> list[int]:
        found = []
        for number, (_, theirs) in enumerate(ends):
            try:
                if not theirs.recv(1):
                    found.append(number)
            except BlockingIOError:
                pass
        return found

    for peer in (FEW, MANY, MANY, MANY):
        come(peer)
    come(NEW)
    assert closed() == [1]  # not the oldest of all, which is the other user's
    come(FEW)
    assert closed() == [1, 2]
    for _ in range(10):
        come(MANY)
    assert sorted(peer.uid for peer, _ in [ends[number] for number in range(len(ends)) if number not in closed()]) in (
        [1, 2, 2, 3],
        [1, 1, 2, 3],
    )
    callers.close()
