"""A real nats-server for each test that asks for one: on a free port, its store under the test's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer

MakeNatsServer = Callable[..., NatsServer]
"""Takes the keyword arguments of `NatsServer` and returns one that is not running yet."""


@pytest.fixture
def make_nats_server(tmp_path: Path) -> Iterator[MakeNatsServer]:
    """For a server that comes later, several servers, or one of another making. All end with the test."""
    with ExitStack() as ending:

        def make(**arguments: object) -> NatsServer:
            count = len(list(tmp_path.glob("nats-server*")))
            folder = tmp_path / f"nats-server{count or ''}"
            folder.mkdir()
            server = NatsServer(folder, **arguments)  # type: ignore[arg-type]  # they are the caller's to get right
            ending.callback(server.stop)
            return server

        yield make


@pytest.fixture
def nats_server(make_nats_server: MakeNatsServer) -> NatsServer:
    """A running server with JetStream. Stopped and started again, it has the same port and store."""
    server = make_nats_server()
    server.start()
    return server
