"""Opening a file that somebody else may be writing to, and telling whether somebody is."""

from __future__ import annotations

import os
from fcntl import F_RDLCK, F_SETLEASE, F_UNLCK, fcntl

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How a file is opened: neither through a symlink, nor waiting for the other end of a pipe."""

_SMALL = 64 << 10  # bytes that are read in no time


def has_writer(fd: int, size: int) -> bool:
    """Whether somebody has the file open for writing at this instant.

    The kernel grants a read lease only while nobody has (fcntl(2), F_SETLEASE), but only on local file systems
    and files of our own user; elsewhere this can't be told and the quiet time decides alone. A lease makes a writer
    that comes now wait; closing the file ends it, for a large file that is too late.
    """
    try:
        fcntl(fd, F_SETLEASE, F_RDLCK)
        if size > _SMALL:
            fcntl(fd, F_SETLEASE, F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
