"""A daemon at one end of a cable and its server at the other, and the bytes that the daemon's interface counts.

Two network namespaces joined by a veth pair. Its counters hold every frame with all of its headers: Ethernet, IP, TCP,
TLS, and the acknowledgements of TCP. Needs root.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import BenchmarkFailed
from benchmarks.process import place
from syncdaemon.dev.server import NatsServer
from tests.support.certificates import Certificates, issued
from tests.support.network import HUB, Network

_PORT = 4222
_QUIET = (  # what hosts ask one another on an Ethernet, and not over the line to a hub, is no cost of the daemon
    "net.ipv6.conf.all.disable_ipv6=1",
    "net.ipv4.neigh.wire.base_reachable_time_ms=86400000",
)
_TICKETS_SECONDS = 0.3  # the server sends its session tickets after the handshake
_REST_SECONDS = 0.2  # until the last packets have gone


class Bytes(NamedTuple):
    """Bytes that left the daemon's host, and those that came to it."""

    up: int
    down: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.up + self.down

    def since(self, before: Bytes) -> Bytes:
        """What was added."""
        return Bytes(self.up - before.up, self.down - before.down)


class Wire:
    """The two hosts and the server. `url` and `login` are what the daemon needs for it; `edge` is the daemon's host."""

    def __init__(self, network: Network, certificates: Certificates | None) -> None:
        self.edge = network.edge
        self.url = f"{'nats' if certificates is None else 'tls'}://{HUB}:{_PORT}"
        self._ca = None if certificates is None else str(certificates.ca)
        self.login = {} if self._ca is None else {"NATS_TLS_CA": self._ca}

    def counted(self) -> Bytes:
        """What the daemon's interface has counted until now."""
        with self.edge:
            shown = subprocess.run(
                ("ip", "-s", "-j", "link", "show", "wire"), capture_output=True, text=True, check=True
            )
        statistics = json.loads(shown.stdout)[0]["stats64"]
        return Bytes(statistics["tx"]["bytes"], statistics["rx"]["bytes"])

    def handshake(self) -> Bytes:
        """What one TLS handshake takes, with the one of TCP, the server's greeting and the end of the connection."""
        before = self.counted()
        context = ssl.create_default_context(cafile=self._ca)
        with self.edge, socket.create_connection((HUB, _PORT), timeout=5) as raw:
            raw.recv(1 << 16)
            with context.wrap_socket(raw, server_hostname=HUB) as secure, suppress(TimeoutError):
                secure.settimeout(_TICKETS_SECONDS)
                secure.recv(1)
        time.sleep(_REST_SECONDS)
        return self.counted().since(before)


@contextmanager
def laid(*, tls: bool) -> Iterator[tuple[Wire, Path]]:
    """The wire, and a folder for the daemon; both are gone afterwards."""
    if os.geteuid() != 0:
        raise BenchmarkFailed("network namespaces need root")
    network = Network()
    try:
        for host in (network.hub, network.edge):
            host.run("sysctl", "-qw", *_QUIET)
        with place() as folder:
            certificates = issued(_made(folder / "certificates"), HUB) if tls else None
            config = f'listen: "0.0.0.0:{_PORT}"\n{certificates.tls() if certificates else ""}'
            server = NatsServer(folder / "nats", port=_PORT, config=config)
            with network.hub:
                server.start()
            try:
                yield Wire(network, certificates), folder
            finally:
                server.stop()
    finally:
        network.remove()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
