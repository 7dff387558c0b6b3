"""Who has a file open for writing, as the kernel's leases tell it: fcntl(2), F_SETLEASE. Only Linux has them.

This is the only module that asks for a lease.
"""

from __future__ import annotations

import errno
import fcntl
import os

_CAP_LEASE = 28  # <linux/capability.h>
_SET = getattr(fcntl, "F_SETLEASE", None)
LEASES = _SET is not None
"""Whether this system has leases at all. Where it has none, no file system shows us any writer."""


def has_writer(fd: int, keep_out: bool = False) -> bool | None:
    """Whether a process has the file open for writing at this instant; None where the kernel does not tell us.

    It grants a read lease only while no process has, but not on the files of another user without CAP_LEASE (EACCES),
    and not on every file system (EINVAL). `keep_out`: a writer that comes before the file is closed stands still until
    it is, which has to be an instant.
    """
    try:
        _take(fd)
        if not keep_out:
            _give_back(fd)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def refusal(fd: int) -> str:
    """Why the kernel grants no read lease on the file system of this file; empty where it does."""
    try:
        _take(fd)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def sees_all_writers() -> bool:
    """Whether this process has CAP_LEASE (capabilities(7)), and so `has_writer` tells of the files of all users."""
    try:
        with open("/proc/self/status", "rb") as file:
            effective = next(line for line in file if line.startswith(b"CapEff:"))
    except (OSError, StopIteration):
        return False
    return LEASES and bool(int(effective.split()[1], 16) >> _CAP_LEASE & 1)


def _take(fd: int) -> None:
    if _SET is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.fcntl(fd, _SET, fcntl.F_RDLCK)


def _give_back(fd: int) -> None:
    if _SET is not None:
        fcntl.fcntl(fd, _SET, fcntl.F_UNLCK)
