"""Ports for the servers of the tests, of which no other test process on this machine takes one.

That a port is free now says nothing of the next moment: another process may bind it first. Yet a daemon is given its
port before it starts, a server keeps its port while it is stopped, and at the address of an absent server nothing may
listen. So every process that runs tests takes a block of ports for itself. It listens on the first port of its block
for as long as it lives: whoever has that port owns the block.

The blocks end where the ports begin that `syncdaemon.dev.server.free_port` chooses from: the tests leave those to
`syncdaemon dev`.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice
from typing import NamedTuple

from syncdaemon.dev.server import HOST

_BLOCKS = range(10_000, 20_000, 200)


def own_port() -> int:
    """A port of this process on which nothing listens; a port comes again only after all the others of its block."""
    for port in islice(_block().ports, _BLOCKS.step):
        if listener := _listen(port):
            listener.close()
            return port
    raise RuntimeError("every port of this process is in use")


class _Block(NamedTuple):
    """The ports of this process, again and again; `owner` listens on the one before them."""

    owner: socket.socket
    ports: Iterator[int]


@cache
def _block() -> _Block:
    for first in random.sample(_BLOCKS, len(_BLOCKS)):
        if owner := _listen(first):
            return _Block(owner, cycle(range(first + 1, first + _BLOCKS.step)))
    raise RuntimeError(f"no block of ports is left on {HOST} from {_BLOCKS.start} to {_BLOCKS.stop}")


def _listen(port: int) -> socket.socket | None:
    """Listens there; None where somebody does already."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else a port that was used a minute ago is not free
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError:
        listener.close()
        return None
    return listener
