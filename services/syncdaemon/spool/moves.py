"""Moving a file so that neither it nor any other is lost, whatever happens at its name meanwhile."""

from __future__ import annotations

import os

from syncdaemon.base.disk import fsync_dir, make_dirs, rename_new
from syncdaemon.base.model import Stamp

NAME_MAX = 255  # bytes of a file's name


def move(source: bytes, target: bytes, stamp: Stamp, root: bytes) -> bool:
    """Renames the file, to below `root`, if it is the version of `stamp`. One that is there no more needs nothing."""
    try:
        os.rename(source, target)
    except FileNotFoundError:
        if os.path.isdir(os.path.dirname(target)):
            return False
        make_dirs(os.path.dirname(target), root)
        return move(source, target, stamp, root)
    found = os.lstat(target)
    if (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns) == stamp[:4]:
        return True
    # The rename took another file than the one meant.
    move_beside(target, source)
    fsync_dir(os.path.dirname(source))
    return False


def move_beside(source: bytes, target: bytes) -> bytes:
    """Renames to `target`, or to a free name beside it where that is taken; the name that it got."""
    while True:
        place = free_name(target)
        try:
            rename_new(source, place)
        except FileExistsError:
            continue
        return place


def move_back(source: bytes, path: bytes, root: bytes) -> bytes:
    """Renames to `path` below `root`, or to a free name beside it; durable. The full path that it got."""
    target = os.path.join(root, path)
    make_dirs(os.path.dirname(target), root)
    target = move_beside(source, target)
    fsync_dir(os.path.dirname(target))
    return target


def free_name(path: bytes, also: bytes = b"") -> bytes:
    """A name at which there is nothing yet, nor at the one with `also` behind it: this one, or with a number."""
    folder, name = os.path.split(path)
    candidate, number = path, 1
    while os.path.lexists(candidate) or os.path.lexists(candidate + also):
        number += 1
        ending = b"~%d" % number
        candidate = os.path.join(folder, name[: NAME_MAX - len(also) - len(ending)] + ending)
    return candidate


def stamp_of(path: bytes) -> Stamp | None:
    """The version of the file at `path` now; None where there is none."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def below(root: bytes, path: bytes) -> bool:
    """Whether no folder on the way from `root` to the relative `path` is a symlink."""
    folder = os.path.dirname(path)
    while folder:
        if os.path.islink(os.path.join(root, folder)):
            return False
        folder = os.path.dirname(folder)
    return True
