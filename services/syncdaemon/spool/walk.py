"""Walking through a folder that has come, to watch it and all below it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote_from_bytes

import structlog

from syncdaemon.base.beneath import LISTING, open_beneath
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.spool.sightings import NewFolder

log = structlog.get_logger(__name__)


class Walk:
    """Calls `watch` for each folder, open, before it looks into it, and `whole` for each file that came to its end.

    Paths are relative to the open folder `root`; those of folders have a slash at the end. Hidden folders are left out.
    `stopped`: the walk under way is to end soon. `said`: what was said of folders that can't be watched.
    """

    def __init__(
        self,
        root: int,
        watch: Callable[[int, bytes], None],
        whole: Callable[[bytes, int], None],
        said: OnceAMinute,
    ) -> None:
        self._root = root
        self._watch = watch
        self._whole = whole
        self._said = said
        self.stopped = False

    def add(self, new: NewFolder, must: bool = False) -> None:
        """Watches a folder and all below it. One that has gone, or can't be watched, is left to the scans.

        Where it was renamed into place, its files came to their end by that, if their times are not later than the
        folder's own. Where files were put into it after the rename, that can't be told of any of them.

        Raises OSError where it `must` be watched and can't be.
        """
        by_ns: int | None = None
        folders = [new.path]
        while folders and not self.stopped:
            path = folders.pop()
            try:
                fd = open_beneath(self._root, path.rstrip(b"/"), LISTING)
                try:
                    if path == new.path and new.whole:
                        by_ns = _renamed_by(os.fstat(fd))
                    self._watch(fd, path)
                    folders += self._look_into(fd, path, by_ns)
                finally:
                    os.close(fd)
            except OSError as error:
                if must and path == new.path:
                    raise
                self._left_out(path, error)

    def _look_into(self, fd: int, path: bytes, by_ns: int | None) -> list[bytes]:
        """The folders in this one. Its files were whole at `by_ns`, if that is known and they are not younger."""
        folders: list[bytes] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if name.startswith(b"."):
                    continue
                with suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path + name + b"/")
                    elif by_ns is not None and entry.stat(follow_symlinks=False).st_ctime_ns <= by_ns:
                        self._whole(path + name, by_ns)
        return folders

    def _left_out(self, path: bytes, error: OSError) -> None:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return
        if self._said.due(time.monotonic(), "folder_not_watched"):
            why, effect = error.strerror or str(error), "only scans find its files"
            log.warning("folder_not_watched", path=quote_from_bytes(path), error=why, effect=effect)


def _renamed_by(folder: os.stat_result) -> int | None:
    """When a folder was renamed into place, by its times; None where its entries changed since, or in the same tick."""
    return folder.st_ctime_ns if folder.st_mtime_ns < folder.st_ctime_ns else None
