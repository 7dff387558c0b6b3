"""The file of the day: rows are added at its end, and each group is on disk before `write` returns.

A write that fails is taken back, and a torn end that a crash left is repaired, before anything else is written.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from syncdaemon.base.disk import fsync_dir, sync, sync_data, write_all
from syncdaemon.ledger import chain, rows
from syncdaemon.ledger.files import check_last, end, files, follow, last_lines, rows_on, torn_end
from syncdaemon.ledger.rows import ABOUT_RECEIPTS, Entry

RECENT_ROWS = 16_384  # at the end of the ledger: more than can be recorded and not yet retired


def now_text() -> str:
    """The wall clock as a row carries it: RFC 3339, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Written = Callable[[Sequence[bytes], chain.Head, chain.Head], None]


class Newest(NamedTuple):
    """The rows about receipts among the last `RECENT_ROWS` of a ledger. `whole`: the ledger has no others."""

    rows: list[dict[str, Any]]
    whole: bool


class Writer:
    """Writes the newest file of a site's ledger. `head` is the chain's end, `rows` counts what was written here.

    `written` is called when a group is on disk: with its lines, and the chain's end before and after them.
    """

    def __init__(self, folder: Path, site: str, written: Written | None = None) -> None:
        self.head = chain.START
        self._written = written
        self.rows = 0
        self._folder = folder
        self._site = site
        self._fd = -1
        self._file = ""
        self._size = 0
        self._torn = b""
        self._spoiled = False

    def load(self) -> Newest:
        """Checks the newest file, and goes on at its end.

        A torn end is repaired with the first row that is written: a disk that is full now may take it later.

        Raises LedgerDamaged where the ledger does not hold together.
        """
        existing = [path for path in files(self._folder, self._site) if path.stat().st_size]
        if not existing:
            return Newest([], whole=True)
        newest = existing[-1]
        before = end(existing[-2]) if len(existing) > 1 else None
        self.head = before or chain.START
        tail: deque[bytes] = deque(maxlen=RECENT_ROWS)
        count = 0
        for line, self.head in follow(newest, before):
            tail.append(line)
            count += 1
        if tail:
            check_last(newest, tail[-1])
        self._file = newest.name
        self._torn = torn_end(newest)
        self._size = newest.stat().st_size - len(self._torn)
        found = rows_on(newest, tail, count - len(tail) + 1, ABOUT_RECEIPTS)
        seen = len(tail)
        for path in reversed(existing[:-1]):
            lines = last_lines(path, RECENT_ROWS - seen)
            found = rows_on(path, lines, -len(lines), ABOUT_RECEIPTS) + found
            seen += len(lines)
        return Newest(found, whole=seen == self.head.n)

    def write(self, group: Sequence[Entry]) -> float:
        """Writes these rows and waits for the disk; how many seconds that took.

        Raises OSError. The file ends then where it ended before.
        """
        if self._torn:
            self._repair()
        if self._spoiled:
            self._cut_back()
        before = head = self.head
        lines: list[bytes] = []
        ts = now_text()
        for event, fields in group:
            line, head = chain.seal(head, self._site, ts, event, fields)
            lines.append(line)
        data = b"\n".join([*lines, b""])
        self._choose_file(ts)
        try:
            began = time.perf_counter()
            write_all(self._fd, data)
            sync_data(self._fd)
            spent = time.perf_counter() - began
        except OSError:
            self._spoiled = True
            self._cut_back()
            raise
        self._size += len(data)
        self.head = head
        self.rows += len(group)
        if self._written is not None:
            self._written(lines, before, head)
        return spent

    def _repair(self) -> None:
        """Puts a `recovered` row in the place of the torn end. Cut off half way, it is a torn end again."""
        line, head = chain.seal(self.head, self._site, now_text(), *rows.recovered(self._torn))
        fd = os.open(self._folder / self._file, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.lseek(fd, self._size, os.SEEK_SET)
            write_all(fd, line + b"\n")
            os.ftruncate(fd, self._size + len(line) + 1)
            sync(fd)
        finally:
            os.close(fd)
        self._torn = b""
        self.head = head
        self.rows += 1

    def _cut_back(self) -> None:
        """Takes off what a failed write has left. Where the disk does not even take that, the next write does it."""
        os.ftruncate(self._fd, self._size)
        self._spoiled = False

    def _choose_file(self, ts: str) -> None:
        """Opens the file of the day. A clock that was set back does not open an older file again."""
        wanted = f"evidence-{self._site}-{ts[:4]}{ts[5:7]}{ts[8:10]}.jsonl"
        name = max(wanted, self._file)
        if name == self._file and self._fd >= 0:
            return
        fd = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._size = os.fstat(fd).st_size
        fsync_dir(self._folder)
        self._file = name

    def close(self) -> None:
        """Closes the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
