"""The scan: the truth about what waits in the replay directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from urllib.parse import quote_from_bytes

from syncdaemon.base.beneath import LISTING, open_beneath
from syncdaemon.spool import settle
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
    first: list[tuple[int, bytes]] = []
    most = room + room // _SPARE
    last = _NO_LIMIT  # the order key of the last one of `first` since it was cut
    fresh: set[bytes] = set()
    missing = set(mine)
    unread: list[str] = []
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
        first.append((order, path))
        if len(first) > most:
            beyond += _cut(first, room)
            last = first[-1][0] if first else -_NO_LIMIT
    beyond += _cut(first, room)
    fresh.difference_update(path for _, path in first)
    return Listing(first, missing, beyond, fresh, odd, len(unread), unread[0] if unread else "")


def _cut(first: list[tuple[int, bytes]], room: int) -> int:
    first.sort()
    surplus = max(0, len(first) - room)
    del first[room:]
    return surplus


def files(
    root: int,
    start: bytes = b"",
    unread: list[str] | None = None,
    entered: Callable[[bytes, int], object] | None = None,
) -> Iterator[tuple[bytes, os.stat_result | None]]:
    """What lies below the folder `start` (with its slash, or empty: `root` itself), paths relative to `root`.

    `root` is a descriptor. Each folder is opened beneath it, so that one which is swapped for a symlink is not entered.
    The stat result is None for what is neither file nor folder.

    Folders that vanish are skipped, and so are those that can't be read, `root` excepted; these are
    noted in `unread`, the first with its cause, the others as an empty string each. `entered` is called with the path
    and the descriptor of each folder that can be.
    """
    unread = [] if unread is None else unread
    folders = [start]
    while folders:
        folder = folders.pop()
        try:
            fd = open_beneath(root, folder[:-1], LISTING)
        except OSError as error:
            if not folder:
                raise
            _note(unread, folder, error)
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
                            if not name.endswith(settle.IGNORED_ENDINGS):
                                yield path, entry.stat(follow_symlinks=False)
                        elif entry.is_dir(follow_symlinks=False):
                            folders.append(path + b"/")
                        elif not name.endswith(settle.IGNORED_ENDINGS):
                            yield path, None
                    except OSError as error:
                        _note(unread, path, error)
        finally:
            os.close(fd)


def _note(unread: list[str], path: bytes, error: OSError) -> None:
    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # those have vanished, or are symlinks by now
        unread.append("" if unread else f"{quote_from_bytes(path)}: {error.strerror}")
