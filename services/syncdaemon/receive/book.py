"""What a worker writes down of the files that arrived: a chained row for each, on disk before its acknowledgement.

A crash between the file and its row, or between the row and the acknowledgement, brings the message again. Then the
file is `unchanged`, and gets the row that it lacks, and no second one.
"""

from __future__ import annotations

import asyncio
import os
import platform
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote_from_bytes

from syncdaemon import __version__
from syncdaemon.base.errors import LedgerFull
from syncdaemon.base.units import site_of
from syncdaemon.ledger import RECEIVED, Ledger, files
from syncdaemon.ledger.files import rows_of
from syncdaemon.ledger.rows import ARRIVED, Entry, ReceivedFile, arrived, closed, opened
from syncdaemon.receive.incoming import WRITE_ERROR, Item, Outcome, Placed, Retry, Wanted

REMEMBERED = 1 << 17
"""Messages whose rows are known: more than a worker can hold, and so more than a crash can have left without an answer.

One that comes again behind these gets a second row, which says `unchanged`.
"""

_DAYS = 3  # newest days that are read for them

_Key = tuple[str, int, str]  # stream, sequence, digest: a stream that is made again begins at 1


class Book:
    """The ledger of one worker, from `open` to `close`: `received-<worker>-<day>.jsonl` in `folder`."""

    def __init__(self, folder: Path, worker: str = "") -> None:
        self.worker = worker or site_of(platform.node())
        self._folder = folder
        self._ledger = Ledger(folder, self.worker, kind=RECEIVED)
        self._known: dict[_Key, None] = {}
        self._first: list[Entry] = []
        self._under_way: dict[_Key, asyncio.Future[None]] = {}

    def open(self) -> None:
        """Takes the ledger. Raises SettingsError where it can't be used, LedgerDamaged where it does not hold."""
        self._ledger.open()
        found: deque[_Key] = deque(maxlen=REMEMBERED)
        for path in files(self._folder, self.worker, RECEIVED)[-_DAYS:]:
            found.extend((row["stream"], row["stream_seq"], row["sha256"]) for row in rows_of(path, {ARRIVED}))
        self._known = dict.fromkeys(found)
        self._first = [opened(platform.node(), os.getpid(), __version__)]

    async def write(self, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes, once each file that is in its place has its row on disk.

        Where the disk takes no row, the message is put back in place of that: nothing is acknowledged without one.
        """
        fresh: dict[_Key, ReceivedFile] = {}
        keys = [_key(item, outcome) for item, outcome in zip(items, outcomes, strict=True)]
        while before := {self._under_way[key] for key in keys if key in self._under_way}:
            await asyncio.wait(before)  # the same message came twice: neither is acknowledged before the row is there
        for key, item, outcome in zip(keys, items, outcomes, strict=True):
            if key is not None and key not in self._known and isinstance(outcome, Placed):
                fresh.setdefault(key, _file(item, outcome))
        if not fresh:
            return list(outcomes)
        first, self._first = self._first, []
        done = asyncio.get_running_loop().create_future()
        self._under_way |= dict.fromkeys(fresh, done)
        try:
            await self._ledger.append([*first, *map(arrived, fresh.values())])
        except LedgerFull as error:
            self._first = first + self._first
            again = Retry(WRITE_ERROR, str(error))
            return [again if key in fresh else outcome for key, outcome in zip(keys, outcomes, strict=True)]
        else:
            self._know(fresh)
        finally:
            for key in fresh:
                del self._under_way[key]
            done.set_result(None)
        return list(outcomes)

    def _know(self, keys: Iterable[_Key]) -> None:
        self._known |= dict.fromkeys(keys)
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]

    async def close(self) -> None:
        """Says that the process ends, and gives the ledger back."""
        if self._ledger.rows:
            with suppress(LedgerFull):
                await self._ledger.append([closed(self._ledger.rows + 1)])
        await self._ledger.close()


def _key(item: Item, outcome: Outcome) -> _Key | None:
    if not isinstance(outcome, Placed) or not isinstance(item.wanted, Wanted):
        return None
    return item.delivery.stream, item.seq, item.wanted.sha256


def _file(item: Item, outcome: Placed) -> ReceivedFile:
    wanted = item.wanted
    assert isinstance(wanted, Wanted)
    path = quote_from_bytes(b"/".join(wanted.path))
    return ReceivedFile(wanted.site, path, wanted.size, wanted.sha256, item.delivery.stream, item.seq, outcome.how)
