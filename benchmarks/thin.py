"""Section: a thin line from its first second on, and what the headers of a message cost.

The line is one of `links.py`: 64 kbit/s between two network namespaces. `tcp` is one plain TCP connection that sends as
much as it can; ours is a daemon with files of 300 bytes to 40 kB, as many of each size as of its double. Both are
counted over the whole of the run, from the moment of their connection: bytes that arrived, and bytes of files that were
acknowledged. Needs root.
"""

from __future__ import annotations

import math
import os
import random
import time
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from benchmarks.links import Line, hub_server, laid, tcp
from benchmarks.measure import BenchmarkFailed
from benchmarks.plan import Plan
from benchmarks.process import SITE, DaemonProcess, place, say, settings
from benchmarks.report import size_text, table
from syncdaemon.base.model import Content, Stamp
from syncdaemon.publish.flight import length
from syncdaemon.publish.message import encode
from syncdaemon.settings import parts
from tests.support.network import Network

_LINE = Line(64, 0.05, 0.0, 8 << 10)
_SECONDS = 25.0
_SMALLEST, _LARGEST = 300, 40_000  # bytes of a file
_MADE = 3  # times what the line can carry
_SIZES = (300, 1 << 10, 4 << 10, 16 << 10, 40_000)


class Thin(NamedTuple):
    """Bytes a second over the whole run. `wire`: what left the daemon's host, with all headers."""

    payload: float
    wire: float


def make(folder: Path, seed: int) -> None:
    """The files, more than the line can carry."""
    dice, total = random.Random(seed), 0.0
    while total < _MADE * _LINE.nominal * _SECONDS:
        size = int(math.exp(dice.uniform(math.log(_SMALLEST), math.log(_LARGEST))))
        total += size
        (folder / f"{total:09.0f}.bin").write_bytes(dice.randbytes(size))


def sent(network: Network) -> int:
    """Bytes that left the edge until now."""
    with network.edge:
        return int(Path("/proc/net/dev").read_text().partition("wire:")[2].split()[8])


def ours(seed: int) -> Thin:
    """The daemon, with the files there before it starts."""
    with place() as folder, laid(_LINE) as network, hub_server(network, folder) as url, network.edge:
        (folder / "replay").mkdir()
        make(folder / "replay", seed)
        before = sent(network)
        with DaemonProcess(folder, url) as daemon:
            time.sleep(_SECONDS)
            status, wire = daemon.status(), sent(network) - before
    return Thin(status["published_bytes"] / _SECONDS, wire / _SECONDS)


def carried() -> float:
    """Bytes a second that one TCP connection delivers in such a run."""
    with laid(_LINE) as network:
        return tcp(network, _SECONDS, warm_up=0.0).rate


def overhead(size: int) -> int:
    """Bytes that the message of such a file has beside it: headers, subject, reply subject, and the frame."""
    digest = sha256(bytes(size)).hexdigest()
    content = Content(
        b"scan-000001.bin", "scan-000001.bin", Stamp(1, 1, size, time.time_ns(), 1), bytes(size), digest, 1
    )
    return length(encode(content, parts.message(settings(SITE=SITE)))) - size


def section(plan: Plan) -> str:
    """The section in Markdown."""
    if os.geteuid() != 0:
        raise BenchmarkFailed("thin: network namespaces need root")
    most, rows = carried(), []
    for seed in range(plan.repeats):
        found = ours(seed)
        say(f"thin: {found}, tcp {most:.0f} B/s")
        rows.append(
            [seed, f"{most:,.0f}", f"{found.payload:,.0f}", f"{found.payload / most:.2f}", f"{found.wire / most:.2f}"]
        )
    headers = [[size_text(size), overhead(size), f"{overhead(size) / (size + overhead(size)):.0%}"] for size in _SIZES]
    return "\n\n".join(
        [
            "## Thin line",
            f"{_LINE}; {_SECONDS:g} s from the connection on, files of {_SMALLEST} B to {_LARGEST // 1000} kB that are "
            "there before the start. Goal: 0.90 of what one TCP connection delivers.",
            table(["seed", "tcp B/s", "payload B/s", "payload/tcp", "wire/tcp"], rows),
            "What a message has beside its file: headers, subject, reply subject and frame.",
            table(["file", "bytes beside it", "of the message"], headers),
        ]
    )
