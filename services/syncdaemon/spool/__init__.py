"""The replay directory: watched, scanned, read, and let go of, a batch at a time in threads."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar
from urllib.parse import quote_from_bytes

import structlog

from syncdaemon.base.errors import SettingsError
from syncdaemon.base.model import Content, Fit, Held, Receipt, Refusal
from syncdaemon.base.packing import Packer
from syncdaemon.spool import requeue, settle, watch
from syncdaemon.spool.backlog import WINDOW, Backlog, Candidate
from syncdaemon.spool.home import Away, ReplayDirectory
from syncdaemon.spool.large import Hasher
from syncdaemon.spool.moves import below
from syncdaemon.spool.quarantine import Quarantine
from syncdaemon.spool.read import Gone, Hashing, Look, NotYet, Reader, TooLarge
from syncdaemon.spool.requeue import Order
from syncdaemon.spool.retire import Archive, Hold, Retired
from syncdaemon.spool.scan import files, scan

BATCH_FILES = 512
BATCH_BYTES = 4 << 20
_SMALL = 1 << 10  # bytes that a file counts at least: about what a message has beside it
_SCAN_RETRY = 2.0  # seconds between scans while the directory can't be read
_SAY_AGAIN = 60.0  # seconds until the same trouble is logged once more
_MIND = 1.0  # seconds between two looks at whether the directory is still the one that was locked
_MANY = 4_096  # files in one new folder; more are left to a scan
_LATE_EVENTS_NS = 300_000_000  # how long after its cause an event may come
_STUCK = 60.0  # seconds until a refused file that could not be set aside is tried again: each try is a row
_REARM = 1.0  # seconds until a broken watch is tried again, doubling to the time between two scans

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class SpoolSettings:
    """`quiet`, `rescan` and `hold` in seconds; `archive`: delivered files are kept instead of held."""

    replay_dir: bytes
    quiet: float
    rescan: float
    hold: float
    archive: bool
    newest_first: bool
    compress: bool = False
    window: int = WINDOW


class Spool:
    """Gives out batches of complete files, and takes back what became of them."""

    def __init__(self, settings: SpoolSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.home = ReplayDirectory(settings.replay_dir)
        self.backlog = Backlog(settings.newest_first, settings.window)
        self.hold = Hold(self.home, settings.hold)
        self.quarantine = Quarantine(self.home)
        self.odd = self.unread = 0
        self.unread_one = ""
        self.problem = ""
        self.stuck = ""
        self._said_at = self._kept_at = -_SAY_AGAIN
        self.scanned = asyncio.Event()
        self._archive = Archive(self.home)
        self._clock = clock
        self._offset_ns = 0
        self._stir = asyncio.Event()
        self._scan_wanted = asyncio.Event()
        self._taken: list[Candidate] = []
        self._any_large = asyncio.Event()
        self._hasher = Hasher()
        self._pack = Packer().pack if settings.compress else None
        self._typical = _SMALL  # bytes that a file of the last batch had
        self._folders: set[bytes] = set()
        # One thread reads and retires by turns: two of them, with their short system calls, hand the interpreter
        # lock to and fro at each, which costs a quarter more CPU for a small file.
        self._files = ThreadPoolExecutor(1, "files")
        self._expiring = ThreadPoolExecutor(1, "expire")
        self._scanning = ThreadPoolExecutor(1, "scan")

    def open(self) -> None:
        """Takes the directory. Raises SettingsError where that can't be."""
        self.home.open()
        self.hold.load(self._clock())
        self.quarantine.load()

    def close(self) -> None:
        """Waits for the threads' last work and gives the directory back."""
        for pool in (self._files, self._expiring, self._scanning):
            pool.shutdown(wait=True, cancel_futures=True)
        self._hasher.close()
        self.home.close()

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    async def _at_home(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await self._in(pool, lambda: self.home.do(work))

    def now_ns(self) -> int:
        """The file system's now."""
        return time.time_ns() + self._offset_ns

    def oldest_age(self) -> float:
        """Age in seconds, by mtime, of the oldest file that is ready; 0 where none is."""
        mtime_ns = self.backlog.oldest()
        return 0.0 if mtime_ns is None else max(0.0, (time.time_ns() - mtime_ns) / 1e9)

    async def scan(self) -> None:
        """Looks at the whole directory once. Raises OSError where it can't be read."""
        self._offset_ns = await self._in(self._scanning, self.home.clock_offset_ns)
        since, mine, room = self.now_ns() - _LATE_EVENTS_NS, self.backlog.mine(), self.backlog.room
        newest = self.settings.newest_first
        root = self.settings.replay_dir
        listing = await self._at_home(self._scanning, lambda: scan(root, mine, room, newest, since))
        if listing.odd > self.odd:
            log.warning("odd_entries", count=listing.odd, meaning="symlinks, pipes, sockets or devices: not taken")
        self.odd = listing.odd
        if listing.unread > self.unread:
            log.error("unread", count=listing.unread, one=listing.unread_one, effect="what is there is not delivered")
        self.unread, self.unread_one = listing.unread, listing.unread_one
        self._look_at(self.backlog.merge(listing))
        self.scanned.set()
        self._stir.set()

    async def watch(self) -> None:
        """For ever: hints as they come, a scan at the start, whenever one is wanted, and at the regular time.

        Raises SettingsError where the directory was deleted, and will never be there again.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._mind())
            hinting = tasks.create_task(self._follow_hints())
            while True:
                delay = self.settings.rescan
                self._scan_wanted.clear()
                try:
                    await self.scan()
                except OSError as error:
                    self.backlog.abandon()
                    self._trouble(error)
                    delay = _SCAN_RETRY
                else:
                    if self.problem:
                        self.problem, self._said_at = "", -_SAY_AGAIN
                        log.info("spool_resumed", depth=self.backlog.depth)
                        hinting.cancel()  # its watch may be on a directory that is gone
                        hinting = tasks.create_task(self._follow_hints())
                try:
                    async with asyncio.timeout(delay):
                        await self._scan_wanted.wait()
                except TimeoutError:
                    pass

    def _trouble(self, error: OSError) -> None:
        self.problem = f"SYNC_REPLAY_DIR: {error}"
        if (now := self._clock()) - self._said_at >= _SAY_AGAIN:
            self._said_at = now
            log.error("spool_paused", problem=str(error), effect="no file is read, moved or deleted")

    async def _mind(self) -> None:
        """For ever: is this still the directory that was locked? Where not, a scan is wanted, which will tell."""
        while True:
            await asyncio.sleep(_MIND)
            try:
                await self._in(self._scanning, self.home.check)
            except Away as error:
                if self.home.deleted():
                    raise SettingsError(f"SYNC_REPLAY_DIR was deleted under the daemon: {error}") from None
                self._scan_wanted.set()

    async def _follow_hints(self) -> None:
        delay = _REARM
        while True:
            armed = False
            async for paths in watch.hints(self.settings.replay_dir):
                if not armed:  # what came before the watch was on raised no event
                    armed, delay = True, _REARM
                    self._scan_wanted.set()
                self._look_at(paths)
                await self._look_into_folders()
            await asyncio.sleep(delay)
            delay = min(2 * delay, self.settings.rescan)
            self._scan_wanted.set()

    def _look_at(self, paths: Iterable[bytes]) -> None:
        for path in paths:
            self._look_at_one(path)
        self._stir.set()

    def _look_at_one(self, path: bytes) -> None:
        full = os.path.join(self.settings.replay_dir, path)
        try:
            found = os.lstat(full)
        except OSError:
            self.backlog.gone(path)
            if watch.unclear(path):
                self._scan_wanted.set()
            return
        if stat.S_ISREG(found.st_mode) and below(self.settings.replay_dir, path):
            wait = settle.quiet_wait(found.st_ctime_ns, self.now_ns(), self.settings.quiet)
            key = self.backlog.key(found.st_mtime_ns)
            self.backlog.hint(path, key, self._clock() + wait, found.st_ctime_ns)
        elif stat.S_ISDIR(found.st_mode):
            self._folders.add(path)

    async def _look_into_folders(self) -> None:
        """What was put into a new folder before the watch was on it raised no event."""
        folders, self._folders = self._folders, set()
        for folder in folders:
            inside = await self._in(
                self._scanning,
                lambda f=folder: list(islice(files(self.settings.replay_dir, f + b"/"), _MANY)),  # type: ignore[misc]
            )
            if len(inside) == _MANY:
                self._scan_wanted.set()
            self._look_at(path for path, _ in inside)

    async def some(self) -> None:
        """Waits until there may be a file to read."""
        while not self._taken and not self.backlog.any_due(self._clock()):
            if self.backlog.wants_scan:
                self._scan_wanted.set()
            await self._something_due()

    async def read(self, fit: Fit) -> list[Content | Refusal]:
        """The next batch, which may be empty. Files that are too large are left to `read_large`."""
        if not self._taken:  # what is taken has its turn before all newer ones
            files = min(BATCH_FILES, 1 + fit.batch // self._typical)
            self._taken = self.backlog.take(files, self._clock())
        if self.backlog.wants_scan:
            self._scan_wanted.set()
        return await self._read_taken(fit) if self._taken else []

    async def _something_due(self) -> None:
        self._stir.clear()
        due = self.backlog.next_due()
        if self.backlog.any_ready:
            return
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                await self._stir.wait()
        except TimeoutError:
            pass

    async def _read_taken(self, fit: Fit) -> list[Content | Refusal]:
        reader = Reader(self.settings.replay_dir, self.settings.quiet, fit, self._pack)
        candidates, now_ns = list(self._taken), self.now_ns()
        try:
            looks = await self._at_home(self._files, lambda: list(_up_to(fit.batch, reader.look(candidates, now_ns))))
        except Away as error:
            self._trouble(error)
            self._scan_wanted.set()
            await asyncio.sleep(_SCAN_RETRY)
            return []
        del self._taken[: len(looks)]
        batch: list[Content | Refusal] = []
        for look in looks:
            if isinstance(look, Content):
                batch.append(look)
            elif isinstance(look, TooLarge):
                self.backlog.defer(look.path, look.mtime_ns)
                self._any_large.set()
            elif (found := self._found(look)) is not None:
                batch.append(found)
        if batch:
            self._typical = max(_SMALL, sum(_size(found) for found in batch) // len(batch))
        return batch

    def _found(self, look: Content | Refusal | NotYet | Gone) -> Content | Refusal | None:
        """What there is to deliver; the other looks are noted."""
        if isinstance(look, NotYet):
            self.backlog.wait(look.candidate, self._clock() + look.wait)
            self._stir.set()
        elif isinstance(look, Gone):
            self._land([look.path])
        else:
            return look
        return None

    async def large_waits(self) -> None:
        """Waits until there is a file that `read` found too large."""
        while not self.backlog.any_large:
            self._any_large.clear()
            await self._any_large.wait()

    async def read_large(self) -> Content | Refusal | None:
        """The next of them, with its digest and without its data; None where it is not to be delivered now.

        It takes as long as the file is large. Nobody else waits for it.
        """
        if (candidate := self.backlog.take_large()) is None:
            return None
        try:
            look = await self._hasher.read(candidate.path, lambda: self._begin(candidate))
        except Away as error:
            self._trouble(error)
            self.backlog.wait(candidate, self._clock() + _SCAN_RETRY)
            self._stir.set()
            return None
        return None if isinstance(look, TooLarge) else self._found(look)

    def _begin(self, candidate: Candidate) -> Hashing | Look:
        self.home.check()
        begun = Reader(self.settings.replay_dir, self.settings.quiet).begin(candidate, self.now_ns())
        try:
            self.home.check()
        except Away:
            if isinstance(begun, Hashing):
                begun.close()
            raise
        return begun

    async def retire(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Lets go of recorded files. Returns those whose file could not be moved: they stay, and count again."""
        try:
            retired = await self._at_home(self._files, lambda: self._move_away(receipts))
        except Away as error:
            retired = Retired(0, [(receipt, str(error)) for receipt in receipts])
        if not self.settings.archive and not self.settings.hold:
            await self.expire()
        kept = {receipt.content.path for receipt, _ in retired.kept}
        paths = [receipt.content.path for receipt in receipts]
        landed = [path for path in paths if path not in kept] if kept else paths
        self._land(landed)
        if retired.moved < len(landed):  # gone, or another version by now, which nobody may have told of
            self._look_at(landed)
        self._tell_kept(retired.kept)
        for receipt, _ in retired.kept:
            self.backlog.wait(Candidate(receipt.content.path, 1), self._clock() + settle.LONGEST_RECHECK)
        self._stir.set()
        return [receipt for receipt, _ in retired.kept]

    def _tell_kept(self, kept: Sequence[tuple[Receipt, str]]) -> None:
        if not kept:
            self.stuck = ""
            return
        receipt, cause = kept[0]
        self.stuck = f"SYNC_REPLAY_DIR: delivered files can't be moved out of the way: {cause}"
        if (now := self._clock()) - self._kept_at >= _SAY_AGAIN:
            self._kept_at = now
            effect = "recorded, and still there"
            log.error("not_moved", files=len(kept), one=receipt.content.name, error=cause, effect=effect)

    def _move_away(self, receipts: Sequence[Receipt]) -> Retired:
        if self.settings.archive:
            return self._archive.retire(receipts)
        return self.hold.retire(receipts, self._clock())

    def acknowledged(self, paths: Iterable[bytes]) -> None:
        """These files are stored or refused: they count no more."""
        self.backlog.acknowledged(paths)

    async def set_aside(self, refusal: Refusal, first: str, last: str) -> None:
        """Moves a refused file to the quarantine with its reason; `first` and `last` attempt in RFC 3339."""
        name, path = refusal.content.name, refusal.content.path
        try:
            await self._at_home(self._files, lambda: self.quarantine.set_aside(refusal, first, last))
        except OSError as error:
            log.error("not_set_aside", path=name, reason=refusal.reason, error=str(error))
            self.backlog.wait(Candidate(path, 1), self._clock() + _STUCK)
        else:
            log.error("quarantined", path=name, reason=refusal.reason, error=str(refusal.detail))
            self._land([path])

    async def put_back_asked(self, wait: bool = False) -> list[Order]:
        """Puts back what the operator asked for; the orders are to be recorded, and then forgotten.

        Without `wait`: none, while the operator's command is at it itself.
        """
        done = await self._in(self._files, lambda: self._put_back(wait))
        for order, problem in done:
            if problem:
                log.error("not_requeued", name=quote_from_bytes(order.name), error=problem)
            else:
                log.info("requeued", path=quote_from_bytes(order.to), reason=order.reason)
        await self.forget([order for order, problem in done if problem])
        self._look_at(order.to for order, problem in done if not problem)
        return [order for order, problem in done if not problem]

    def _put_back(self, wait: bool) -> list[requeue.Done]:
        try:
            done = requeue.put_back(self.home, wait)
            self.quarantine.look()
        except OSError as error:
            log.error("quarantine_unseen", error=str(error))
            return []
        return done

    async def forget(self, orders: Sequence[Order]) -> None:
        """These orders are recorded."""
        if orders:
            await self._in(self._files, lambda: requeue.forget(self.home, orders))

    def _land(self, paths: Sequence[bytes]) -> None:
        """Files in flight have left their paths; if something came there since, it is looked at."""
        for path in self.backlog.landed(paths):
            self._look_at_one(path)

    def put_back(self, contents: Iterable[Content]) -> None:
        """These files were not delivered: they are ready again, for `read`."""
        for content in contents:
            self.backlog.put_back(content.path, content.stamp.mtime_ns)
        self._stir.set()

    def put_back_large(self, contents: Sequence[Content]) -> None:
        """The same for `read_large`: however fast the link is by now, what was begun as an object ends as one."""
        for content in contents:
            self.backlog.defer(content.path, content.stamp.mtime_ns)
            self._any_large.set()
        self._hasher.remember(contents)

    async def held(self) -> AsyncIterator[list[Held]]:
        """The files in the hold, a bucket at a time. Raises OSError."""
        for bucket in self.hold.buckets():
            yield await self._at_home(self._expiring, lambda b=bucket: self.hold.held(b))  # type: ignore[misc]

    def hold_anew(self) -> None:
        """What is held now stays for its whole time from here on."""
        self.hold.begin_anew(self._clock())

    async def send_again(self, held: Held, path: bytes) -> None:
        """A file that is held waits again, at `path` or beside it. Raises OSError."""
        place = await self._at_home(self._expiring, lambda: self.hold.send_again(held, path))
        if place is not None:
            self._look_at([place])

    async def expire(self) -> None:
        """Deletes what has been held for long enough."""
        try:
            back = await self._at_home(self._expiring, lambda: self.hold.expire(self._clock()))
        except Away:
            return  # told by the scan
        except OSError as error:
            log.error("hold_not_emptied", error=str(error), effect="delivered files are kept for longer")
            return
        for path in back:
            log.warning("changed_while_held", path=os.fsdecode(path), effect="delivered as a new file")
        self._look_at(back)


def _size(look: Look) -> int:
    return len(look.data or b"") if isinstance(look, Content) else 0


def _up_to(most: int, looks: Iterable[Look]) -> Iterable[Look]:
    size = 0
    for look in looks:
        yield look
        if isinstance(look, Content):
            size += len(look.data or b"")
        if size >= min(most, BATCH_BYTES):
            return
