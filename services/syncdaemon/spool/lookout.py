"""Finding the files: by scans, which are the truth, and by hints of events, which only make it quicker."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from functools import partial
from itertools import islice

import structlog

from syncdaemon.base import taken
from syncdaemon.base.beneath import lstat_beneath
from syncdaemon.base.errors import SettingsError
from syncdaemon.base.leases import sees_all_writers
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.spool import faults, settle
from syncdaemon.spool.backlog import Listing
from syncdaemon.spool.home import Away, ReplayDirectory
from syncdaemon.spool.queue import Queue
from syncdaemon.spool.scan import files, scan
from syncdaemon.spool.sizes import Sizes
from syncdaemon.spool.threads import DirectoryThread
from syncdaemon.spool.waiting import Handed
from syncdaemon.spool.watch import Watch

SCAN_RETRY = 2.0  # seconds between scans while the directory can't be read
_CHECK = 1.0  # seconds between two checks whether the directory is still the one that was locked
_MANY = 4_096  # files in one new folder; more are left to a scan
_LATE_EVENTS_NS = 300_000_000  # how long after its cause an event may come
_REARM = 1.0  # seconds until a broken watch is tried again, doubling to the time between two scans

log = structlog.get_logger(__name__)


class Unseen:
    """What the last scan found and could not take.

    `odd`: entries that are neither files nor folders; `unread`: folders and files that it could not look at, of which
    `unread_folders` are folders; `unread_one`: one of them with the cause.
    """

    def __init__(self) -> None:
        self.odd = self.unread = self.unread_folders = 0
        self.unread_one = ""
        self._said = OnceAMinute()
        self._said_odd = self._said_unread = 0

    def note(self, listing: Listing) -> None:
        """A scan has ended. What has become more since the log said it is said."""
        now = time.monotonic()
        self._said_odd, self._said_unread = min(self._said_odd, listing.odd), min(self._said_unread, listing.unread)
        if listing.odd > self._said_odd and self._said.due(now, "odd_entries"):
            self._said_odd = listing.odd
            log.warning("odd_entries", count=listing.odd, meaning="symlinks, pipes, sockets or devices: not taken")
        if listing.unread > self._said_unread and self._said.due(now, "unread"):
            self._said_unread = listing.unread
            log.error("unread", count=listing.unread, one=listing.unread_one, effect="what is there is not delivered")
        self.odd, self.unread, self.unread_one = listing.odd, listing.unread, listing.unread_one
        self.unread_folders = listing.unread_folders


class Lookout:
    """Tells the queue what is in the directory, for as long as that is the one that was locked.

    `quiet`: seconds that a file must have been left alone before it is read; `rescan`: seconds between two scans.
    `problem`: why nothing can be read now, empty where it can. `scanned`: whether there was a scan.

    The class has more than 150 lines because scans and hints take turns in telling the queue.
    """

    def __init__(
        self, directory: ReplayDirectory, queue: Queue, thread: DirectoryThread, *, quiet: float, rescan: float
    ) -> None:
        self._directory = directory
        self._queue = queue
        self._thread = thread
        self._quiet = quiet
        self._rescan = rescan
        self._folders: set[bytes] = set()  # new ones: what was put into them before the watch was on raised no event
        self._watch = Watch(directory)
        self._once_a_minute = OnceAMinute()
        self.problem = ""
        self.unseen = Unseen()
        self._sizes = Sizes()
        self.scanned = False

    @property
    def arrivals(self) -> Watch:
        """What was seen of files, and whether anything is seen."""
        return self._watch

    def complete_by(self) -> dict[str, str]:
        """What tells that a file is complete: `lease`, `close` or `quiet`, of our `own` user's files and of `others`.

        `lease`: no process has it open for writing. `close`: it was closed after writing, or renamed into place; where
        neither was seen, and with `quiet`, it was unchanged for the long quiet time.
        """
        seen = "close" if self._watch.sees_ends else "quiet"
        own = "lease" if self._directory.has_leases() else seen
        return {"own": own, "others": own if sees_all_writers() else seen}

    def bytes_of(self, files: int) -> int:
        """About how many bytes so many of the files have."""
        return self._sizes.of(files)

    async def scan(self) -> None:
        """Looks at the whole directory once. Raises OSError where it can't be read."""
        await self._thread.run(self._directory.set_clock)
        since = self._directory.now_ns() - _LATE_EVENTS_NS
        root, mine, room = self._directory.root, self._queue.mine(), self._queue.room
        sizes = Sizes()
        look = partial(scan, root, mine, room, self._queue.newest_first, since, sizes)
        listing = await self._thread.in_directory(look)
        self._sizes = sizes
        self.unseen.note(listing)
        self.look_at(self._queue.merge(listing))
        self.scanned = True

    async def watch(self) -> None:
        """For ever: hints as they come; a scan at the start, whenever one is wanted, and at the regular time.

        Raises SettingsError where the directory was deleted, and will never be there again.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._check_directory())
            hinting = tasks.create_task(self._follow_hints())
            while True:
                delay = self._rescan
                self._queue.begin_scan()
                try:
                    await self.scan()
                except OSError as error:
                    self._queue.abandon()
                    self.lost(error)
                    delay = SCAN_RETRY
                else:
                    if self.problem:
                        self._found_again()
                        hinting.cancel()  # its watch may be on a directory that is gone
                        hinting = tasks.create_task(self._follow_hints())
                try:
                    async with asyncio.timeout(delay):
                        await self._queue.scan_is_wanted()
                except TimeoutError:
                    pass

    def lost(self, error: OSError) -> None:
        """The directory can't be read, or is not the one that was locked."""
        self.problem = f"SYNC_REPLAY_DIR: {error}"
        if self._once_a_minute.due(self._queue.clock()):
            log.error("spool_paused", problem=str(error), effect="no file is read, moved or deleted")

    def _found_again(self) -> None:
        self.problem = ""
        self._once_a_minute.over()
        log.info("spool_resumed", depth=self._queue.depth)

    async def _check_directory(self) -> None:
        """For ever: is this still the directory that was locked? Where not, a scan is wanted, which will say so."""
        while True:
            await asyncio.sleep(_CHECK)
            try:
                await self._thread.run(self._directory.check)
            except Away as error:
                if self._directory.deleted():
                    raise SettingsError(f"SYNC_REPLAY_DIR was deleted under the daemon: {error}") from None
                self._queue.want_scan()

    async def _follow_hints(self) -> None:
        delay = _REARM
        while True:
            armed = False
            async with aclosing(self._watch.hints()) as following:
                async for hints in following:
                    if not armed:  # what came before the watch was on raised no event
                        armed, delay = True, _REARM
                        self._queue.want_scan()
                    for path, ended in hints.items():
                        self._look_at(path, ended)
                    await self._look_into_folders()
            self._queue.want_scan()
            await asyncio.sleep(delay)
            if self._watch.by_inotify:  # the polling of watchfiles 1.3 ends at each folder that it can't look into
                delay = min(2 * delay, self._rescan)
            self._queue.want_scan()

    def look_at(self, paths: Iterable[bytes], ended: bool = False) -> None:
        """Tells the queue what is at these paths now. `ended`: files may have come to their end there just now."""
        for path in paths:
            self._look_at(path, ended)

    def _look_at(self, path: bytes, ended: bool) -> None:
        try:
            found = lstat_beneath(self._directory.root, path)
        except OSError as error:
            if error.errno in faults.OURS:  # says nothing about the file
                self._queue.want_scan()
                return
            self._queue.gone(path)
            if self._watch.unclear(path):
                self._queue.want_scan()
            return
        if stat.S_ISREG(found.st_mode):
            self._sizes.add(found.st_size)
            wait = settle.quiet_wait(found.st_ctime_ns, self._directory.now_ns(), self._quiet)
            due = self._queue.clock() + (0.0 if self._queue.is_handed_over(path) else wait)
            self._queue.seen(path, found.st_mtime_ns, due, found.st_ctime_ns, ended, ino=found.st_ino)
        elif stat.S_ISDIR(found.st_mode):
            self._folders.add(path)

    async def _look_into_folders(self) -> None:
        folders, self._folders = self._folders, set()
        for folder in folders:
            inside = await self._thread.run(partial(_first_files, self._directory.root, folder))
            if len(inside) == _MANY:
                self._queue.want_scan()
            self.look_at(inside, ended=True)

    def hand_over(self, path: bytes, handed: Handed) -> bool:
        """A user says that the file at `path` is complete. False: it is not that user's own alone, and nothing changed.

        That is looked at once more when the file is opened.
        """
        try:
            found = lstat_beneath(self._directory.root, path)
        except (OSError, ValueError):
            return False
        if (
            not stat.S_ISREG(found.st_mode)
            or not handed.speaks_of(found.st_uid, found.st_nlink)
            or taken.path_ignored(path)
        ):
            return False
        self._queue.hand_over(path, handed)
        self._look_at(path, ended=True)
        return True

    def landed(self, paths: Sequence[bytes]) -> None:
        """Files in flight have left their paths; if something came there since, it is looked at."""
        self.look_at(self._queue.landed(paths))


def _first_files(root: int, folder: bytes) -> list[bytes]:
    """The paths of files in this folder below the open folder `root`; of more than `_MANY`, some."""
    return [path for path, _ in islice(files(root, folder + b"/"), _MANY)]
