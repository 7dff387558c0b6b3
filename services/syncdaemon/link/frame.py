"""The frames of the client protocol that we send ourselves. Pure."""

from __future__ import annotations

from typing import TypeVar

Payload = TypeVar("Payload", bytes, memoryview)

Buffer = bytes | memoryview
"""Bytes to be sent, which may be a part of something larger."""

FRAME_BYTES = 64
"""About how many bytes a frame has beside subject, headers and payload."""


def frame(subject: bytes, reply: bytes, headers: bytes, payload: Payload) -> tuple[bytes, Payload, bytes]:
    """One HPUB (or PUB, without headers) of the client protocol, in parts, so that the payload is not copied.

    Subject and headers must be clean. Without `reply` nothing answers.
    """
    if reply:
        subject = b"%b %b" % (subject, reply)
    if headers:
        size = len(headers)
        head = b"HPUB %b %d %d\r\n%b" % (subject, size, size + len(payload), headers)
    else:
        head = b"PUB %b %d\r\n" % (subject, len(payload))
    return head, payload, b"\r\n"
