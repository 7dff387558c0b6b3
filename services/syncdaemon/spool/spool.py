"""The replay directory: files are found, read a batch at a time, and let go of once they are recorded.

The module has more than 250 lines because its one class is the door to all parts of the spool.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from syncdaemon.base.keep import Keep
from syncdaemon.base.model import Content, Fit, Held, Receipt, Refusal
from syncdaemon.base.operator_pause import OperatorPause
from syncdaemon.spool import arrival
from syncdaemon.spool.archive import Archive
from syncdaemon.spool.backlog import WINDOW
from syncdaemon.spool.batch import BatchReader
from syncdaemon.spool.hold import Hold
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.large import HashProgress
from syncdaemon.spool.lookout import Lookout
from syncdaemon.spool.orders import Orders
from syncdaemon.spool.passage import Passage
from syncdaemon.spool.quarantine import Quarantine
from syncdaemon.spool.queue import Queue
from syncdaemon.spool.requeue import Order
from syncdaemon.spool.retire import Places, Retirement
from syncdaemon.spool.rights import danger
from syncdaemon.spool.sharing import Danger
from syncdaemon.spool.threads import Threads
from syncdaemon.spool.tidying import Tidying
from syncdaemon.spool.waiting import Handed, Settling

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SpoolSettings:
    """`quiet`, `in_place`, `rescan` and `hold` in seconds; `archive`: delivered files are kept instead of held.

    `archive_keep`: how much of these; None: all. `prune_empty`: seconds after which an empty folder goes; 0: never.
    """

    replay_dir: bytes
    quiet: float
    rescan: float
    hold: float
    archive: bool
    newest_first: bool
    compress: bool = False
    window: int = WINDOW
    in_place: float = 30.0
    archive_keep: Keep | None = None
    prune_empty: float = 0.0


class Spool:
    """What the daemon asks of the replay directory. The work is done by the parts that are made here.

    The class has more than 150 lines because it is the one door to them: each method hands a question on.
    """

    def __init__(self, settings: SpoolSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.directory = ReplayDirectory(settings.replay_dir)
        self.queue = Queue(settings.newest_first, settings.window, clock)
        self.operator_pause = OperatorPause(clock)
        self.hold = Hold(self.directory, settings.hold)
        self.quarantine = Quarantine(self.directory)
        self._threads = Threads(self.directory)
        self._lookout = Lookout(
            self.directory, self.queue, self._threads.scanning, quiet=settings.quiet, rescan=settings.rescan
        )
        self.unseen = self._lookout.unseen
        self._reader = BatchReader(
            self.directory,
            self.queue,
            self._lookout,
            self._threads.files,
            quiet=settings.quiet,
            in_place=settings.in_place,
            compress=settings.compress,
        )
        archive = Archive(self.directory) if settings.archive else None
        self._passage = Passage(self.directory, self.hold)
        places = Places(self.hold, self._passage, archive, self.quarantine)
        self.retirement = Retirement(places, self.queue, self._lookout, self._threads)
        self._tidying = Tidying(self.directory, settings.archive_keep, young=settings.hold, empty=settings.prune_empty)
        self._orders = Orders(self.directory, self.quarantine, self._lookout, self._threads.files)

    def open(self) -> None:
        """Takes the directory. Raises SettingsError where that can't be."""
        self.directory.open()
        _warn_of(danger(self.directory))
        self.hold.load(self.queue.clock())
        self.quarantine.load()

    def close(self) -> None:
        """Waits for the threads' last work and gives the directory back."""
        self._threads.close()
        self._tidying.close()
        self._reader.close()
        self._passage.close()
        self.directory.close()

    @property
    def problem(self) -> str:
        """Why nothing can be read now; empty where it can."""
        return self._lookout.problem

    @property
    def scanned(self) -> bool:
        """Whether the whole directory has been looked at."""
        return self._lookout.scanned

    def complete_by(self) -> dict[str, str]:
        """What tells that a file is complete, of our `own` files and of `others`: `lease`, `close` or `quiet`."""
        return self._lookout.complete_by()

    @property
    def depth(self) -> int:
        """How many files are not yet acknowledged."""
        return self.queue.depth

    @property
    def waiting_bytes(self) -> int:
        """About how many bytes these files have."""
        return self._lookout.bytes_of(self.depth)

    @property
    def idle(self) -> bool:
        """Whether no file that is known by name is left to deliver."""
        return self.queue.idle

    @property
    def wants_scan(self) -> bool:
        """Whether only a scan can tell what is left to deliver."""
        return self.queue.wants_scan or (self.queue.idle and not self.queue.complete)

    @property
    def settling(self) -> Settling:
        """The files that are not complete, as far as was looked."""
        return self.queue.settling(self.queue.clock())

    @property
    def ready(self) -> int:
        """How many files are not yet acknowledged, and complete as far as was looked."""
        return self.queue.depth - self.settling.files

    def oldest_age(self) -> float:
        """Seconds since the arrival of the file that is ready and came first; 0 where none is ready."""
        arrived = self.queue.oldest(self.queue.clock())
        return 0.0 if arrived is None else self.age(arrived)

    def age(self, arrived: int) -> float:
        """Seconds since this arrival, by the file system's clock."""
        return arrival.age(arrived, self.directory.now_ns())

    def ages(self, arrived: Sequence[int]) -> list[float]:
        """The same of each of these."""
        now_ns = self.directory.now_ns()
        return [arrival.age(one, now_ns) for one in arrived]

    async def scan(self) -> None:
        """Looks at the whole directory once. Raises OSError where it can't be read."""
        await self._lookout.scan()

    async def watch(self) -> None:
        """For ever: finds the files that come. Raises SettingsError where the directory was deleted."""
        await self._lookout.watch()

    def hand_over(self, path: bytes, uid: int, sha256: str) -> bool:
        """A user says that the file at `path` is complete, with this digest: it needs no quiet time.

        False: it is not that user's own with one name, and waits as any other.
        """
        return self._lookout.hand_over(path, Handed(uid, sha256))

    async def some(self) -> None:
        """Waits until there may be a file to read, and no operator has paused."""
        await self.operator_pause.passed()
        await self._reader.some()
        await self.operator_pause.passed()

    async def read(self, fit: Fit) -> list[Content | Refusal]:
        """The next batch, which may be empty. Files that are too large are left to `read_large`."""
        return [] if self.operator_pause.is_on() else await self._reader.read(fit)

    def open_file(self, content: Content) -> int:
        """Opens a file that was read, to read it again; its descriptor. For any thread. Raises OSError."""
        return self.directory.open_file(content.path)

    async def large_waits(self, size_class: int) -> None:
        """Waits until there is a file of this size class that `read` found too large."""
        await self.operator_pause.passed(large=True)
        await self.queue.any_large_to_read(size_class)
        await self.operator_pause.passed(large=True)

    async def read_large(self, size_class: int) -> Content | Refusal | None:
        """The next large file of a class, with its digest and without its data; None: it can't be delivered now."""
        return None if self.operator_pause.large_is_on() else await self._reader.read_large(size_class)

    @property
    def hashing(self) -> list[HashProgress]:
        """The large files whose digest is being computed now."""
        return self._reader.hashing

    def put_back(self, contents: Iterable[Content]) -> None:
        """These files were not delivered: they are ready again, for `read`."""
        for content in contents:
            self.queue.put_back(content.path, content.stamp.mtime_ns, content.arrived_ns)

    def put_back_large(self, contents: Sequence[Content]) -> None:
        """The same for `read_large`: however fast the link is by now, what was begun as an object ends as one."""
        self._reader.put_back_large(contents)

    def acknowledged(self, paths: Iterable[bytes]) -> None:
        """These files are stored or refused: they count no more."""
        self.queue.acknowledged(paths)

    async def retire(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Lets go of recorded files. Returns those whose file could not be moved: they stay, and count again."""
        kept = await self.retirement.retire(receipts)
        self._reader.remember(receipt.content for receipt in kept)
        return kept

    async def set_aside(self, refusal: Refusal, first: str, last: str) -> None:
        """Moves a refused file to the quarantine with its reason; `first` and `last` attempt in RFC 3339."""
        await self.retirement.set_aside(refusal, first, last)

    def held(self) -> AsyncIterator[list[Held]]:
        """The files in the hold, a bucket at a time. Raises OSError."""
        return self.retirement.held()

    async def first_due(self) -> list[Held]:
        """Of each bucket of the hold whose time is over, the file that came first. Raises OSError."""
        return await self.retirement.first_due()

    def hold_anew(self) -> None:
        """What is held now stays for its whole time from here on."""
        self.retirement.hold_anew()

    async def send_again(self, held: Held, path: bytes) -> None:
        """A file that is held waits again, at `path` or beside it. Raises OSError."""
        await self.retirement.send_again(held, path)

    async def expire(self) -> None:
        """Deletes what has been held for long enough."""
        await self.retirement.expire()

    async def tidy(self) -> None:
        """For ever: deletes what is not to be kept of the archive, and removes folders that are empty for long."""
        await self._tidying.run()

    async def put_back_asked(self, wait: bool = False) -> list[Order]:
        """Puts back what the operator ordered. The orders are to be recorded, and then forgotten.

        Without `wait`: none, while the operator's command is at it itself.
        """
        return await self._orders.carry_out(wait)

    async def forget(self, orders: Sequence[Order]) -> None:
        """These orders are recorded."""
        await self._orders.forget(orders)


def _warn_of(found: Danger | None) -> None:
    if found is not None:
        log.warning("replay_dir_is_shared", danger=found.said, cure=found.cure)
