"""Letting go of files: recorded ones go to the hold or to the archive, refused ones to the quarantine.

Nothing is deleted on a guess. A file is first renamed out of the way and then looked at: if it is not the version
that was recorded (its name was used again, or it was written to), it goes back to its place as a new file.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import NamedTuple

import structlog

from syncdaemon.base.model import Held, Receipt, Refusal
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.spool import settle
from syncdaemon.spool.archive import Archive
from syncdaemon.spool.hold import Hold
from syncdaemon.spool.home import Away
from syncdaemon.spool.lookout import Lookout
from syncdaemon.spool.passage import GRACE, Passage
from syncdaemon.spool.quarantine import Quarantine
from syncdaemon.spool.queue import Queue
from syncdaemon.spool.retired import Retired
from syncdaemon.spool.threads import Threads
from syncdaemon.spool.waiting import Candidate

_LONGEST_STAY = 30.0  # seconds until a delivered file that could not be moved is read and tried again, at most
_MOST_STAYING = 65_536  # of so many it is known how often they were tried
_STUCK = 60.0  # seconds until a refused file that could not be set aside is tried again: each try is a row

log = structlog.get_logger(__name__)


class Places(NamedTuple):
    """Where files go: delivered ones to the `archive` where there is one, else to the `hold`.

    Where that holds nothing, they are deleted by way of the `passage`.
    """

    hold: Hold
    passage: Passage
    archive: Archive | None
    quarantine: Quarantine


class Retirement:
    """Moves files out of the way, and out of the queue.

    `stuck`: why delivered files stay where they are, empty where they don't.
    """

    def __init__(self, places: Places, queue: Queue, lookout: Lookout, threads: Threads) -> None:
        self._hold, self._passage, self._archive, self._quarantine = places
        self._queue = queue
        self._lookout = lookout
        self._files, self._expiring = threads.files, threads.expiring
        self._once_a_minute = OnceAMinute()
        self._tries: dict[bytes, int] = {}  # how often a delivered file could not be moved
        self.stuck = ""

    async def retire(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Lets go of recorded files. Returns those whose file could not be moved: they stay, and count again."""
        try:
            retired = await self._move_away(receipts)
        except Away as error:
            retired = Retired(0, [(receipt, str(error)) for receipt in receipts])
        kept = [receipt for receipt, _ in retired.kept]
        paths = [receipt.content.path for receipt in receipts]
        if retired.unsynced and self._once_a_minute.due(self._queue.clock(), "not_synced"):
            log.error("not_synced", files=retired.moved, error=retired.unsynced)
        if kept:
            staying = {receipt.content.path for receipt in kept}
            paths = [path for path in paths if path not in staying]
        self._lookout.landed(paths)
        if retired.moved < len(paths):  # gone, or another version by now, of which there may have been no event
            self._lookout.look_at(paths)
        self._say(retired.kept)
        for path in paths:
            self._tries.pop(path, None)
        for receipt in kept:
            path = receipt.content.path
            self._queue.wait_for(Candidate(path, 1, delivered=True), self._stays(path))
        return kept

    def _stays(self, path: bytes) -> float:
        """Seconds until this file is tried again: each time longer, since each try reads the file."""
        tries = self._tries[path] = self._tries.get(path, 0) + 1
        if len(self._tries) > _MOST_STAYING:
            self._tries.clear()
        return min(_LONGEST_STAY, settle.LONGEST_WAIT * 2.0 ** min(tries - 1, 8))

    async def _move_away(self, receipts: Sequence[Receipt]) -> Retired:
        """Raises Away."""
        if self._archive is not None:
            return await self._files.moving(partial(self._archive.retire, receipts))
        if self._hold.seconds:
            return await self._files.moving(partial(self._hold.retire, receipts, self._queue.clock()))
        retired, passing = await self._files.moving(partial(self._passage.enter, receipts))
        await asyncio.sleep(GRACE)
        passed = await self._files.run(partial(self._passage.leave, passing, self._queue.clock()))
        self._lookout.look_at(passed.back)
        if passed.error:
            self._not_emptied(passed.error)
        if self._hold.buckets():  # of an earlier process, or what could not be deleted
            await self.expire()
        return retired._replace(moved=passed.gone, unsynced=passed.unsynced)

    def _say(self, kept: Sequence[tuple[Receipt, str]]) -> None:
        if not kept:
            self.stuck = ""
            return
        receipt, cause = kept[0]
        self.stuck = f"SYNC_REPLAY_DIR: delivered files can't be moved out of the way: {cause}"
        if self._once_a_minute.due(self._queue.clock(), "not_moved"):
            effect = "recorded, and still there"
            log.error("not_moved", files=len(kept), one=receipt.content.name, error=cause, effect=effect)

    async def set_aside(self, refusal: Refusal, first: str, last: str) -> None:
        """Moves a refused file to the quarantine with its reason; `first` and `last` attempt in RFC 3339."""
        name, path = refusal.content.name, refusal.content.path
        try:
            await self._files.moving(partial(self._quarantine.set_aside, refusal, first, last))
        except OSError as error:
            if self._once_a_minute.due(self._queue.clock(), f"not_set_aside {error.errno}"):
                log.error("not_set_aside", path=name, reason=refusal.reason, error=str(error))
            self._queue.wait_for(Candidate(path, 1, arrived=refusal.content.arrived_ns), _STUCK)
        else:
            log.error("quarantined", path=name, reason=refusal.reason, error=str(refusal.detail))
            self._lookout.landed([path])

    async def held(self) -> AsyncIterator[list[Held]]:
        """The files in the hold, a bucket at a time. Raises OSError."""
        for bucket in self._hold.buckets():
            yield await self._expiring.in_directory(partial(self._hold.held, bucket))

    async def first_due(self) -> list[Held]:
        """Of each bucket whose time is over, the file that came first. Raises OSError."""
        due = self._hold.due(self._queue.clock())
        return await self._expiring.in_directory(partial(self._hold.first_of, due))

    def hold_anew(self) -> None:
        """What is held now stays for its whole time from here on."""
        self._hold.begin_anew(self._queue.clock())

    async def send_again(self, held: Held, path: bytes) -> None:
        """A file that is held waits again, at `path` or beside it. Raises OSError."""
        place = await self._expiring.moving(partial(self._hold.send_again, held, path))
        if place is not None:
            self._lookout.look_at([place])

    async def expire(self) -> None:
        """Deletes what has been held for long enough."""
        try:
            back = await self._expiring.moving(self._expire)
        except Away:
            return  # the scan says so
        except OSError as error:
            self._not_emptied(str(error))
            return
        for path in back:
            log.warning("changed_while_held", path=os.fsdecode(path), effect="delivered as a new file")
        self._lookout.look_at(back)

    def _not_emptied(self, error: str) -> None:
        if self._once_a_minute.due(self._queue.clock(), "hold_not_emptied"):
            log.error("hold_not_emptied", error=error, effect="delivered files are kept for longer")

    def _expire(self) -> list[bytes]:
        return self._hold.expire(self._queue.clock())
