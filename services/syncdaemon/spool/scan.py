"""The scan: the truth about what waits in the replay directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from urllib.parse import quote_from_bytes

from syncdaemon.base import taken
from syncdaemon.base.beneath import LISTING, open_beneath
from syncdaemon.spool.arrival import first_sight
from syncdaemon.spool.backlog import Listing
from syncdaemon.spool.sizes import Sizes

_SPARE = 4  # a quarter more than the wanted number may pile up before it is cut
_NO_LIMIT = 1 << 80


def scan(
    root: int, mine: frozenset[bytes], room: int, newest_first: bool, since_ns: int, sizes: Sizes | None = None
) -> Listing:
    """Everything below the open folder `root` but the files of `mine`.

    The first `room` in order by name, the rest counted. A file whose ctime is at or after `since_ns` is named in
    `fresh` where it is counted only. `sizes` gets the size of each file, also of `mine`. What vanishes on the way is
    skipped. Raises OSError where `root` itself can't be read.
    """
    sign = -1 if newest_first else 1
    first: list[tuple[int, bytes, int]] = []  # order key, path, arrival
    most = room + room // _SPARE
    last = _NO_LIMIT  # the order key of the last one of `first` since it was cut
    fresh: set[bytes] = set()
    missing = set(mine)
    unread = Unread()
    beyond = odd = 0
    for path, stat in files(root, unread=unread):
        if stat is not None and sizes is not None:
            sizes.add(stat.st_size)
        if path in missing:
            missing.discard(path)
            continue
        if stat is None:
            odd += 1
            continue
        order = sign * stat.st_mtime_ns
        if stat.st_ctime_ns >= since_ns:
            fresh.add(path)
        if order > last:
            beyond += 1
            continue
        first.append((order, path, first_sight(stat.st_ctime_ns, stat.st_ino)))
        if len(first) > most:
            beyond += _cut(first, room)
            last = first[-1][0] if first else -_NO_LIMIT
    beyond += _cut(first, room)
    fresh.difference_update(path for _, path, _ in first)
    return Listing(
        [(order, path) for order, path, _ in first],
        missing,
        beyond,
        fresh,
        odd,
        unread.count,
        unread.one,
        unread.folders,
        {path: arrived for _, path, arrived in first},
    )


class Unread:
    """What a walk could not look at: how many folders and files, how many of them folders, and one with the cause."""

    def __init__(self) -> None:
        self.count = self.folders = 0
        self.one = ""

    def note(self, path: bytes, error: OSError, is_folder: bool) -> None:
        """This one could not be looked at. One that has vanished, or is a symlink by now, is none of them."""
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            self.count += 1
            self.folders += is_folder
            self.one = self.one or f"{quote_from_bytes(path)}: {error.strerror}"


def _cut(first: list[tuple[int, bytes, int]], room: int) -> int:
    first.sort()
    surplus = max(0, len(first) - room)
    del first[room:]
    return surplus


def files(
    root: int,
    start: bytes = b"",
    unread: Unread | None = None,
    entered: Callable[[bytes, int], object] | None = None,
) -> Iterator[tuple[bytes, os.stat_result | None]]:
    """What lies below the folder `start` (with its slash, or empty: `root` itself), paths relative to `root`.

    `root` is a descriptor. Each folder is opened beneath it, so that one which is swapped for a symlink is not entered.
    The stat result is None for what is neither file nor folder.

    Folders that vanish are skipped, and so are those that can't be read, `root` excepted; these are
    noted in `unread`. `entered` is called with the path and the descriptor of each folder that can be.
    """
    unread = Unread() if unread is None else unread
    folders = [start]
    while folders:
        folder = folders.pop()
        try:
            fd = open_beneath(root, folder[:-1], LISTING)
        except OSError as error:
            if not folder:
                raise
            unread.note(folder, error, is_folder=True)
            continue
        try:
            if entered is not None:
                entered(folder[:-1], fd)
            with os.scandir(fd) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    if name.startswith(b"."):
                        continue
                    path = folder + name
                    try:
                        if entry.is_file(follow_symlinks=False):
                            if not name.endswith(taken.IGNORED_ENDINGS):
                                yield path, entry.stat(follow_symlinks=False)
                        elif entry.is_dir(follow_symlinks=False):
                            folders.append(path + b"/")
                        elif not name.endswith(taken.IGNORED_ENDINGS):
                            yield path, None
                    except OSError as error:
                        unread.note(path, error, is_folder=False)
        finally:
            os.close(fd)
