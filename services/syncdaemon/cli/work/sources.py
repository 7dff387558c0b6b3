"""What is to be put: files, folders with all below, or standard input."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from syncdaemon.base import taken
from syncdaemon.cli.work.put import FileToPut, complain

STDIN = "-"


def sources_of(given: str, name: bytes) -> Iterator[FileToPut | str]:
    """What is to be put of a FILE, or why something can't be."""
    path = Path(given)
    if given == STDIN:
        yield FileToPut(0, name)
    elif path.is_dir():
        yield from _in_folder(path, name or os.fsencode(path.resolve().name))
    else:
        yield FileToPut(path, name)


def _in_folder(folder: Path, name: bytes) -> Iterator[FileToPut | str]:
    """Every file in a folder and below, in order. What the daemon never takes is left out, with a line of its own.

    Nothing here raises an error for a name, such as one behind a path that is too long: `os.path` knows none.
    """
    unread: list[OSError] = []
    count, top = 0, os.path.join(folder, "")
    for above, below, files in os.walk(folder, onerror=unread.append):
        below.sort()
        for one in list(below):
            path = os.path.join(above, one)
            if one.startswith(".") or os.path.islink(path):
                below.remove(one)
                complain(f"{path} is left out: hidden folders and symlinks are never taken")
        for one in sorted(files):
            path = os.path.join(above, one)
            if taken.ignored(os.fsencode(one)):
                complain(f"{path} is left out: a file of this name is never taken")
            elif os.path.islink(path) or (os.path.exists(path) and not os.path.isfile(path)):
                complain(f"{path} is left out: it is no regular file")
            else:
                count += 1
                yield FileToPut(Path(path), os.path.join(name, os.fsencode(path.removeprefix(top))))
    yield from (f"{error.filename}: {error.strerror}" for error in unread)
    if not count and not unread:
        yield f"{folder}: there is no file in it"
