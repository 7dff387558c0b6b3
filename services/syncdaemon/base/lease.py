"""Opening a file that somebody else may be writing to, and telling whether somebody is."""

from __future__ import annotations

import os
from fcntl import F_RDLCK, F_SETLEASE, F_UNLCK, fcntl

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How a file is opened: neither through a symlink, nor waiting for the other end of a pipe."""


def has_writer(fd: int, keep_out: bool = False) -> bool:
    """Whether somebody has the file open for writing at this instant.

    The kernel grants a read lease only while nobody has (fcntl(2), F_SETLEASE), but only on local file systems
    and files of our own user; elsewhere this can't be told and the quiet time decides alone. `keep_out`: a writer that
    comes before the file is closed stands still until it is, which has to be an instant.
    """
    try:
        fcntl(fd, F_SETLEASE, F_RDLCK)
        if not keep_out:
            fcntl(fd, F_SETLEASE, F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
