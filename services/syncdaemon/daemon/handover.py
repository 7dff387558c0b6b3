"""What the local door asks: files that are handed over, and the receipts of tickets."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import structlog

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.base.peers import Peer
from syncdaemon.base.tickets import TicketKey
from syncdaemon.deliver.unretired import Unretired
from syncdaemon.ledger import Ledger
from syncdaemon.ledger.memory import Told
from syncdaemon.ledger.rows import DUPLICATE, REFUSED
from syncdaemon.ledger.search import search
from syncdaemon.spool.spool import Spool
from syncdaemon.web.calls import Question

_REST = 3.0  # so many times as long as the search worked: it gets at most a quarter of the loop's time
_SHORTEST_REST = 0.001  # seconds

log = structlog.get_logger(__name__)


def _none() -> None:
    return None


class HandOver:
    """Takes files that are handed over, and answers for tickets by the ledger alone.

    A row that was written since the hand-over is known in memory. For older ones the ledger's files are searched, one
    search at a time for all who wait. `proved_rows`: how many rows a checkpoint covers; None: this site makes none.
    """

    def __init__(
        self, spool: Spool, ledger: Ledger, unretired: Unretired, proved_rows: Callable[[], int | None] = _none
    ) -> None:
        self._proved_rows = proved_rows
        self._spool, self._ledger, self._memory = spool, ledger, ledger.tickets
        self._unretired = unretired
        self._waiting: dict[TicketKey, set[asyncio.Event]] = {}
        self._to_search: dict[TicketKey, date | None] = {}
        self._searching: asyncio.Task[None] | None = None
        self._once_a_minute = OnceAMinute()
        self._ended = threading.Event()
        self._thread = ThreadPoolExecutor(1, "receipts")
        self._memory.on_answered = self._answered

    def hand_over(self, key: TicketKey, peer: Peer) -> bool:
        """A user says that a file is complete. Whether that counts; else the file waits as any other."""
        path = key.path
        fresh = self._is_fresh(key, path)
        own = self._spool.hand_over(path, peer.uid, key.sha256)
        self._memory.handed_over(key, own=own, fresh=own and fresh)
        return own

    def _is_fresh(self, key: TicketKey, path: bytes) -> bool:
        """Whether the row of the file that lies there is still to be written."""
        directory, queue = self._spool.directory, self._spool.queue
        folders = directory.folders
        try:
            stamp = folders.stamp_at(path)
        except (OSError, ValueError):
            return False
        has_receipt = self._unretired.has_version(key.name, stamp.mtime_ns, key.sha256)
        return not has_receipt and not queue.flies(path)

    async def receipts(self, question: Question) -> dict[str, dict[str, Any]]:
        """What the ledger says of these tickets, by their texts: as soon as it says something of one, or in time."""
        deadline = asyncio.get_running_loop().time() + question.wait
        told = {key: self._memory.asked(key) for key in question.keys}
        if unsearched := self._memory.unsearched(question.keys):
            self._search(unsearched, question.since)
        if not any(told.values()):
            await self._any_told(question.keys, deadline)
            told = {key: self._memory.asked(key) for key in question.keys}
        proved = self._proved_rows()
        return {key.text: _shown(found, proved) for key, found in told.items() if found is not None}

    async def _any_told(self, keys: Iterable[TicketKey], deadline: float) -> None:
        came = asyncio.Event()
        keys = list(keys)
        for key in keys:
            self._waiting.setdefault(key, set()).add(came)
        try:
            async with asyncio.timeout_at(deadline):
                await came.wait()
        except TimeoutError:
            pass
        finally:
            for key in keys:
                self._waiting[key].discard(came)
                if not self._waiting[key]:
                    del self._waiting[key]

    def _answered(self, keys: Sequence[TicketKey]) -> None:
        for key in keys:
            for came in self._waiting.get(key, ()):
                came.set()

    def _search(self, keys: Iterable[TicketKey], since: float | None) -> None:
        day = None if since is None else datetime.fromtimestamp(since, UTC).date()
        for key in keys:
            self._to_search[key] = day
        if self._searching is None or self._searching.done():
            self._searching = asyncio.create_task(self._search_all())

    async def _search_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._to_search:
            wanted, self._to_search = self._to_search, {}
            days = [day for day in wanted.values() if day is not None]
            since = min(days) if len(days) == len(wanted) else None
            look = partial(search, self._ledger.folder, self._ledger.site, set(wanted), since, Rests(self._ended))
            try:
                found: Mapping[TicketKey, Told] = await loop.run_in_executor(self._thread, look)
            except OSError as error:
                if self._once_a_minute.due(loop.time()):
                    log.error("ledger_not_searched", error=str(error), effect="receipts of older files are not told")
                return
            for key in wanted:
                self._memory.found(key, found.get(key))
            self._answered(list(found))

    async def close(self) -> None:
        """Ends the search that is under way."""
        self._ended.set()
        if self._searching is not None:
            self._searching.cancel()
            await asyncio.gather(self._searching, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)


class SearchEnded(Exception):
    """The process ends, and nobody waits for what the search may find."""


class Rests:
    """Each call rests for longer than the work since the last one took, so that the loop has most of the time.

    It raises SearchEnded when `ended` is set: the process could not end before the search.
    """

    def __init__(self, ended: threading.Event) -> None:
        self._ended = ended
        self._since = time.perf_counter()

    def __call__(self) -> None:
        if self._ended.is_set():
            raise SearchEnded
        time.sleep(max(_SHORTEST_REST, _REST * (time.perf_counter() - self._since)))
        self._since = time.perf_counter()


def _shown(told: Told, proved_rows: int | None) -> dict[str, Any]:
    fields = told.fields
    if told.event == REFUSED:
        return {"state": "refused", "reason": fields["reason"], "error": fields["error"], "row": told.n}
    return {
        "state": "delivered",
        "stream": fields["stream"],
        "stream_seq": fields["stream_seq"],
        "duplicate": told.event == DUPLICATE,
        "row": told.n,
        "proved": None if proved_rows is None else told.n <= proved_rows,
    }
