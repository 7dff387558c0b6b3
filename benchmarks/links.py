"""Section: what arrives over thin, long and lossy links, of what they could carry.

Two network namespaces with a poor line between them (a TUN device at each end, carried by a program of ours that
delays and loses packets) and `tc tbf` for its rate; a fresh server on the hub for each contender. `tcp` is what the
link carries: one plain TCP connection that sends as much as it can. Needs root.

Measured is the second part of each run, when everybody has got going: the payload that was acknowledged in it, of what
`tcp` delivered in the same time. Sent twice: messages that the server got, beyond those that it stored.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measure import BenchmarkFailed
from benchmarks.plan import Plan
from benchmarks.process import ROOT, STREAM, DaemonProcess, environment, place, say
from benchmarks.report import table
from benchmarks.workload import Workload
from syncdaemon.dev.server import NatsServer
from tests.support.network import HUB, Network

_PORT, _MONITOR, _TCP = 4222, 8222, 5001
_WARM_UP = 1 / 3  # of a run, until everybody has got going
_OTHER_MESSAGES = 12  # that a contender sends beside its files: requests to JetStream
_BUFFERS = ("net.ipv4.tcp_rmem=4096 131072 33554432", "net.ipv4.tcp_wmem=4096 16384 33554432")
_RESET = b"\1\0\0\0\0\0\0\0"


@dataclass(frozen=True)
class Line:
    """A link: kbit/s, seconds of a round trip, the share of packets lost; and how large the files are."""

    kbit: int
    round_trip: float
    loss: float
    size: int

    def __str__(self) -> str:
        lost = f", {self.loss:.0%} lost" if self.loss else ""
        rate = f"{self.kbit} kbit/s" if self.kbit < 1_000 else f"{self.kbit // 1_000} Mbit/s"
        return f"{rate}, {self.round_trip * 1e3:.0f} ms{lost}"

    @property
    def nominal(self) -> float:
        """Bytes a second."""
        return self.kbit * 125.0

    def workload(self, seconds: float) -> Workload:
        """More files than it can carry in that time."""
        return Workload(int(self.nominal * seconds / self.size) + 100, self.size)


LINES = (
    Line(64, 0.05, 0.0, 8 << 10),
    Line(64, 0.6, 0.02, 8 << 10),
    Line(1_000, 0.05, 0.0, 16 << 10),
    Line(1_000, 0.6, 0.02, 32 << 10),
    Line(100_000, 0.02, 0.0, 64 << 10),
    Line(100_000, 0.6, 0.0, 64 << 10),
    Line(100_000, 0.6, 0.02, 64 << 10),
)


@dataclass(frozen=True)
class Carried:
    """`rate`: bytes of payload a second after the warm-up; `twice`: share of messages sent again; `up`: link status."""

    rate: float
    twice: float = 0.0
    up: float = 1.0


@contextmanager
def laid(line: Line) -> Iterator[Network]:
    """The network, for as long as it is needed."""
    network = Network(line=True)
    try:
        for host in (network.hub, network.edge):
            for setting in _BUFFERS:  # or the kernel's own limits are what is measured at 100 Mbit/s
                host.run("sysctl", "-qw", setting)
        network.quality(delay=line.round_trip / 2, loss=line.loss)
        network.rate(line.kbit)
        yield network
    finally:
        network.remove()


def rate_of(samples: list[tuple[float, float]], seconds: float, warm_up: float = _WARM_UP) -> float:
    """The slope of a total behind the first part of a run; `samples` are its seconds and the total."""
    late = [sample for sample in samples if sample[0] >= seconds * warm_up]
    if len(late) < 2:
        return 0.0
    return (late[-1][1] - late[0][1]) / (late[-1][0] - late[0][0])


def tcp(network: Network, seconds: float, warm_up: float = _WARM_UP) -> Carried:
    """One connection that sends all the time."""
    got = 0
    with network.hub:
        listener = socket.create_server(("0.0.0.0", _TCP))

    def swallow() -> None:
        nonlocal got
        with suppress(OSError):
            peer, _ = listener.accept()
            while data := peer.recv(1 << 16):
                got += len(data)

    threading.Thread(target=swallow, daemon=True).start()
    with network.edge:
        connection = socket.create_connection((HUB, _TCP), timeout=30)
    connection.settimeout(0.2)
    noise, began, samples = random.Random(1).randbytes(1 << 15), time.monotonic(), [(0.0, 0.0)]
    while (now := time.monotonic() - began) < seconds:
        with suppress(TimeoutError):
            connection.send(noise)
        if now - samples[-1][0] > 0.2:
            samples.append((now, float(got)))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()
    listener.close()
    return Carried(rate_of(samples, seconds, warm_up))


@contextmanager
def hub_server(network: Network, folder: Path) -> Iterator[str]:
    """A server on the hub; its URL for the edge."""
    server = NatsServer(folder / "nats", port=_PORT, config=f'listen: "0.0.0.0:{_PORT}"\nhttp: "127.0.0.1:{_MONITOR}"')
    with network.hub:
        server.start()
    try:
        yield f"nats://{HUB}:{_PORT}"
    finally:
        server.stop()


def sent_again(network: Network) -> float:
    """Messages that came to the server and were not stored, of those that were."""
    with network.hub:
        with urllib.request.urlopen(f"http://127.0.0.1:{_MONITOR}/varz", timeout=5) as answer:
            came = json.load(answer)["in_msgs"]
        with urllib.request.urlopen(f"http://127.0.0.1:{_MONITOR}/jsz", timeout=5) as answer:
            stored = json.load(answer)["messages"]
    return float(max(0, came - _OTHER_MESSAGES - stored) / max(1, stored))


def ours(network: Network, folder: Path, line: Line, seconds: float) -> Carried:
    """The daemon with its default settings."""
    samples: list[tuple[float, float]] = []
    up = 0
    with hub_server(network, folder) as url, network.edge:
        with DaemonProcess(folder, url) as daemon:
            line.workload(seconds).make(daemon.replay)
            began = time.monotonic()
            while (now := time.monotonic() - began) < seconds:
                status = daemon.status()
                samples.append((now, float(status["published_bytes"])))
                up += bool(status["link"]["up"])
                time.sleep(0.2)
        return Carried(rate_of(samples, seconds), sent_again(network), up / len(samples))


def naive(network: Network, folder: Path, line: Line, seconds: float) -> Carried:
    """64 at once, five seconds of patience."""
    with hub_server(network, folder) as url, network.edge:
        job = {"url": url, "stream": STREAM, "workload": asdict(line.workload(seconds))}
        command = [sys.executable, "-m", "benchmarks.naive", json.dumps(job)]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        began = time.monotonic()
        timer = threading.Timer(seconds, process.terminate)
        timer.start()
        samples, total = [(0.0, 0.0)], 0.0
        assert process.stdout is not None
        for told in process.stdout:
            at, size = json.loads(told)
            total += size
            samples.append((at - began, total))
        process.wait()
        timer.cancel()
        samples.append((seconds, total))
        return Carried(rate_of(samples, seconds), sent_again(network))


def measure(line: Line, seconds: float) -> dict[str, Carried]:
    """Every contender, one after another, each over a network of its own."""
    found: dict[str, Carried] = {}
    with laid(line) as network:
        found["tcp"] = tcp(network, seconds)
    for name, contender in (("naive", naive), ("ours", ours)):
        with place() as folder, laid(line) as network:
            found[name] = contender(network, folder, line, seconds)
    told = ", ".join(f"{name} {carried.rate:,.0f} B/s" for name, carried in found.items())
    say(f"links: {line}: {told}")
    return found


def section(plan: Plan) -> str:
    """The section in Markdown."""
    if os.geteuid() != 0:
        raise BenchmarkFailed("links: network namespaces need root")
    rows = []
    for line in (line for line in LINES if line.kbit in plan.link_kbit or not plan.link_kbit):
        found = measure(line, plan.link_seconds)
        carried, our, their = found["tcp"], found["ours"], found["naive"]
        rows.append(
            [
                str(line),
                f"{carried.rate / line.nominal:.2f}",
                f"{their.rate / carried.rate:.2f}",
                f"{our.rate / carried.rate:.2f}",
                f"{their.twice:.1%}",
                f"{our.twice:.1%}",
                f"{our.up:.1%}",
            ]
        )
    heads = ["link", "tcp/rate", "naive/tcp", "ours/tcp", "naive sent twice", "ours sent twice", "link status 1"]
    return "\n\n".join(
        [
            "## Links",
            f"{plan.link_seconds:g} s for each contender, the last two thirds of them measured; rates by `tc tbf`, "
            "round trips and losses by a relay between two network namespaces. `tcp/rate`: what one TCP connection "
            "delivers, of the nominal rate. `naive`: nats-py, 64 publishes at once, each with a time-out of 5 s and "
            "repeated. `naive/tcp`, `ours/tcp`: payload acknowledged, of what the TCP connection delivered; messages "
            "have headers of about 500 bytes beside that. `sent twice`: messages that came to the server, beyond those "
            "that it stored. Goals: ours at least 0.92 (0.85 at 64 kbit/s), at most 1 % twice, status always 1.",
            table(heads, rows),
        ]
    )
