"""Three servers that are one cluster, for streams with replicas."""

from __future__ import annotations

from syncdaemon.dev.server import HOST, NatsServer
from tests.support.ports import own_port
from tests.support.server import MakeNatsServer


def make_cluster(make_nats_server: MakeNatsServer, running: int = 3) -> list[NatsServer]:
    """Three servers that know each other; so many of them run."""
    ports = [own_port() for _ in range(3)]
    routes = ", ".join(f"nats://{HOST}:{port}" for port in ports)
    config = "cluster {{ name: three, listen: '{host}:{port}', routes: [{routes}] }}"
    servers = [make_nats_server(config=config.format(host=HOST, port=port, routes=routes)) for port in ports]
    for server in servers[:running]:
        server.start()
    return servers
