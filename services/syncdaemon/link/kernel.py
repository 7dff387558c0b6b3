"""What the kernel knows of a TCP connection and its peer's kernel: tcp(7), on Linux."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from typing import NamedTuple

_INFO = struct.Struct("8x24I4Q6IQ")  # the first 168 bytes of struct tcp_info, up to tcpi_delivery_rate (Linux 4.9)
_SEGMENT, _SACKED, _RATE = 2, 5, 34


class Gap(NamedTuple):
    """`arrived`: bytes at the peer's kernel that its program can't see, since something before them was lost.

    `rate`: bytes a second that the peer's kernel got recently, whether in order or not.
    """

    arrived: int
    rate: float


def unacknowledged(raw: socket.socket) -> int:
    """Bytes that the peer's kernel has not acknowledged, sent or not: SIOCOUTQ."""
    (queued,) = struct.unpack("i", fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    return int(queued)


def gap(raw: socket.socket) -> Gap | None:
    """The gap in what the peer got; None where there is none, or where the kernel does not say (before Linux 4.9)."""
    packed = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    if len(packed) < _INFO.size:
        return None
    info = _INFO.unpack(packed)
    return Gap(info[_SEGMENT] * info[_SACKED], info[_RATE]) if info[_SACKED] else None
