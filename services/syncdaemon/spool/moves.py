"""Moving a file so that neither it nor any other is lost, whatever happens at its name meanwhile.

Files are named by the descriptor of their folder and their name in it, so that nothing above the folder matters.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from syncdaemon.base.beneath import make_beneath
from syncdaemon.base.disk import fsync_dir, rename_new
from syncdaemon.base.model import Stamp

NAME_MAX = 255  # bytes of a file's name


class At(NamedTuple):
    """A name in an open folder."""

    folder: int
    name: bytes


def move(source: At, target: At, stamp: Stamp) -> bool:
    """Renames the file if it is the version of `stamp`. One that is there no more needs nothing. Raises OSError."""
    try:
        os.rename(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder)
    except FileNotFoundError:
        if there(source):  # then it is the folder of the target that is gone
            raise
        return False
    if is_version(os.stat(target.name, dir_fd=target.folder, follow_symlinks=False), stamp):
        return True
    # The rename took another file than the one meant.
    move_beside(target, source)
    fsync_dir(source.folder)
    return False


def is_version(found: os.stat_result, stamp: Stamp) -> bool:
    """Whether what was found is the file of this stamp, in its version. A rename moves the ctime, and no more."""
    dev, ino, size, mtime_ns, _ = stamp
    return (found.st_mtime_ns, found.st_ino, found.st_size, found.st_dev) == (mtime_ns, ino, size, dev)


def move_beside(source: At, target: At) -> bytes:
    """Renames to `target`, or to a free name beside it where that is taken; the name that it got."""
    while True:
        name = free_name(target)
        try:
            rename_new(source.name, name, source.folder, target.folder)
        except FileExistsError:
            continue
        return name


def move_back(source: At, root: int, path: bytes) -> bytes:
    """Renames to `path` below the folder `root`, or to a free name beside it; durable. The path that it got."""
    above, _, name = path.rpartition(b"/")
    folder = make_beneath(root, above)
    try:
        name = move_beside(source, At(folder, name))
        fsync_dir(folder)
    finally:
        os.close(folder)
    return os.path.join(above, name)


def free_name(at: At, also: bytes = b"") -> bytes:
    """A name at which there is nothing yet, nor at the one with `also` behind it: this one, or with a number."""
    folder, name = at
    candidate, number = name, 1
    while there(At(folder, candidate)) or there(At(folder, candidate + also)):
        number += 1
        ending = b"~%d" % number
        candidate = name[: NAME_MAX - len(also) - len(ending)] + ending
    return candidate


def there(at: At) -> bool:
    """Whether something is at this name, as far as we can see."""
    try:
        os.stat(at.name, dir_fd=at.folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def stamp_of(name: bytes, folder: int | None = None, files_only: bool = False) -> Stamp | None:
    """The version of what is at this name now; None where there is nothing, or a folder, or with `files_only` no file.

    `folder`: the descriptor of the folder that `name` begins at.
    """
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode) or (files_only and not stat.S_ISREG(found.st_mode)):
        return None
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
