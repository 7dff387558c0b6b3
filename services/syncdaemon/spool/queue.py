"""The queue: the files that wait, and waking whoever waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from syncdaemon.spool.arrival import UNKNOWN
from syncdaemon.spool.backlog import Backlog, Listing
from syncdaemon.spool.waiting import Candidate


class Queue(Backlog):
    """The backlog, which wakes whoever waits for a file.

    Every change that can bring a file, or call for a scan, passes through one of the methods below and wakes the waiter
    by itself. So no caller has to think of it.

    `clock` is never set back, in seconds; all due times are times of this clock."""

    def __init__(self, newest_first: bool, window: int, clock: Callable[[], float]) -> None:
        super().__init__(newest_first, window)
        self.clock = clock
        self._scan_wanted = asyncio.Event()
        self._changed = asyncio.Event()
        self._large_came = asyncio.Event()

    def want_scan(self) -> None:
        """Only a scan of the whole directory can tell what waits."""
        self._scan_wanted.set()

    def begin_scan(self) -> None:
        """A scan that is wanted from now on is another one."""
        self._scan_wanted.clear()

    @property
    def scan_is_due(self) -> bool:
        """Whether a scan is wanted and has not begun."""
        return self._scan_wanted.is_set()

    async def scan_is_wanted(self) -> None:
        """Waits until a scan is wanted."""
        await self._scan_wanted.wait()

    async def any_to_read(self) -> None:
        """Waits until there may be a file to read."""
        while not self.any_due(self.clock()):
            if self.wants_scan:
                self.want_scan()
            self._changed.clear()
            due = self.next_due()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - self.clock())):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def any_large_to_read(self, size_class: int) -> None:
        """Waits until there is a large file of this size class to read."""
        while not self.any_large_of(size_class):
            self._large_came.clear()
            await self._large_came.wait()

    def seen(self, path: bytes, mtime_ns: int, due: float, ctime_ns: int, ended: bool = False, *, ino: int = 0) -> None:
        """As in the backlog; wakes the waiter."""
        super().seen(path, mtime_ns, due, ctime_ns, ended, ino=ino)
        self._changed.set()

    def gone(self, path: bytes) -> None:
        """As in the backlog; wakes the waiter: with fewer files known by name, a scan may be wanted."""
        super().gone(path)
        self._changed.set()

    def wait(self, candidate: Candidate, due: float) -> None:
        """As in the backlog; wakes the waiter."""
        super().wait(candidate, due)
        self._changed.set()

    def put_back(self, path: bytes, mtime_ns: int, arrived: int = UNKNOWN) -> None:
        """As in the backlog; wakes the waiter."""
        super().put_back(path, mtime_ns, arrived)
        self._changed.set()

    def put_large(self, candidate: Candidate, mtime_ns: int, size: int) -> None:
        """As in the backlog; wakes whoever waits for a large file."""
        super().put_large(candidate, mtime_ns, size)
        self._large_came.set()

    def merge(self, listing: Listing) -> Sequence[bytes]:
        """As in the backlog; wakes the waiter."""
        looks = super().merge(listing)
        self._changed.set()
        return looks

    def take_large(self, size_class: int) -> Candidate | None:
        """As in the backlog; wakes the waiter: with one large file less there may be room that calls for a scan."""
        taken = super().take_large(size_class)
        self._changed.set()
        return taken

    def wait_for(self, candidate: Candidate, seconds: float) -> None:
        """The file is not to be read before so many seconds have passed."""
        self.wait(candidate, self.clock() + seconds)
