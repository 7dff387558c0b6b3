"""`verify --stream`: the ledger of a site against the stream, both ways. Alters nothing."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from syncdaemon.base.disk import is_locked
from syncdaemon.base.errors import SettingsError
from syncdaemon.check.by_subject import each_on_its_subject
from syncdaemon.check.compare import Comparison, Fetched, Problem, Receipts, is_older, lets_go, second_look
from syncdaemon.check.content import Contents
from syncdaemon.check.freed import is_freed
from syncdaemon.check.reading import Reading, SiteMessages
from syncdaemon.check.receipts import is_per_digest
from syncdaemon.check.stock import Stock
from syncdaemon.check.subjects import Subjects
from syncdaemon.ledger import lock_path, rows_numbered
from syncdaemon.ledger.rows import HELD_LOST, OPEN, PUBLISHED, is_receipt
from syncdaemon.stream import fetch
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.buckets import ReadableBuckets
from syncdaemon.stream.stored import StoredMessage

_AT_ONCE = 64  # messages that are fetched at the same time
_TELL_EVERY = 500  # messages between two calls of `progress`
_PATIENCE, _LOOK_SECONDS = 15.0, 0.5  # the first: more than a daemon waits for an answer


class Books:
    """The receipts of a site's ledger, by stream. Give `row` the first row, and every one about receipts, in order.

    `stream` has an entry even without a receipt for it. `subject`: the messages on it are read through, and those on
    every other subject of the site that the ledger names. A receipt for another subject, such as that of a duplicate
    which another site had stored, is looked at by itself. `began`: when the first row was written, where that is the
    first one of a ledger or of what is left of it; None else.
    """

    def __init__(self, folder: Path, site: str, stream: str, subject: str) -> None:
        self.folder = folder
        self.site = site
        self.subjects = Subjects(site, subject)
        self.began: datetime | None = None
        self.last_row = 0
        self._key = secrets.token_bytes(16)
        self.receipts = {stream: Receipts(self._key)}

    def row(self, row: Mapping[str, Any]) -> None:
        """The next of these rows."""
        if not self.last_row and (row["event"] == OPEN or row["n"] > 1):
            self.began = datetime.fromisoformat(row["ts"])
        self.last_row = row["n"]
        if is_receipt(row):
            receipts = self.receipts.setdefault(row["stream"], Receipts(self._key))
            receipts.add(row, self.subjects.add(row))
        elif row["event"] == HELD_LOST:
            for receipts in self.receipts.values():
                receipts.void(row)


class Stocktake:
    """Compares one stream with its receipts. With `content`, every body is fetched, and every object of `buckets`.

    The class has more than 150 lines because two ways to compare, all at once or each by itself, share their parts.

    `tell` is called with every problem. `progress` is called now and then: so many sequences are read, of so many.
    """

    def __init__(
        self,
        api: Api,
        books: Books,
        stream: str,
        *,
        content: bool,
        buckets: ReadableBuckets,
        tell: Callable[[Problem], None],
        progress: Callable[[int, int], None],
    ) -> None:
        self._api = api
        self._books = books
        self._content, self._contents = content, Contents(api, buckets, books.site)
        self._tell_problem = tell
        self._progress = progress
        self._receipts = books.receipts[stream]
        self._site_messages = SiteMessages(api, stream, books.subjects, content)
        self._read_so_far = 0
        self.stock = Stock(stream, len(self._receipts))

    async def run(self) -> Stock:
        """Raises LinkDown, LanePaused, and SettingsError where the server does not let us read."""
        try:
            await self._run()
        except PermissionError as error:
            what = f"{self.stock.stream} can't be read with these credentials"
            raise SettingsError(f"SYNC_STREAM: {what}: {error}") from None
        return self.stock

    async def _run(self) -> None:
        found = await self._info()
        if found is None:
            await self._by_receipts()
            return
        config, state = found
        first = 0 if config.get("sources") else state.get("first_seq", 0)  # sourced messages have new sequences
        comparison = Comparison(self._receipts, self._books.site, first)
        if config:
            await self._read(comparison, config, state)
        comparison.end()
        self.stock.void, self.stock.messages = comparison.void, comparison.messages
        self.stock.expired, self.stock.freed = comparison.expired, comparison.freed
        await self._later_receipts(comparison)
        wanted = bool(comparison.unknown and config)
        began = await self._site_messages.first_since(self._books.began) if wanted else 0
        for problem in comparison.without_receipt(began):
            self._tell(problem)
        self.stock.before = comparison.before
        await self._look_again(comparison)

    async def _later_receipts(self, comparison: Comparison) -> None:
        """Finds the receipts that the ledger got since we began. A running daemon may still be about to write some."""
        books = self._books
        deadline = time.monotonic() + _PATIENCE
        while comparison.unknown:
            running = is_locked(lock_path(books.folder, books.site))
            for row in rows_numbered(books.folder, books.site, lambda n: n > books.last_row):
                if is_receipt(row) and row["stream"] == self.stock.stream:
                    comparison.add_receipt(row)
            if not running or time.monotonic() > deadline:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _by_receipts(self) -> None:
        """Where the stream's settings are not seen: each receipt against the message on its own subject."""
        self.stock.by_receipts = True
        valid = self._receipts.valid()
        self.stock.void = len(self._receipts) - len(valid)
        wanted = {self._receipts.row(at) for at in valid}
        rows = rows_numbered(self._books.folder, self._books.site, wanted.__contains__)
        done = 0
        async with aclosing(each_on_its_subject(self._api, self.stock.stream, rows)) as pairs:
            async for row, message in pairs:
                done += 1
                self._progress(done, len(wanted))
                if message is not None and message.is_tombstone and is_per_digest(row):
                    self.stock.freed += 1
                    continue
                self.stock.messages += message is not None and row["event"] == PUBLISHED
                problem = second_look(row, await self._fetched(message), self._books.site)
                if problem:
                    self._tell(problem)

    async def _info(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Configuration and state of the stream; both empty where there is no stream; None where neither is seen."""
        answer = await self._api.stream(self.stock.stream)
        if isinstance(answer, ApiRefusal) and answer.no_jetstream:
            return None
        if not isinstance(answer, ApiRefusal):
            return answer.config, answer.state
        if answer.no_stream:
            return {}, {}
        raise answer.paused(f"stream {self.stock.stream} can't be looked at")

    async def _read(self, comparison: Comparison, config: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """The messages that were there when we began, in order."""
        first, last = state["first_seq"], state["last_seq"]
        try:
            await self._through(self._site_messages.quickly(config, first), comparison, first, last)
        except PermissionError:
            if self._read_so_far:
                raise
            await self._through(self._site_messages.one_by_one(first), comparison, first, last)

    async def _through(
        self,
        reading: Reading,
        comparison: Comparison,
        first: int,
        last: int,
    ) -> None:
        async with aclosing(reading) as messages:
            async for seen, body in messages:
                if seen.seq > last:
                    break
                digest = None
                if self._content and body is not None:
                    digest = await self._contents.digest(seen.headers, body) or "not there"
                comparison.see(seen, digest)
                self._read_so_far += 1
                if self._read_so_far % _TELL_EVERY == 0:
                    self._progress(seen.seq - first + 1, last - first + 1)
        self._progress(last - first + 1, last - first + 1)

    async def _look_again(self, comparison: Comparison) -> None:
        """Compares each of the doubtful receipts with its message as it is now."""
        wanted = set(comparison.doubtful)
        doubtful = rows_numbered(self._books.folder, self._books.site, wanted.__contains__)
        config, state = await self._info() or ({}, {})
        while some := list(islice(doubtful, _AT_ONCE)):
            found = await asyncio.gather(*(self._fetch(row, comparison) for row in some))
            for row, message in zip(some, found, strict=True):
                gone = message is None and bool(config)
                if gone and row["n"] in comparison.waiting:
                    self.stock.waiting += 1
                elif gone and is_older(row, comparison, state):
                    self.stock.expired += 1
                elif gone and not comparison.sourced and row["stream_seq"] <= state["last_seq"] and lets_go(config):
                    self.stock.left += 1
                elif config and await is_freed(self._api, self.stock.stream, row, message, comparison):
                    self.stock.freed += 1
                elif problem := second_look(row, message, self._books.site):
                    self._tell(problem)

    async def _fetch(self, row: Mapping[str, Any], comparison: Comparison) -> Fetched | None:
        seq = comparison.elsewhere.get(row["n"], None if comparison.sourced else row["stream_seq"])
        return await self._fetched(None if seq is None else await fetch.message(self._api, self.stock.stream, seq))

    async def _fetched(self, stored: StoredMessage | None) -> Fetched | None:
        if stored is None:
            return None
        if stored.is_tombstone:
            return Fetched(stored.seq, stored.headers, None, tombstone=True, subject=stored.subject)
        away = stored.headers.get("Edge-Object") or stored.headers.get("Content-Encoding")
        if away and not self._content:
            return Fetched(stored.seq, stored.headers, stored.headers.get("Edge-Sha256"), subject=stored.subject)
        read = self._contents
        digest = await read.digest(stored.headers, stored.data)
        return Fetched(stored.seq, stored.headers, digest, read.unread(stored.headers), subject=stored.subject)

    def _tell(self, problem: Problem) -> None:
        self.stock.problems[problem.what] += 1
        self._tell_problem(problem)
