"""The folders that a group of files goes to: opened one below the other, made where missing, made durable together.

Names are always looked up in an open folder and symbolic links never followed, so nothing leads out of the tree.
"""

from __future__ import annotations

import os
from contextlib import suppress
from errno import ELOOP, ENOTDIR

from syncdaemon.base.disk import sync
from syncdaemon.receive.files.places import TRIES, Taken
from syncdaemon.receive.incoming import MOST_FOLDERS, Wanted, beside

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o750


class NotDurable(Exception):
    """What was done in the folders may or may not be on the disk."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Folders:
    """Below `root`, an open directory."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._open: dict[tuple[bytes, ...], int] = {}  # by the names that they really have

    def open(self, wanted: Wanted) -> tuple[int, bool]:
        """The folder of this file, below its site's, until the next call; and whether it has the name it should.

        Where a name on the way is not a folder's, the one beside it is taken; but never for the site itself. Raises
        Taken, OSError, or NotDurable: what is open counts against the process's limit, so many are synced already.
        """
        if len(self._open) > MOST_FOLDERS:
            self.sync()
        path = (wanted.site.encode(), *wanted.path[:-1])
        at: tuple[bytes, ...] = ()
        for name in path:
            at = self._enter(at, name, wanted.sha256)
        return self._open[at], at == path

    def _enter(self, at: tuple[bytes, ...], name: bytes, sha256: str) -> tuple[bytes, ...]:
        parent = self._open[at] if at else self._root
        first = name
        for _ in range(TRIES):
            below = (*at, name)
            if below in self._open:
                return below
            with suppress(FileExistsError):
                os.mkdir(name, _MODE, dir_fd=parent)
            try:
                self._open[below] = os.open(name, _OPEN, dir_fd=parent)
                return below
            except OSError as error:
                if error.errno not in (ENOTDIR, ELOOP) or not at:
                    raise
            name = beside(name, sha256)
        raise Taken(f"{os.fsdecode(first)!r} has to be a folder and is something else, and so are the names beside it")

    def sync(self) -> None:
        """Makes all that was done in the folders durable, their own names included, and closes them.

        All of them are synced, and not only those that were made here: another worker may have made one just now.
        Raises NotDurable.
        """
        try:
            for fd in self._open.values():
                sync(fd)
            sync(self._root)
        except OSError as error:
            raise NotDurable(error) from None
        finally:
            self.close()

    def close(self) -> None:
        """Closes them as they are."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
