"""Section: what it costs a coroutine to have files read and written in threads.

The same work in three ways: one thread switch for a batch, as the daemon reads, moves and records; one for each file;
and aiofiles, which has one for each call on a file. Read is what a batch reads: open, read, close. Written is what an
order or a sidecar is: a temporary file, fsync, rename, fsync of the directory.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import aiofiles
import aiofiles.os

from benchmarks.measure import Cost
from benchmarks.plan import Plan
from benchmarks.process import place, say
from benchmarks.report import table
from syncdaemon.base.disk import fsync_dir, write_durably

_BATCH = 512  # files that are read at a time
_READ_BYTES = 4 << 10
_ORDERS = 64  # files that are written at a time
_ORDER = b'{"name": "a", "path": "a", "reason": "too_large", "sha256": "0", "size": 1, "to": "a"}\n' * 4

Way = Callable[[Sequence[bytes]], Awaitable[None]]


def _read(path: bytes) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.read(fd, _READ_BYTES)
    finally:
        os.close(fd)


def _read_all(paths: Sequence[bytes]) -> None:
    for path in paths:
        _read(path)


def _write_all(paths: Sequence[bytes]) -> None:
    for path in paths:
        write_durably(path, _ORDER)


async def read_in_a_batch(paths: Sequence[bytes]) -> None:
    """One thread switch."""
    await asyncio.to_thread(_read_all, paths)


async def read_each(paths: Sequence[bytes]) -> None:
    """One thread switch a file."""
    for path in paths:
        await asyncio.to_thread(_read, path)


async def read_with_aiofiles(paths: Sequence[bytes]) -> None:
    """Three thread switches a file."""
    for path in paths:
        async with aiofiles.open(path, "rb", buffering=0) as file:
            await file.read(_READ_BYTES)


async def write_in_a_batch(paths: Sequence[bytes]) -> None:
    """One thread switch."""
    await asyncio.to_thread(_write_all, paths)


async def write_each(paths: Sequence[bytes]) -> None:
    """One thread switch a file."""
    for path in paths:
        await asyncio.to_thread(write_durably, path, _ORDER)


async def write_with_aiofiles(paths: Sequence[bytes]) -> None:
    """Six thread switches a file."""
    fsync = aiofiles.os.wrap(os.fsync)
    sync_dir = aiofiles.os.wrap(fsync_dir)
    for path in paths:
        temporary = path + b".tmp"
        async with aiofiles.open(temporary, "wb", buffering=0) as file:
            await file.write(_ORDER)
            await fsync(file.fileno())
        await aiofiles.os.rename(temporary, path)
        await sync_dir(os.path.dirname(path))


READ: dict[str, Way] = {
    "read, one switch a batch": read_in_a_batch,
    "read, one a file": read_each,
    "read, aiofiles": read_with_aiofiles,
}
WRITE: dict[str, Way] = {
    "write durably, one switch a batch": write_in_a_batch,
    "write durably, one a file": write_each,
    "write durably, aiofiles": write_with_aiofiles,
}


async def measure(way: Way, paths: Sequence[bytes], rounds: int) -> Cost:
    """Seconds a file, after one round that does not count."""
    await way(paths)
    before = Cost.now()
    for _ in range(rounds):
        await way(paths)
    spent = Cost.now().since(before)
    files = rounds * len(paths)
    return Cost(spent.wall / files, spent.cpu / files)


def _files(folder: Path) -> list[bytes]:
    data = os.urandom(_READ_BYTES)
    for number in range(_BATCH):
        (folder / f"{number}.bin").write_bytes(data)
    return [os.fsencode(folder / f"{number}.bin") for number in range(_BATCH)]


def section(plan: Plan) -> str:
    """The section in Markdown."""
    rows = []
    with place() as folder:
        paths = _files(folder)
        orders = [os.fsencode(folder / f"{number}.json") for number in range(_ORDERS)]
        for ways, over, rounds in ((READ, paths, plan.hops), (WRITE, orders, max(1, plan.hops // 10))):
            for name, way in ways.items():
                cost = asyncio.run(measure(way, over, rounds))
                say(f"hops: {name}: {cost.cpu * 1e6:.0f} µs of CPU a file")
                rows.append([name, f"{cost.cpu * 1e6:,.0f}", f"{cost.wall * 1e6:,.0f}", f"{1 / cost.wall:,.0f}"])
    return "\n\n".join(
        [
            "## Thread switches",
            f"Batches of {_BATCH} files of 4 KiB are read, and {_ORDERS} small files are written durably.",
            table(["way", "CPU µs a file", "wall µs a file", "files/s"], rows),
        ]
    )
