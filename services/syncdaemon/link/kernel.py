"""What the kernel knows of a TCP connection and its peer's kernel: tcp(7), on Linux.

macOS tells less: how much of a connection's buffer is full (getsockopt(2), SO_NWRITE), and no gap. The pace is then
found by the answers alone. This is the only module that asks either kernel.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import termios
from contextlib import suppress
from typing import NamedTuple

_INFO = struct.Struct("8x24I4Q6IQ")  # the first 168 bytes of struct tcp_info, up to tcpi_delivery_rate (Linux 4.9)
_SEGMENT, _SACKED, _RATE = 2, 5, 34
_TCP_INFO = getattr(socket, "TCP_INFO", None)
_QUEUED = getattr(termios, "TIOCOUTQ", None)  # SIOCOUTQ of a socket is the same number
_SO_NWRITE = 0x1024  # <sys/socket.h> of macOS


class Gap(NamedTuple):
    """`arrived`: bytes at the peer's kernel that its program can't see, since something before them was lost.

    `rate`: bytes a second that the peer's kernel got recently, whether in order or not.
    """

    arrived: int
    rate: float


def unacknowledged(raw: socket.socket) -> int:
    """Bytes that the peer's kernel has not acknowledged, sent or not: SIOCOUTQ or SO_NWRITE; 0 where it is not known.

    With 0, a connection that is full and moves slowly counts as dead when the server's answers stay away.
    """
    if sys.platform == "darwin":
        with suppress(OSError):
            return raw.getsockopt(socket.SOL_SOCKET, _SO_NWRITE)
        return 0
    if _QUEUED is None:
        return 0
    (queued,) = struct.unpack("i", fcntl.ioctl(raw.fileno(), _QUEUED, b"\0" * 4))
    return int(queued)


def gap(raw: socket.socket) -> Gap | None:
    """The gap in what the peer got; None where there is none, or where the kernel does not say (before Linux 4.9)."""
    if _TCP_INFO is None:
        return None
    packed = raw.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO.size)
    if len(packed) < _INFO.size:
        return None
    info = _INFO.unpack(packed)
    return Gap(info[_SEGMENT] * info[_SACKED], info[_RATE]) if info[_SACKED] else None
