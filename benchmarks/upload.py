"""Contender `upload`: one large file, as the daemon's drain delivers it.

Measured from the moment that its digest is known and the lane is open until its receipt is on disk: every chunk read,
hashed again and acknowledged, the object's meta, the message that names it, the row. `first` is how long taking the
digest took before that, which no upload can begin without.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence

import structlog

from benchmarks.measure import BenchmarkFailed, Cost, Memory, Result
from benchmarks.process import settings
from syncdaemon.base.model import Content, Refusal
from syncdaemon.daemon import Daemon
from syncdaemon.daemon.drain import deliver_all
from syncdaemon.ledger import Entry
from syncdaemon.link import Session


class Witness:
    """Stands where delivery meets directory, bucket and ledger, passes every call on, and notes the clocks."""

    def __init__(self, daemon: Daemon) -> None:
        self.hashed = 0.0
        self.began: Cost | None = None
        self.ended: Cost | None = None
        self._read, self._store = daemon.spool.read_large, daemon.objects.store
        self._record = daemon.ledger.record
        daemon.spool.read_large = self.read_large  # type: ignore[method-assign]
        daemon.objects.store = self.store  # type: ignore[method-assign]
        daemon.ledger.record = self.record  # type: ignore[method-assign]

    async def read_large(self, size_class: int) -> Content | Refusal | None:
        before = Cost.now()
        found = await self._read(size_class)
        self.hashed = Cost.now().since(before).wall
        return found

    async def store(self, content: Content, session: Session) -> bool | Refusal:
        self.began = self.began or Cost.now()
        return await self._store(content, session)

    async def record(self, entries: Sequence[Entry]) -> None:
        await self._record(entries)
        if any(event == "published" for event, _ in entries):
            self.ended = Cost.now()

    def result(self) -> Result:
        """What was measured."""
        if not (self.began and self.ended):
            raise BenchmarkFailed("the file did not go the way that is measured")
        spent = self.ended.since(self.began)
        return Result(1, spent.wall, spent.cpu, Memory.of(os.getpid()).peak, first=self.hashed)


def main() -> None:
    """The program: its job is one argument, JSON."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    job = json.loads(sys.argv[1])
    places = {"NATS_URL": job["url"], "SYNC_REPLAY_DIR": job["replay"], "SYNC_LEDGER_DIR": job["ledger"]}
    given = settings(**places, **job["settings"])
    daemon = Daemon(given)
    witness = Witness(daemon)
    asyncio.run(deliver_all(daemon, job["within"]))
    witness.result().tell()


if __name__ == "__main__":
    main()
