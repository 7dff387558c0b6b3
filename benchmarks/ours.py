"""Contender `ours`: `deliver_all(Daemon(settings))`, as the command `syncdaemon drain` runs it.

Measured is the scan of the directory, and then everything from the moment that the link is connected and the stream
prepared (delivery's first `ready`) until the last file has left the directory for the hold: start-up apart, as for
the others. CPU is that of the whole process in these two spans, all its threads.

Whenever the drain reports its progress, depth + acknowledged files must be the number of files, to the file. The
acknowledged ones are counted where delivery tells the replay directory of them.

The job's `settings` are further ones, by variable. Its `way` has all messages go as singles, or as atomic batches,
instead of what the daemon finds out to be faster.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import structlog

from benchmarks.measure import BenchmarkFailed, Cost, Memory, Result
from benchmarks.process import settings
from syncdaemon.base.model import Receipt
from syncdaemon.daemon import Daemon
from syncdaemon.daemon.drain import deliver_all
from syncdaemon.link import Session
from syncdaemon.publish.choice import Choice, Way


class Witness:
    """Stands where delivery meets the directory and the publisher, passes every call on, and notes the clocks."""

    def __init__(self, daemon: Daemon, files: int) -> None:
        self.samples = 0
        self.exact = 0
        self.scanned: Cost | None = None
        self.opened: Cost | None = None
        self.first: Cost | None = None
        self.ended: Cost | None = None
        self._files = files
        self.acknowledged_files = 0
        self._real: dict[str, Any] = {}
        for owner, name in (
            (daemon.spool, "scan"),
            (daemon.publisher, "ready"),
            (daemon.spool, "acknowledged"),
            (daemon.spool, "retire"),
        ):
            self._real[name] = getattr(owner, name)
            setattr(owner, name, getattr(self, name))

    async def scan(self) -> None:
        before = Cost.now()
        await self._real["scan"]()
        self.scanned = self.scanned or Cost.now().since(before)

    async def ready(self) -> Session:
        session: Session = await self._real["ready"]()
        self.opened = self.opened or Cost.now()
        return session

    def acknowledged(self, paths: Iterable[bytes]) -> None:
        counted = list(paths)
        self._real["acknowledged"](counted)
        self.acknowledged_files += len(counted)
        if counted:
            self.first = self.first or Cost.now()

    async def retire(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        kept: list[Receipt] = await self._real["retire"](receipts)
        self.ended = Cost.now()
        return kept

    def progress(self, daemon: Daemon) -> None:
        """One sample of the depth."""
        self.samples += 1
        spool = daemon.spool
        self.exact += spool.depth + self.acknowledged_files == self._files

    def result(self, began: Cost) -> Result:
        """What was measured, of a drain that began then."""
        if self.acknowledged_files != self._files:
            raise BenchmarkFailed(f"{self.acknowledged_files} of {self._files} files acknowledged")
        if not (self.scanned and self.opened and self.first and self.ended):
            raise BenchmarkFailed("the drain did not go the way that is measured")
        work = self.ended.since(self.opened)
        return Result(
            files=self._files,
            wall=self.scanned.wall + work.wall,
            cpu=self.scanned.cpu + work.cpu,
            peak=Memory.of(os.getpid()).peak,
            first=self.first.since(began).wall,
            samples=self.samples,
            exact=self.exact,
        )


def main() -> None:
    """The program: its job is one argument, JSON."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    job = json.loads(sys.argv[1])
    places = {"NATS_URL": job["url"], "SYNC_REPLAY_DIR": job["replay"], "SYNC_LEDGER_DIR": job["ledger"]}
    given = settings(**places, **job["settings"])
    began = Cost.now()
    daemon = Daemon(given)
    if job["way"]:
        daemon.publisher.batches.choice = Choice(Way(job["way"]))
    witness = Witness(daemon, job["files"])
    asyncio.run(deliver_all(daemon, job["within"], witness.progress))
    witness.result(began).tell()


if __name__ == "__main__":
    main()
