"""The few calls on files that have to survive a power cut, and the lock between processes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def lock_file(path: bytes | Path) -> int:
    """Makes the file if need be and locks it for as long as the descriptor that is returned is open.

    Raises BlockingIOError where another process has it, OSError where it can't be made.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def write_durably(path: bytes, data: bytes) -> None:
    """Writes a whole file so that after a power cut there is all of it, or none."""
    temporary = path + b".tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    fsync_dir(os.path.dirname(path))


def make_dirs(path: bytes) -> None:
    """Makes a folder and what is missing above it, each durable in its parent. One that is there is fine.

    Raises OSError; FileExistsError or NotADirectoryError where a name on the way is a file's.
    """
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_dirs(parent)
    os.mkdir(path, 0o750)
    fsync_dir(parent)


def fsync_dir(path: bytes | Path) -> None:
    """Makes the renames, creations and removals in this directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
