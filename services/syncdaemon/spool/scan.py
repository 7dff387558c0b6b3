"""The scan: the truth about what waits in the replay directory."""

from __future__ import annotations

import os
from collections.abc import Iterator

from syncdaemon import settle
from syncdaemon.backlog import Listing

_SPARE = 2  # how many times the wanted number may pile up before it is cut


def scan(root: bytes, mine: frozenset[bytes], room: int, newest_first: bool, since_ns: int) -> Listing:
    """Everything below `root` but the files of `mine`: the first `room` in order by name, the rest counted.

    A file whose ctime is at or after `since_ns` is named in `fresh` where it is counted only. What vanishes on
    the way is skipped. Raises OSError where `root` itself can't be read.
    """
    sign = -1 if newest_first else 1
    first: list[tuple[int, bytes]] = []
    limit: tuple[int, bytes] | None = None
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
        key = (sign * stat.st_mtime_ns, path)
        if stat.st_ctime_ns >= since_ns:
            fresh.add(path)
        if limit is not None and key > limit:
            beyond += 1
            continue
        first.append(key)
        if len(first) > _SPARE * room:
            beyond += _cut(first, room)
            limit = first[-1] if first else (-(1 << 80), b"")
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
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path + b"/")
                    elif name.endswith(settle.IGNORED_ENDINGS):
                        continue
                    elif entry.is_file(follow_symlinks=False):
                        yield path, entry.stat(follow_symlinks=False)
                    else:
                        yield path, None
                except OSError:
                    continue
