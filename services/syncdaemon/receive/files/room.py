"""How much of what could not be received is kept: so much of each site, and so much in all.

Whoever may publish could fill the disk with messages that are no files. All workers of a directory share one index, a
line for each message that is kept: site, name and bytes. A worker reads only what others have added since its last
look. The files themselves are counted at the start, and once a minute while there is no room: then what an operator has
taken away makes room again.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from syncdaemon.base.disk import write_all
from syncdaemon.receive.files.home import ReceiveDirectory
from syncdaemon.receive.incoming import NO_SITE, site_of

SIDECAR = b".reason.json"
SITE_BYTES, SITE_MESSAGES = 1 << 30, 10_000  # of one site
ALL_BYTES, ALL_MESSAGES = 8 << 30, 80_000  # of all: a sender can name as many sites as it likes
_COUNT_SECONDS = 60.0  # between two counts of the files
_INDEX = b".index"
_NAME = re.compile(rb"[0-9]+-[0-9]+(\.reason\.json)?")  # as `DeliveryInfo.name` makes it, and its sidecar


class _Kept(NamedTuple):
    site: str
    size: int


class RejectRoom:
    """The room in `.rejected` of `home`. May be called in any thread; waits for other workers an instant."""

    def __init__(self, home: ReceiveDirectory) -> None:
        self._home = home
        self._index = os.path.join(home.rejected, _INDEX)
        self._alone = threading.Lock()
        self._fd = -1
        self._read = 0  # bytes of the index that are known
        self._kept: dict[str, _Kept] = {}
        self._messages: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._all_bytes = 0
        self._counted_at: float | None = None

    def take(self, site: str, name: str, size: int) -> bool:
        """Whether this message may be kept; it counts from now on. One that is kept already may be written again.

        Raises OSError.
        """
        with self._locked():
            if self._counted_at is None or not os.fstat(self._fd).st_size:
                self._count()
            self._read_on()
            if name in self._kept:
                return True
            if not self._fits(site, size) and time.monotonic() - (self._counted_at or 0.0) >= _COUNT_SECONDS:
                self._count()
            if not self._fits(site, size):
                return False
            write_all(self._fd, _line(site, name, size))
            self._read_on()
            return True

    def close(self) -> None:
        """Closes the index."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _fits(self, site: str, size: int) -> bool:
        return (
            self._messages[site] < SITE_MESSAGES
            and self._bytes[site] + size <= SITE_BYTES
            and len(self._kept) < ALL_MESSAGES
            and self._all_bytes + size <= ALL_BYTES
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """With the index as it is now, which no other worker changes."""
        with self._alone:
            while not self._take_index():
                self._forget()
            try:
                yield
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _take_index(self) -> bool:
        """Locks the index; False where another worker has put a new one in its place."""
        if self._fd < 0:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self._index, flags, 0o640)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self._fd), os.stat(self._index))
        return False

    def _forget(self) -> None:
        self.close()
        self._read = 0
        self._kept.clear()
        self._messages.clear()
        self._bytes.clear()
        self._all_bytes = 0

    def _read_on(self) -> None:
        """Reads what was added to the index. A line that a dead worker left half written is passed over."""
        new = os.pread(self._fd, max(0, os.fstat(self._fd).st_size - self._read), self._read)
        self._read += len(new)
        for line in new.decode(errors="replace").split("\n"):
            match line.split(" "):
                case [site, name, size] if size.isdecimal() and name not in self._kept:
                    self._kept[name] = _Kept(site, int(size))
                    self._messages[site] += 1
                    self._bytes[site] += int(size)
                    self._all_bytes += int(size)

    def _count(self) -> None:
        """Makes a new index of the files that are there, and takes it in the place of the old one."""
        self._read_on()
        lines = b"".join(_line(*found) for found in self._files())
        new = self._home.draft_name()
        fd = os.open(new, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            write_all(fd, lines)
            os.rename(new, self._index)
        except OSError:
            os.close(fd)
            os.unlink(new)
            raise
        self._forget()
        self._fd = fd
        self._read_on()
        self._counted_at = time.monotonic()

    def _files(self) -> Iterator[tuple[str, str, int]]:
        with os.scandir(self._home.rejected) as entries:
            sizes = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries if _is_kept(entry)}
        for name, size in sizes.items():
            if name.endswith(SIDECAR):
                continue
            text = os.fsdecode(name)
            known = self._kept.get(text)
            site = known.site if known else self._site(name)
            yield site, text, size + sizes.get(name + SIDECAR, 0)

    def _site(self, name: bytes) -> str:
        """The site of a message that the index does not know, as its sidecar says."""
        try:
            with open(os.path.join(self._home.rejected, name + SIDECAR), "rb") as file:
                told = json.load(file)
                return site_of({"Edge-Site": told["site"]} if "site" in told else told["headers"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return NO_SITE


def _line(site: str, name: str, size: int) -> bytes:
    return f"{site} {name} {size}\n".encode()


def _is_kept(entry: os.DirEntry[bytes]) -> bool:
    return _NAME.fullmatch(entry.name) is not None and entry.is_file(follow_symlinks=False)
