"""Empty folders of producers are removed once nothing has happened in them for long.

Only rmdir(2) is ever called, which takes no folder that has anything in it, a hidden name included. A folder counts
from its last change, its own making and renaming included (mtime and ctime), by the file system's clock. Whatever comes
or goes in it begins that time anew. A folder that can't be looked at stays, and so does everything of our own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from syncdaemon.base.beneath import LISTING, open_beneath
from syncdaemon.spool.home import ReplayDirectory


class EmptyFolders:
    """Removes empty folders in which nothing has happened for `seconds`."""

    def __init__(self, directory: ReplayDirectory, seconds: float) -> None:
        self._directory, self._seconds = directory, seconds

    def once(self) -> int:
        """Looks at every folder below the replay directory; how many were removed."""
        now = self._directory.now_ns()
        root = self._directory.root
        return sum(self._remove(root, path, now) for path in list(_empty(root)))

    def _remove(self, root: int, path: bytes, now: int) -> bool:
        above, _, name = path.rpartition(b"/")
        with suppress(OSError):  # it is gone, it is not empty, or it is not ours to remove
            parent = open_beneath(root, above, LISTING)
            try:
                if self._is_old(os.stat(name, dir_fd=parent, follow_symlinks=False), now):
                    os.rmdir(name, dir_fd=parent)
                    return True
            finally:
                os.close(parent)
        return False

    def _is_old(self, found: os.stat_result, now: int) -> bool:
        return now - max(found.st_mtime_ns, found.st_ctime_ns) > self._seconds * 1e9


def _empty(root: int) -> Iterator[bytes]:
    """The paths of the empty folders. Hidden ones are left alone, and so is what is in them."""
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        try:
            fd = open_beneath(root, folder, LISTING)
        except OSError:
            continue
        try:
            empty = True
            with os.scandir(fd) as entries:
                for entry in entries:
                    empty = False
                    name = os.fsencode(entry.name)
                    if not name.startswith(b".") and entry.is_dir(follow_symlinks=False):
                        waiting.append(os.path.join(folder, name))
        except OSError:
            continue
        finally:
            os.close(fd)
        if empty and folder:
            yield folder
