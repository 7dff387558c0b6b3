"""The ledger: an append-only file a day, each row on disk before anybody acts on it.

Rows are committed in groups: all that wait when the disk becomes free go out in one write and one `fdatasync`,
in a thread. One process writes a site's ledger at a time.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog

from syncdaemon.base.disk import fsync_dir, lock_file, write_all
from syncdaemon.base.errors import LedgerFull, SettingsError
from syncdaemon.base.model import Place, Row
from syncdaemon.ledger import chain
from syncdaemon.ledger.attempts import open_attempts
from syncdaemon.ledger.files import (
    Damage,
    check_last,
    end,
    files,
    follow,
    last_lines,
    lock_path,
    read,
    rows_numbered,
    sites,
    torn_end,
)
from syncdaemon.ledger.receipts import receipts_of

__all__ = [
    "Damage",
    "Entry",
    "Ledger",
    "end",
    "files",
    "last_lines",
    "lock_path",
    "now_text",
    "open_attempts",
    "read",
    "rows_numbered",
    "sites",
]

RECENT_ROWS = 16_384  # at the end of the ledger: more than can be recorded and not yet retired

_ROOM_RETRY = 1.0  # seconds between two looks at a full disk
_SAY_AGAIN = 60.0

log = structlog.get_logger(__name__)

Entry = tuple[str, Row]
"""A row to write: its event and its fields."""


def now_text() -> str:
    """The wall clock as a row carries it: RFC 3339, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Ledger:
    """The one writer of a site's ledger, from `open` to `close`."""

    def __init__(
        self,
        folder: Path,
        site: str,
        min_free: int = 0,
        fsynced: Callable[[float, int], None] = lambda seconds, rows: None,
    ) -> None:
        self.folder = folder
        self.site = site
        self._no_room = self._not_written = ""
        self._min_free = min_free
        self.rows = 0
        self.head = chain.START
        self._fsynced = fsynced
        self._fd = -1
        self._file = ""
        self._size = 0
        self._torn = b""
        self._spoiled = False
        self._lock = -1
        self._said_at = -_SAY_AGAIN
        self._queue: list[tuple[Sequence[Entry], asyncio.Future[None]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "ledger")

    def open(self, recent: Callable[[dict[str, Any]], None] = lambda row: None) -> None:
        """Takes the ledger and checks its newest file, whose newest rows go to `recent`.

        A torn end is repaired with the first row that is written: a disk that is full now may take it later.

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
        self._load(recent)

    def _load(self, recent: Callable[[dict[str, Any]], None]) -> None:
        existing = [path for path in files(self.folder, self.site) if path.stat().st_size]
        if not existing:
            return
        newest = existing[-1]
        tail: deque[bytes] = deque(maxlen=RECENT_ROWS)
        before = end(existing[-2]) if len(existing) > 1 else None
        self.head = before or chain.START
        for line, self.head in follow(newest, before):
            tail.append(line)
        if tail:
            check_last(newest, tail[-1])
        for path in reversed(existing[:-1]):
            tail.extendleft(reversed(last_lines(path, RECENT_ROWS - len(tail))))
        for line in tail:
            recent(json.loads(line))
        self._file = newest.name
        self._torn = torn_end(newest)
        self._size = newest.stat().st_size - len(self._torn)

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
            free = self.free_bytes()
        except OSError as error:
            return f"SYNC_LEDGER_DIR: {self.folder} is not there any more ({error.strerror}); put it back"
        if free < self._min_free:
            return f"{free} bytes free on the disk of {self.folder}, SYNC_MIN_FREE_BYTES is {self._min_free}"
        return ""

    def free_bytes(self) -> int:
        """What an ordinary process may still write on the ledger's disk."""
        disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize

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
        if (now := time.monotonic()) - self._said_at > _SAY_AGAIN:
            self._said_at = now
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

    def _commit(self, group: Sequence[Entry]) -> None:
        """Writes the rows and waits for the disk. After an error the file ends where it ended before."""
        if self._torn:
            self._repair()
        if self._spoiled:
            self._cut_back()
        head, lines, ts = self.head, bytearray(), now_text()
        for event, fields in group:
            line, head = chain.seal(head, self.site, ts, event, fields)
            lines += line
            lines += b"\n"
        self._choose_file(ts)
        try:
            began = time.perf_counter()
            write_all(self._fd, lines)
            os.fdatasync(self._fd)
            spent = time.perf_counter() - began
        except OSError:
            self._spoiled = True
            self._cut_back()
            raise
        self._size += len(lines)
        self.head = head
        self.rows += len(group)
        self._fsynced(spent, len(group))

    def _repair(self) -> None:
        """Puts a `recovered` row in the place of the torn end. Cut off half way, it is a torn end again."""
        fields: Row = {"bytes": len(self._torn), "sha256": sha256(self._torn).hexdigest()}
        line, head = chain.seal(self.head, self.site, now_text(), "recovered", fields)
        fd = os.open(self.folder / self._file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.lseek(fd, self._size, os.SEEK_SET)
            write_all(fd, line + b"\n")
            os.ftruncate(fd, self._size + len(line) + 1)
            os.fsync(fd)
        finally:
            os.close(fd)
        self._torn = b""
        self.head = head
        self.rows += 1

    def _cut_back(self) -> None:
        """Takes off what a failed write has left. Where the disk does not even take that, the next commit does it."""
        os.ftruncate(self._fd, self._size)
        self._spoiled = False

    def _choose_file(self, ts: str) -> None:
        """Opens the file of the day. A clock that was set back does not open an older file again."""
        wanted = f"evidence-{self.site}-{ts[:4]}{ts[5:7]}{ts[8:10]}.jsonl"
        name = max(wanted, self._file)
        if name == self._file and self._fd >= 0:
            return
        fd = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._size = os.fstat(fd).st_size
        fsync_dir(self.folder)
        self._file = name

    async def receipts_of(self, wanted: Mapping[Place, int]) -> dict[Place, list[Row]]:
        """The receipts of these files, so many of each, the best ones last. New rows wait meanwhile."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, receipts_of, self.folder, self.site, wanted)

    async def close(self) -> None:
        """Waits for what is under way and gives the ledger back."""
        if self._committing is not None:
            await self._committing
        self._thread.shutdown()
        for fd in (self._fd, self._lock):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock = -1
