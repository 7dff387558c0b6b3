"""Contender `ours`: `Daemon(settings).drain()`, as the command `syncdaemon drain` runs it.

Measured is the whole drain, from the making of the daemon until it has given everything back: the scan, every step of
every file, the hold, the ledger's last row. Taken off is what a drain of a single file costs, done just before in the
same process, with the same server and ledger: connecting, looking at the stream, starting and ending. A single file
goes ahead even of that one, so that whatever happens once in a process, the making of the stream among it, is neither
measured nor taken off. Both single files lie in directories of their own. Imports are over when the clocks start.
A drain looks every 50 ms whether it is done, so `wall` is right to that.

Whenever the drain reports its progress, depth + acknowledged files must be the number of files, to the file. The
acknowledged ones are counted where delivery tells the replay directory of them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable

import structlog

from benchmarks.measure import BenchmarkFailed, Cost, Memory, Result
from benchmarks.process import settings
from syncdaemon.daemon import Daemon
from syncdaemon.settings import Settings


class Sampler:
    """Looks over a drain's shoulder, on its event loop."""

    def __init__(self, daemon: Daemon, files: int) -> None:
        self.samples = 0
        self.exact = 0
        self.first_at = 0.0
        self._files = files
        self._acknowledged = 0
        self._pass_on: Callable[[Iterable[bytes]], None] = daemon.spool.acknowledged
        setattr(daemon.spool, "acknowledged", self._count)  # noqa: B010 (it is a method to the type checker)

    def _count(self, paths: Iterable[bytes]) -> None:
        counted = list(paths)
        if counted and not self._acknowledged:
            self.first_at = time.perf_counter()
        self._acknowledged += len(counted)
        self._pass_on(counted)

    def progress(self, daemon: Daemon) -> None:
        """One sample."""
        self.samples += 1
        self.exact += daemon.spool.backlog.depth + self._acknowledged == self._files


def drain(given: Settings, files: int, within: float) -> tuple[Cost, Cost, Sampler]:
    """Delivers all that is there; the clocks before, what it cost, and what was seen meanwhile."""
    before = Cost.now()
    daemon = Daemon(given)
    sampler = Sampler(daemon, files)
    asyncio.run(daemon.drain(within, sampler.progress))
    spent = Cost.now().since(before)
    if (daemon.delivered, daemon.refused) != (files, 0):
        raise BenchmarkFailed(f"{daemon.delivered} of {files} files delivered, {daemon.refused} refused")
    return before, spent, sampler


def main() -> None:
    """The program: its job is one argument, JSON. `singles` are two directories with a file each."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    job = json.loads(sys.argv[1])
    once, before, real = (
        settings(NATS_URL=job["url"], SYNC_LEDGER_DIR=job["ledger"], SYNC_REPLAY_DIR=replay)
        for replay in (*job["singles"], job["replay"])
    )
    drain(once, 1, job["within"])
    _, fixed, _ = drain(before, 1, job["within"])
    began, spent, sampler = drain(real, job["files"], job["within"])
    net = spent.since(fixed)
    first = sampler.first_at - began.wall
    peak = Memory.of(os.getpid()).peak
    Result(job["files"], net.wall, net.cpu, peak, first, sampler.samples, sampler.exact).tell()


if __name__ == "__main__":
    main()
