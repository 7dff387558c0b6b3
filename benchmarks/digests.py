"""What a hub's stream costs by the number of its digests: memory, disk, and the time of a start.

The stream is that of the daemon, with messages like a daemon's whose bodies have 100 bytes. The messages come in atomic
batches, as quickly as the server takes them. Then the server is ended in good order and started, and killed and
started.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.feeder import Feeder
from benchmarks.measure import BenchmarkFailed, Memory
from benchmarks.plan import Plan
from benchmarks.process import place, say
from benchmarks.report import megabytes, table
from syncdaemon.dev.server import NatsServer
from syncdaemon.settings import parts
from syncdaemon.settings.values import Settings
from syncdaemon.stream.room import start_seconds
from tests.support.client import connect

_SITE = "bench"


class Measured(NamedTuple):
    """Bytes and seconds. `empty`: resident memory of a server without messages."""

    digests: int
    empty: int
    fed: int
    disk: int
    clean: float
    killed: float
    rested: int


def measure(digests: int) -> Measured:
    """One server of its own."""
    with place() as folder:
        server = NatsServer(folder / "nats", ready_within=300)
        server.start()
        try:
            empty = Memory.of(server.pid).now
            asyncio.run(_fill(server, digests))
            fed, disk = Memory.of(server.pid).now, _size(server.folder / "store")
            server.stop()
            clean = _start(server)
            rested = Memory.of(server.pid).now
            server.kill()
            killed = _start(server)
        finally:
            server.stop()
    say(f"digests: {digests:,}: {megabytes(fed)} MB, a start after kill -9 in {killed:.1f} s")
    return Measured(digests, empty, fed, disk, clean, killed, rested)


def _start(server: NatsServer) -> float:
    began = time.monotonic()
    server.start()
    asyncio.run(_held(server))
    return time.monotonic() - began


async def _fill(server: NatsServer, digests: int) -> None:
    """The stream, and all messages in it."""
    client = await connect(server.url)
    config = parts.stream(Settings.load({"SITE": _SITE}, {}, {}).settings).config("2.15.1")
    answer = await client.request("$JS.API.STREAM.CREATE.swarm_jobs", json.dumps(config).encode(), 10)
    await client.close()
    if b'"error"' in answer.data:
        raise BenchmarkFailed(f"the stream can't be made: {answer.data!r}")
    if refused := await Feeder(server.port, _SITE).feed(digests):
        raise BenchmarkFailed(f"the server refuses: {refused}")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def _held(server: NatsServer) -> int:
    client = await connect(server.url, connect_timeout=60)
    state = (await client.jetstream(timeout=60).stream_info("swarm_jobs")).state
    await client.close()
    return state.messages


def section(plan: Plan) -> str:
    """The section in Markdown."""
    rows = []
    for count in plan.digests:
        found = measure(count)
        rows.append(
            [
                f"{count:,}",
                megabytes(found.fed),
                f"{(found.fed - found.empty) / count:,.0f}",
                f"{(found.rested - found.empty) / count:,.0f}",
                megabytes(found.disk),
                f"{found.clean:.1f}",
                f"{found.killed:.1f}",
                f"{start_seconds(count, found.disk):.1f}",
            ]
        )
    heads = ["digests", "RSS MB when fed", "B a digest", "B a digest after a start", "disk MB"]
    return "\n\n".join(
        [
            "## What digests cost",
            "Bodies of 100 B, a subject for each digest, one copy on file storage. The last column is what `doctor` "
            "projects for a start after kill -9.",
            table([*heads, "clean start s", "start after kill -9 s", "projected s"], rows),
        ]
    )
