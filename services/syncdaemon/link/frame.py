"""The frames of the client protocol that we send ourselves, and the one guard that each of them passes. Pure.

A subject or a header can hold a name that somebody else chose: a file's, an object's, the reply subject of a message.
A blank or a line's end in it would make a second command of the rest, which the server carries out with our rights.
So nothing is framed in any other module, and every function here raises `Unsendable` rather than let it pass.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from syncdaemon.base.errors import Unsendable

Payload = TypeVar("Payload", bytes, memoryview)

Buffer = bytes | memoryview
"""Bytes to be sent, which may be a part of something larger."""

Field = tuple[str, str | int]
"""Name and value of a header."""

FRAME_BYTES = 64
"""About how many bytes a frame has beside subject, headers and payload."""

MOST_SUBJECT = 1_900
"""Bytes of a subject. Two of them, with two sizes, fit into a line of nats-server's `max_control_line` (4,096)."""

MOST_HEADERS = 256 << 10
"""Bytes of a header block: far more than a stream takes, which refuses one of over 64 KiB (10097)."""

PING, PONG = b"PING\r\n", b"PONG\r\n"

_SHOWN = 60  # bytes of what can't be sent
_SUBJECT = re.compile(rb"[!-~\x80-\xff]{1,%d}" % MOST_SUBJECT)
_PLAIN = bytes(byte for byte in range(256) if byte >= 0x20 and byte != 0x7F)
_BEGIN, _LINE, _END = b"NATS/1.0\r\n", b"\r\n", b"\r\n\r\n"


def guard(subject: bytes, headers: bytes = b"") -> None:
    """Raises Unsendable where a frame can't carry this subject, or this header block (ADR-4); no headers: empty.

    A subject is neither empty nor over `MOST_SUBJECT` bytes, and has no blank and no control byte in it. A header block
    is one `NATS/1.0` line, lines without control bytes, and an empty line at its very end.
    """
    if not _SUBJECT.fullmatch(subject):
        raise Unsendable(f"no subject that can be sent: {subject[:_SHOWN]!r}, {len(subject)} bytes")
    if len(headers) > MOST_HEADERS:
        raise Unsendable(f"headers of {len(headers)} bytes; {MOST_HEADERS} can be sent")
    if headers and not isinstance(headers, HeaderBlock):
        ends = headers.translate(None, _PLAIN)  # each control byte is half of a line's end
        if (
            len(ends) != 2 * headers.count(_LINE)
            or not headers.startswith(_BEGIN)
            or headers.find(_END) != len(headers) - len(_END)
            or b"\n" + _BEGIN in headers
        ):
            raise Unsendable(f"no headers that can be sent: {headers[:_SHOWN]!r}, {len(headers)} bytes")


class HeaderBlock(bytes):
    """A header block that was made here, and has passed the guard but for its length."""

    __slots__ = ()


def header_block(*fields: Field) -> HeaderBlock:
    """The header block of these fields. Raises Unsendable where one of them would be more than its own line."""
    return block_of("".join([f"{name}: {value}\r\n" for name, value in fields]), len(fields))


def block_of(text: str, fields: int) -> HeaderBlock:
    """The header block of so many fields, each of which is a line of `text`: quicker, for what every file needs.

    Raises Unsendable where it is not just so many lines.
    """
    try:
        block = f"NATS/1.0\r\n{text}\r\n".encode()
    except UnicodeEncodeError:
        raise Unsendable(f"a header that is no text: {text[:_SHOWN]!a}") from None
    if block.translate(None, _PLAIN) != _LINE * (fields + 2) or block.find(_END) != len(block) - len(_END):
        raise Unsendable(f"a control character in a header: {text[:_SHOWN]!r}")
    return HeaderBlock(block)


def frame(subject: bytes, reply: bytes, headers: bytes, payload: Payload) -> tuple[bytes, Payload, bytes]:
    """One HPUB (or PUB, without headers) of the client protocol, in parts, so that the payload is not copied.

    Without `reply` nothing answers. Raises Unsendable.
    """
    guard(subject, headers)
    if reply:
        guard(reply)
        subject = b"%b %b" % (subject, reply)
    if headers:
        size = len(headers)
        head = b"HPUB %b %d %d\r\n%b" % (subject, size, size + len(payload), headers)
    else:
        head = b"PUB %b %d\r\n" % (subject, len(payload))
    return head, payload, b"\r\n"


def subscribe(subject: bytes, sid: int) -> Sequence[bytes]:
    """A subscription of this number. Raises Unsendable."""
    guard(subject)
    return (b"SUB %b %d\r\n" % (subject, sid),)


def unsubscribe(sid: int) -> Sequence[bytes]:
    """The end of the subscription of this number."""
    return (b"UNSUB %d\r\n" % sid,)
