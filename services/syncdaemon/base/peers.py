"""Who is at the other end of a Unix socket, as the kernel tells it.

Linux tells it by SO_PEERCRED (unix(7)): the one who connected, or for a client the one who listens, as they were at
that time. macOS tells it by getpeereid(3), without the process. This is the only module that asks.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from typing import NamedTuple

_CREDENTIALS = struct.Struct("3i")  # struct ucred of <sys/socket.h>: pid, uid, gid
_PEERCRED = getattr(socket, "SO_PEERCRED", None)
_OVERFLOW = 65_534  # user_namespaces(7): what stands for a user of another namespace, unless the file says otherwise
_OVERFLOW_FILE = "/proc/sys/kernel/overflowuid"
_NO_ID = -1


class Peer(NamedTuple):
    """A process by its user and group. `pid` is for the log alone: it may be another process's by now; 0: not known."""

    uid: int
    gid: int
    pid: int = 0

    @property
    def unknown(self) -> bool:
        """Whether the kernel could not tell us who it is: it is a user of another user namespace."""
        return self.uid in (_NO_ID, _overflow())


def peer_of(connection: socket.socket) -> Peer:
    """Who is at the other end. Raises OSError where the kernel does not tell it."""
    if _PEERCRED is not None:
        pid, uid, gid = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, _PEERCRED, _CREDENTIALS.size))
        return Peer(uid, gid, pid)
    return _by_getpeereid(connection)


def _by_getpeereid(connection: socket.socket) -> Peer:
    function = getattr(ctypes.CDLL(None, use_errno=True), "getpeereid", None)
    if function is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    uid, gid = ctypes.c_uint32(), ctypes.c_uint32()
    if function(connection.fileno(), ctypes.byref(uid), ctypes.byref(gid)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return Peer(uid.value, gid.value)


def _overflow() -> int:
    try:
        with open(_OVERFLOW_FILE, "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return _OVERFLOW
