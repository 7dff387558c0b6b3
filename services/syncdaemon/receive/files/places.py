"""The name that a file gets in its folder: its own, or one beside it where another content has that already."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from hashlib import sha256

from syncdaemon.base.disk import sync
from syncdaemon.receive.incoming import Wanted, beside

TRIES = 4  # names until a path counts as taken
_CHUNK = 1 << 20
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_OURS = (errno.ELOOP, errno.ENXIO, errno.EACCES)  # there is something, and it is not our file


class Taken(Exception):
    """Every name that the file could have is in use by something else."""


def spot(folder: int, wanted: Wanted) -> tuple[bytes, bool]:
    """The first name in an open folder that is free, or has this content already (then it is durable).

    Raises Taken, or OSError.
    """
    name = wanted.path[-1]
    for _ in range(TRIES):
        same = _holds(folder, name, wanted)
        if same is not False:
            return name, same is True
        name = beside(name, wanted.sha256)
    raise Taken(f"{os.fsdecode(wanted.path[-1])!r} and the names beside it are other files'")


def link(draft: bytes, folder: int, wanted: Wanted) -> bytes | None:
    """Gives the draft its name in the folder, which is returned; None where the content has one already.

    A hard link, and not a rename, which would replace what another worker has put there just now. Raises Taken, or
    OSError.
    """
    while True:
        name, there = spot(folder, wanted)
        if there:
            return None
        with suppress(FileExistsError):
            os.link(draft, name, dst_dir_fd=folder)
            return name


def _holds(folder: int, name: bytes, wanted: Wanted) -> bool | None:
    """Whether this name is our file's; None where the name is free."""
    try:
        fd = os.open(name, _LOOK, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in _NOT_OURS:
            return False
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size != wanted.size or _digest(fd) != wanted.sha256:
            return False
        sync(fd)
        return True
    finally:
        os.close(fd)


def _digest(fd: int) -> str:
    digest = sha256()
    while chunk := os.read(fd, _CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
