"""Two hosts on one machine, and what can go wrong between them: network namespaces, a cable or a poor line, nftables.

Needs root. Nothing of it touches the machine's own network: the addresses exist only inside the two namespaces.

    with network.hub:
        server.start()      # a process that is started here belongs to that host
    with network.edge:
        daemon.start()
    network.black_hole()
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal

import pytest

from tests.support import needs

HUB, EDGE = "10.77.0.1", "10.77.0.2"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

Direction = Literal["both", "to hub", "to edge"]


def _run(*command: str, given: str | None = None) -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


class Host:
    """A network namespace. Inside `with host:` this thread, and what it starts, is on that host."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._home: list[int] = []
        _run("ip", "netns", "add", name)
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command: str, given: str | None = None) -> None:
        """Runs a command there."""
        with self:
            _run(*command, given=given)

    def __enter__(self) -> None:
        self._home.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        _enter(there)
        os.close(there)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        home = self._home.pop()
        _enter(home)
        os.close(home)

    def remove(self) -> None:
        """Ends it; processes that are still on it keep it alive."""
        _run("ip", "netns", "del", self.name)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Network:
    """A hub and an edge; `line`: joined by a line whose delay, jitter and loss can be set, else by a cable."""

    def __init__(self, line: bool = False) -> None:
        needs.root()
        for program in ("ip", "tc", "nft"):
            needs.program(program)
        self.hub, self.edge = Host(f"sd-hub-{os.getpid()}"), Host(f"sd-edge-{os.getpid()}")
        self._line: subprocess.Popen[str] | None = None
        if line:
            self._line = self._lay_line()
        else:
            self._lay_cable()

    def _lay_cable(self) -> None:
        cable = ("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", self.edge.name)
        self.hub.run(*cable)
        for host, address in ((self.hub, HUB), (self.edge, EDGE)):
            host.run("ip", "addr", "add", f"{address}/24", "dev", "wire")
            host.run("ip", "link", "set", "wire", "up")

    def _lay_line(self) -> subprocess.Popen[str]:
        program = str(Path(__file__).with_name("line.py"))
        names = (self.hub.name, self.edge.name, HUB, EDGE)
        line = subprocess.Popen(
            [sys.executable, program, *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert line.stdout is not None
        if line.stdout.readline() != "ready\n":
            raise RuntimeError("the line was not laid")
        return line

    def quality(self, delay: float = 0.0, jitter: float = 0.0, loss: float = 0.0) -> None:
        """Of the line: each way so many seconds, more or less; and which share of the packets never arrives."""
        assert self._line is not None
        assert self._line.stdin is not None
        self._line.stdin.write(json.dumps({"delay": delay, "jitter": jitter, "loss": loss}) + "\n")
        self._line.stdin.flush()

    def rate(self, kbit: int | None) -> None:
        """Of the cable: so many kbit/s in each direction; None: as fast as it goes."""
        for host in (self.hub, self.edge):
            host.run("tc", "qdisc", "del", "dev", "wire", "root") if kbit is None else host.run(
                *f"tc qdisc replace dev wire root tbf rate {kbit}kbit burst 8kb latency 400ms".split()
            )

    def black_hole(self, direction: Direction = "both") -> None:
        """Packets vanish; nobody is told."""
        if direction != "to edge":
            self._filter(self.hub, "drop")
        if direction != "to hub":
            self._filter(self.edge, "drop")

    def reset(self) -> None:
        """The hub answers every packet with a reset, as after a crash, and refuses new connections."""
        self._filter(self.hub, "meta l4proto tcp reject with tcp reset")

    def restore(self) -> None:
        """Packets pass again."""
        for host in (self.hub, self.edge):
            self._filter(host, "accept")

    def _filter(self, host: Host, verdict: str) -> None:
        """All that comes in from the other host meets this."""
        rules = f"""
            add table inet lab
            delete table inet lab
            table inet lab {{
                chain in {{
                    type filter hook input priority 0
                    iifname != "lo" {verdict}
                }}
            }}"""
        host.run("nft", "-f", "-", given=rules)

    def unplug(self) -> None:
        """The edge's end of the cable is out: it knows at once."""
        self.edge.run("ip", "link", "set", "wire", "down")

    def plug(self) -> None:
        """It is in again."""
        self.edge.run("ip", "link", "set", "wire", "up")

    def remove(self) -> None:
        """Nothing is left of it."""
        if self._line is not None:
            self._line.terminate()
            self._line.communicate()
        self.hub.remove()
        self.edge.remove()


@pytest.fixture
def make_network() -> Iterator[Callable[..., Network]]:
    """Lays a network; it is gone with the test."""
    made: list[Network] = []

    def make(line: bool = False) -> Network:
        made.append(Network(line))
        return made[-1]

    yield make
    for network in made:
        network.remove()
