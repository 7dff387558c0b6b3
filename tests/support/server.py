"""A real nats-server for each test that asks for one: on a port of its own, its store under the test's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.ports import own_port

MakeNatsServer = Callable[..., NatsServer]
"""Takes the keyword arguments of `NatsServer` and returns one that is not running yet."""


def new_server(folder: Path, **arguments: Any) -> NatsServer:
    """A server that is not running yet, on ports of this process; otherwise as `NatsServer` makes it."""
    if not arguments.get("port"):
        arguments["port"] = own_port()
    if arguments.get("monitor_port") == 0:
        arguments["monitor_port"] = own_port()
    return NatsServer(folder, **arguments)


@pytest.fixture
def make_nats_server(tmp_path: Path) -> Iterator[MakeNatsServer]:
    """For a server that comes later, several servers, or one of another making. All end with the test."""
    with ExitStack() as ending:

        def make(**arguments: Any) -> NatsServer:
            count = len(list(tmp_path.glob("nats-server*")))
            folder = tmp_path / f"nats-server{count or ''}"
            folder.mkdir()
            server = new_server(folder, **arguments)
            ending.callback(server.stop)
            return server

        yield make


@pytest.fixture
def nats_server(make_nats_server: MakeNatsServer) -> NatsServer:
    """A running server with JetStream. Stopped and started again, it has the same port and store."""
    server = make_nats_server()
    server.start()
    return server
