"""The life of the archive: its oldest files are deleted once they are older, or all of them larger, than is kept.

Only regular files below `archive/<day>/` are ever deleted, each by the descriptor of its folder. No symlink is
followed. What can't be read or deleted stays.
"""

from __future__ import annotations

import calendar
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from syncdaemon.base.beneath import LISTING, open_beneath
from syncdaemon.base.keep import Keep
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.own import ARCHIVE

_DAY = re.compile(rb"[0-9]{8}")
_DAY_SECONDS = 86_400


class Deleted(NamedTuple):
    """How many files were deleted, and their bytes."""

    files: int
    size: int


class ArchiveLife:
    """Deletes what is not to be kept of the archive. `young`: seconds for which no file is deleted in any case."""

    def __init__(
        self, directory: ReplayDirectory, keep: Keep, young: float, now: Callable[[], float] = time.time
    ) -> None:
        self._directory, self._keep, self._young, self._now = directory, keep, young, now

    def once(self) -> Deleted:
        """Looks at the whole archive. Raises OSError where it can't be listed; where there is none, nothing is done."""
        try:
            archive = os.open(ARCHIVE, LISTING, dir_fd=self._directory.own)
        except FileNotFoundError:
            return Deleted(0, 0)
        try:
            days = sorted(name for name in map(os.fsencode, os.listdir(archive)) if _DAY.fullmatch(name))
            return self._by_age(archive, days) if self._keep.seconds is not None else self._by_size(archive, days)
        finally:
            os.close(archive)

    def _by_age(self, archive: int, days: list[bytes]) -> Deleted:
        now, least = self._now(), max(self._keep.seconds or 0.0, self._young)
        files = size = 0
        for day in days:
            if now - _begin(day) < least:
                break
            for kept in _files(archive, day):
                if _age(kept, day, now) >= least and kept.delete(archive):
                    files, size = files + 1, size + kept.size
            self._tidy(archive, day, now)
        return Deleted(files, size)

    def _by_size(self, archive: int, days: list[bytes]) -> Deleted:
        now, most = self._now(), self._keep.size or 0
        total = sum(kept.size for day in days for kept in _files(archive, day))
        files = size = 0
        for day in days:
            if total <= most:
                break
            for kept in sorted(_files(archive, day), key=_ArchivedFile.order):
                if total <= most:
                    break
                if _age(kept, day, now) >= self._young and kept.delete(archive):
                    files, size, total = files + 1, size + kept.size, total - kept.size
            self._tidy(archive, day, now)
        return Deleted(files, size)

    def _tidy(self, archive: int, day: bytes, now: float) -> None:
        """Removes the empty folders of a day, and the day's own. Into those of yesterday a file may be moved yet."""
        if now - _begin(day) > 3 * _DAY_SECONDS:
            for folder in sorted(_folders(archive, day), key=len, reverse=True):
                above, _, name = folder.rpartition(b"/")
                with suppress(OSError):  # it is not empty
                    fd = open_beneath(archive, above, LISTING)
                    try:
                        os.rmdir(name, dir_fd=fd)
                    finally:
                        os.close(fd)


class _ArchivedFile(NamedTuple):
    """A file of the archive. `folder`: its path below the archive; `since`: when it got its name there, or later."""

    folder: bytes
    name: bytes
    size: int
    since: float
    id: tuple[int, int]

    def order(self) -> tuple[float, bytes, bytes]:
        """The oldest first."""
        return self.since, self.folder, self.name

    def delete(self, archive: int) -> bool:
        """Whether it was deleted: the very file that was seen, from the folder that is there."""
        try:
            fd = open_beneath(archive, self.folder, LISTING)
        except OSError:
            return False
        try:
            found = os.stat(self.name, dir_fd=fd, follow_symlinks=False)
            if (found.st_dev, found.st_ino) != self.id or not stat.S_ISREG(found.st_mode):
                return False
            os.unlink(self.name, dir_fd=fd)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True


def _begin(day: bytes) -> float:
    """When this day began (UTC); never, where there is no such day."""
    try:
        return float(calendar.timegm(time.strptime(day.decode(), "%Y%m%d")))
    except ValueError:
        return float("inf")


def _age(kept: _ArchivedFile, day: bytes, now: float) -> float:
    """Seconds for which a file is archived: since its last change, or since the end of its day if that is longer ago.

    A backup that was played back has new times, and the folders of its days.
    """
    return max(now - kept.since, now - _begin(day) - _DAY_SECONDS)


def _files(archive: int, day: bytes) -> Iterator[_ArchivedFile]:
    for folder in _folders(archive, day):
        try:
            fd = open_beneath(archive, folder, LISTING)
        except OSError:
            continue
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    with suppress(OSError):
                        if entry.is_file(follow_symlinks=False):
                            found = entry.stat(follow_symlinks=False)
                            known = found.st_dev, found.st_ino
                            name = os.fsencode(entry.name)
                            yield _ArchivedFile(folder, name, found.st_size, found.st_ctime, known)
        finally:
            os.close(fd)


def _folders(archive: int, day: bytes) -> Iterator[bytes]:
    """The day's folder and all below it, each before those in it."""
    waiting = [day]
    while waiting:
        folder = waiting.pop()
        yield folder
        try:
            fd = open_beneath(archive, folder, LISTING)
        except OSError:
            continue
        try:
            with os.scandir(fd) as entries:
                found = [os.fsencode(one.name) for one in entries if one.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        finally:
            os.close(fd)
        waiting += [folder + b"/" + name for name in found]
