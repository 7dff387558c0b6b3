"""The scan: the truth about what waits in the replay directory."""

from __future__ import annotations

import os
from collections.abc import Iterator

from syncdaemon import settle
from syncdaemon.backlog import Listing

_SPARE = 4  # a quarter more than the wanted number may pile up before it is cut
_NO_LIMIT = 1 << 80


def scan(root: bytes, mine: frozenset[bytes], room: int, newest_first: bool, since_ns: int) -> Listing:
    """Everything below `root` but the files of `mine`: the first `room` in order by name, the rest counted.

    A file whose ctime is at or after `since_ns` is named in `fresh` where it is counted only. What vanishes on
    the way is skipped. Raises OSError where `root` itself can't be read.
    """
    sign = -1 if newest_first else 1
    first: list[tuple[int, bytes]] = []
    most = room + room // _SPARE
    last = _NO_LIMIT  # the order key of the last one of `first` since it was cut
    fresh: set[bytes] = set()
    missing = set(mine)
    beyond = odd = 0
    for path, stat in files(root):
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
    return Listing(first, missing, beyond, fresh.difference(path for _, path in first), odd)


def _cut(first: list[tuple[int, bytes]], room: int) -> int:
    first.sort()
    surplus = max(0, len(first) - room)
    del first[room:]
    return surplus


def files(root: bytes, start: bytes = b"") -> Iterator[tuple[bytes, os.stat_result | None]]:
    """What lies below the folder `start` (with its slash, or empty: `root` itself), paths relative to `root`.

    The stat result is None for what is neither file nor folder.

    Folders that vanish or can't be read are skipped, `root` excepted.
    """
    folders = [start]
    while folders:
        folder = folders.pop()
        try:
            entries = os.scandir(os.path.join(root, folder))
        except OSError:
            if not folder:
                raise
            continue
        with entries:
            for entry in entries:
                name = entry.name
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
                except OSError:
                    continue
