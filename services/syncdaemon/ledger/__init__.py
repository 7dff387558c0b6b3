"""The ledger: an append-only file a day, each row on disk before anybody acts on it.

Rows are committed in groups: all that wait when the disk becomes free go out in one write and one `fdatasync`,
in a thread. One process writes a site's ledger at a time.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from syncdaemon.base.disk import lock_file
from syncdaemon.base.errors import LedgerFull, SettingsError
from syncdaemon.base.model import Place, Row
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.base.room import DiskRoom
from syncdaemon.evidence.notes import Checkpoint, SignedNote
from syncdaemon.ledger import chain
from syncdaemon.ledger.attempts import open_attempts
from syncdaemon.ledger.checkpoints import NotSigned, Signer
from syncdaemon.ledger.files import Damage, end, files, last_lines, lock_path, read, rows_numbered, rows_on, sites
from syncdaemon.ledger.memory import TicketMemory
from syncdaemon.ledger.receipts import receipts_of
from syncdaemon.ledger.rows import Entry
from syncdaemon.ledger.tree import RowTree
from syncdaemon.ledger.tree_keeper import TreeKeeper
from syncdaemon.ledger.writer import Newest, Writer, now_text

__all__ = [
    "Damage",
    "Entry",
    "Ledger",
    "Newest",
    "end",
    "files",
    "last_lines",
    "lock_path",
    "now_text",
    "open_attempts",
    "read",
    "rows_numbered",
    "rows_on",
    "sites",
]

_ROOM_RETRY = 1.0  # seconds between two looks at a full disk

log = structlog.get_logger(__name__)


class Ledger:
    """The one writer of a site's ledger, from `open` to `close`.

    `min_free`: bytes that must be free on its disk. `fsynced` is called in the ledger's thread after every group: how
    many seconds the disk took, for how many rows. `tickets`: what its rows say of the files that somebody asks about.
    `with_tree`: the Merkle tree over the rows is kept beside them.

    The class has more than 150 lines because one queue, one thread and one lock are behind all of it.
    """

    def __init__(
        self,
        folder: Path,
        site: str,
        min_free: int = 0,
        fsynced: Callable[[float, int], None] | None = None,
        *,
        with_tree: bool = False,
    ) -> None:
        self.folder = folder
        self.site = site
        self._min_free = min_free
        self._fsynced = fsynced
        self._tree = RowTree(folder, site) if with_tree else None
        self._writer = Writer(folder, site, self._tree.grow if self._tree is not None else None)
        self._lock = -1
        self._no_room = self._not_written = ""
        self._trouble = OnceAMinute()
        self._queue: list[tuple[Sequence[Entry], asyncio.Future[None]]] = []
        self._committing: asyncio.Task[None] | None = None
        self.tickets = TicketMemory()
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._keeper = TreeKeeper(self._tree, self._thread) if self._tree is not None else None

    def open(self) -> Newest:
        """Takes the ledger, checks its newest file, and returns what its newest rows say about receipts.

        Raises SettingsError where the folder can't be used, LedgerDamaged where the ledger does not hold together.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.folder, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
            self._lock = lock_file(lock_path(self.folder, self.site))
        except BlockingIOError:
            raise SettingsError(
                f"SYNC_LEDGER_DIR: another process writes the ledger of site {self.site} in {self.folder}"
            ) from None
        except OSError as error:
            raise SettingsError(
                f"SYNC_LEDGER_DIR: {self.folder} can't be written ({error.strerror}); "
                "without a ledger nothing is delivered"
            ) from None
        newest = self._writer.load()
        if self._tree is not None:
            self._tree.load()
        return newest

    @property
    def rows(self) -> int:
        """How many rows were written since the ledger was opened."""
        return self._writer.rows

    @property
    def head(self) -> chain.Head:
        """The chain's end."""
        return self._writer.head

    @property
    def next_row(self) -> int:
        """A number that no row written from now on is below."""
        return self.head.n + 1

    async def ready(self) -> None:
        """Waits until the folder is there, with room for more than what is under way (SYNC_MIN_FREE_BYTES)."""
        while lacking := self._lacking():
            self._no_room = lacking
            self._say(lacking)
            await asyncio.sleep(_ROOM_RETRY)
        self._no_room = ""

    def _lacking(self) -> str:
        try:
            free = self.room().free
        except OSError as error:
            return f"SYNC_LEDGER_DIR: {self.folder} is not there any more ({error.strerror}); put it back"
        if free < self._min_free:
            return f"{free} bytes free on the disk of {self.folder}, SYNC_MIN_FREE_BYTES is {self._min_free}"
        return ""

    def room(self) -> DiskRoom:
        """What an ordinary process may still write on the ledger's disk. Raises OSError."""
        return DiskRoom.at(self.folder)

    async def record(self, entries: Sequence[Entry]) -> None:
        """Like `append`, but where the disk takes nothing it waits until it does."""
        while entries:
            try:
                await self.append(entries)
            except LedgerFull as error:
                self._not_written = str(error)
                self._say(self._not_written)
                await asyncio.sleep(_ROOM_RETRY)
            else:
                self._not_written = ""
                return

    @property
    def problem(self) -> str:
        """Why no row can be written now; empty where they can."""
        return self._not_written or self._no_room

    def _say(self, problem: str) -> None:
        if self._trouble.due(time.monotonic()):
            log.error("ledger_paused", problem=problem, effect="nothing new is sent, every file is kept")

    async def append(self, entries: Sequence[Entry]) -> None:
        """Returns when these rows are on disk, in this order. Raises LedgerFull where they can't be."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((entries, done))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_queue())
        await done

    async def _commit_queue(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            queue, self._queue = self._queue, []
            group = [entry for entries, _ in queue for entry in entries]
            try:
                await loop.run_in_executor(self._thread, self._commit, group)
            except OSError as error:
                full = LedgerFull(f"SYNC_LEDGER_DIR: {self.folder} can't be written: {error.strerror}")
                for _, done in queue:
                    if not done.done():
                        done.set_exception(full)
            else:
                for _, done in queue:
                    if not done.done():
                        done.set_result(None)
                self.tickets.written(group, self.head.n)
            if self._keeper is not None:
                self._keeper.look(self.head)

    def _commit(self, group: Sequence[Entry]) -> None:
        spent = self._writer.write(group)
        if self._fsynced is not None:
            self._fsynced(spent, len(group))

    async def receipts_of(self, wanted: Mapping[Place, int]) -> dict[Place, list[Row]]:
        """The receipts of these files, so many of each, the best ones last. New rows wait meanwhile."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, receipts_of, self.folder, self.site, wanted)

    async def sign_checkpoint(self, signer: Signer, published: Checkpoint | None) -> SignedNote:
        """The checkpoint of the ledger as it is, signed and on disk; see `checkpoints.sign_checkpoint`.

        Only for a ledger with a tree. Raises NotSigned, CheckpointConflict.
        """
        if self._keeper is None:
            raise NotSigned("the ledger has no tree")
        return await self._keeper.sign(self.head, signer, published)

    async def close(self) -> None:
        """Waits for what is under way and gives the ledger back."""
        if self._committing is not None:
            await self._committing
        if self._keeper is not None:
            await self._keeper.close()
        self._thread.shutdown()
        self._writer.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1
