"""Section: how fast a file too large for a message gets into the bucket, against a raw publisher of its chunks.

Each run has a fresh server with an empty store and a file that is on disk, as files are that have waited, its contents
still in memory. The contenders take turns.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import BenchmarkFailed, Result, Spread
from benchmarks.plan import Plan
from benchmarks.process import SITE, SYNCS, contend, place, say, server
from benchmarks.report import megabytes, table
from syncdaemon.dev.server import NatsServer
from syncdaemon.stream.object_format import BucketNames, count_of
from tests.support.client import connect

_WITHIN = 300.0
_CHUNK = 128 << 10
_MIB = 1 << 20


def raw(folder: Path, server: NatsServer, size: int) -> Result:
    """One run of the raw publisher."""
    result = contend("rawchunks", {"url": server.url, "size": size}, _WITHIN)
    _check(server, count_of(size, _CHUNK))
    return result


def upload(folder: Path, server: NatsServer, size: int) -> Result:
    """One run of ours, and proof that all of it is there: every chunk and the meta."""
    make_file(folder / "replay", size)
    job = {
        "url": server.url,
        "replay": str(folder / "replay"),
        "ledger": str(folder / "ledger"),
        "within": _WITHIN,
        "settings": {},
    }
    result = contend("upload", job, _WITHIN + 60)
    _check(server, count_of(size, _CHUNK) + 1)
    return result


CONTENDERS = {"raw": raw, "ours": upload}
Case = Mapping[str, list[Result]]


def make_file(folder: Path, size: int) -> None:
    """A file of no pattern, on disk."""
    folder.mkdir()
    dice = random.Random(size)
    with (folder / "large.bin").open("wb") as file:
        for _ in range(size // _MIB):
            file.write(dice.randbytes(_MIB))
        file.flush()
        os.fsync(file.fileno())


def _check(server: NatsServer, wanted: int) -> None:
    found = asyncio.run(_messages(server.url))
    if found != wanted:
        raise BenchmarkFailed(f"the bucket has {found} messages, not {wanted}")


async def _messages(url: str) -> int:
    client = await connect(url)
    try:
        return (await client.jetstream().stream_info(BucketNames(f"edge_replay_{SITE}").stream)).state.messages
    finally:
        await client.close()


def measure_case(size: int, sync: str, plan: Plan) -> Case:
    """Every contender `plan.repeats` times, in turns."""
    runs: dict[str, list[Result]] = {name: [] for name in CONTENDERS}
    for _ in range(plan.repeats):
        for name, contender in CONTENDERS.items():
            with place() as folder, server(folder, sync) as running:
                result = contender(folder, running, size)
            say(f"objects, {size // _MIB} MiB, sync {sync}, {name}: {megabytes(size / result.wall)} MB/s")
            runs[name].append(result)
    return runs


def section(plan: Plan) -> str:
    """The section in Markdown."""
    size = plan.object_mib * _MIB
    cases = {sync: measure_case(size, sync, plan) for sync in SYNCS}
    heads = [
        "size",
        "sync",
        "MB/s raw",
        "MB/s ours",
        "ours/raw",
        "MB/s ours with its digest",
        "CPU s/GB",
        "peak RSS MB",
    ]
    return "\n".join(
        [
            "## A large file",
            "",
            "One file, from the moment that its digest is known until its receipt is on disk: read, hashed again,",
            "sent in chunks of 128 KiB, each acknowledged, the meta, the message, the row. `raw` sends such chunks",
            "from memory and counts acknowledgements, with a window of 16 MiB. With its digest: taking that counts",
            "as well. MB are 1,000,000 bytes.",
            "",
            table(heads, [_row(size, sync, case) for sync, case in cases.items()]),
        ]
    )


def _row(size: int, sync: str, case: Case) -> list[str]:
    def rate(name: str) -> float:
        return Spread.of([size / result.wall for result in case[name]]).median

    whole = Spread.of([size / (result.wall + result.first) for result in case["ours"]]).median
    cpu = Spread.of([result.cpu / size * 1e9 for result in case["ours"]]).median
    peak = max(result.peak for result in case["ours"])
    return [
        f"{size // _MIB} MiB",
        sync,
        megabytes(rate("raw")),
        megabytes(rate("ours")),
        f"{rate('ours') / rate('raw'):.2f}x",
        megabytes(whole),
        f"{cpu:.2f}",
        megabytes(peak),
    ]
