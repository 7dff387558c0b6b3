"""What a server sends, cut into messages and words, and nothing kept that is larger than it may be. Pure.

The lines are those of the client protocol, as nats-server 2.15 writes them. What is no such line, and what announces
more than may come, raises `Garbage` at once: a size that is announced is never waited for, nor buffered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

MOST_LINE = 32 << 10
"""Bytes of a line. An INFO with the addresses of a cluster is the longest; nats-py takes no longer greeting either."""

LARGEST_PAYLOAD = 64 << 20
"""Bytes: nats-server takes no larger `max_payload`, so more than that is not believed."""

_MORE = 1 << 20  # bytes: answers of the API carry a body in base64, and words around it
_SHOWN = 60  # bytes of what can't be read
_NUMBER = re.compile(rb"[0-9]{1,10}")
_WORDS = frozenset((b"PING", b"PONG", b"+OK", b"-ERR", b"INFO"))


class Garbage(ConnectionError):
    """What the server sent is not the protocol, or is more than may come. The connection ends; the text says why."""


class Word(NamedTuple):
    """A line that is no message: `PING`, `PONG`, `+OK`, `-ERR` or `INFO`, and the rest of it."""

    verb: bytes
    rest: bytes


class Delivered(NamedTuple):
    """A message for the subscription `sid`. `headers` is None where it has none."""

    sid: int
    subject: bytes
    reply: bytes
    data: bytes
    headers: bytes | None


class _Announced(NamedTuple):
    """A message whose `size` bytes are still to come, `headers` of them its header block."""

    sid: int
    subject: bytes
    reply: bytes
    headers: int
    size: int


def most_of(max_payload: int) -> int:
    """Bytes of the largest message that a server with this `max_payload` may announce."""
    return 2 * max_payload + _MORE


def payload_of(info: dict[str, Any]) -> int | None:
    """The `max_payload` that an INFO tells, in bytes; None where it tells none. Raises Garbage."""
    if "max_payload" not in info:
        return None
    told = info["max_payload"]
    if not isinstance(told, int) or isinstance(told, bool):
        raise Garbage(f"the server's INFO has a max_payload that is no number: {told!r:.{_SHOWN}}")
    if told <= 0:
        raise Garbage(f"the server announces a max_payload of {told} bytes, so it takes no message at all")
    return min(told, LARGEST_PAYLOAD)


def info_of(rest: bytes) -> dict[str, Any]:
    """What an INFO says. Raises Garbage where it is no JSON object."""
    try:
        found = json.loads(rest)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Garbage(f"the server's INFO is no JSON object: {rest[:_SHOWN]!r}")
    return found


class Inbound:
    """The bytes of one connection, as they come. `most`: bytes of the largest message that may be announced now."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._bytes = bytearray()
        self._announced: _Announced | None = None

    @property
    def waiting(self) -> int:
        """Bytes of a line or a message that has not come to its end yet."""
        return len(self._bytes)

    @property
    def begun(self) -> bool:
        """Whether a message is announced, and not all of it has come."""
        return self._announced is not None

    @property
    def lacking(self) -> int:
        """Bytes that are still to come of the message that has begun; 0 where none has."""
        return 0 if self._announced is None else self._announced.size + 2 - len(self._bytes)

    def take(self) -> bytes:
        """The part of a line that waits; then it waits no longer. Only where no message has begun."""
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken

    def read(self, data: bytes) -> Iterator[Delivered | Word]:
        """What is complete with these bytes, in order. Raises Garbage behind the last one that is sound.

        Read it to its end before more bytes come.
        """
        self._bytes += data
        at = 0
        try:
            while True:
                if self._announced is None:
                    end = self._bytes.find(b"\r\n", at, at + MOST_LINE + 2)
                    if end < 0:
                        if len(self._bytes) - at > MOST_LINE:
                            raise Garbage(f"the server sent a line of over {MOST_LINE} bytes")
                        return
                    line, at = bytes(self._bytes[at:end]), end + 2
                    if (word := self._line(line)) is not None:
                        yield word
                else:
                    end = at + self._announced.size
                    if len(self._bytes) < end + 2:
                        return
                    message, at = self._message(self._announced, at, end), end + 2
                    self._announced = None
                    yield message
        finally:
            del self._bytes[:at]

    def _line(self, line: bytes) -> Word | None:
        """A word; None where the line announces a message."""
        verb, _, rest = line.partition(b" ")
        if verb in (b"MSG", b"HMSG"):
            self._announced = self._announcement(line)
            return None
        if verb.strip() in _WORDS:
            return Word(verb.strip(), rest.strip())
        raise _unread(line)

    def _announcement(self, line: bytes) -> _Announced:
        verb, *fields = line.split()
        sizes = 2 if verb == b"HMSG" else 1
        if len(fields) - sizes not in (2, 3):
            raise _unread(line)
        subject, sid, *reply = fields[:-sizes]
        numbers = [_NUMBER.fullmatch(field) for field in (sid, *fields[-sizes:])]
        if None in numbers:
            raise _unread(line)
        number, *told = (int(found[0]) for found in numbers if found is not None)
        headers, size = told if sizes == 2 else (0, told[0])
        if headers > size:
            raise _unread(line)
        if size > self.most:
            raise Garbage(f"the server announced a message of {size} bytes; {self.most} is the most that may come")
        return _Announced(number, subject, reply[0] if reply else b"", headers, size)

    def _message(self, announced: _Announced, at: int, end: int) -> Delivered:
        sid, subject, reply, headers, _ = announced
        if self._bytes[end : end + 2] != b"\r\n":
            raise Garbage(f"the server sent a message that is longer than it said: {subject[:_SHOWN]!r}")
        block = bytes(self._bytes[at : at + headers]) if headers else None
        return Delivered(sid, subject, reply, bytes(self._bytes[at + headers : end]), block)


def _unread(line: bytes) -> Garbage:
    return Garbage(f"the server sent a line that is not the protocol: {line[:_SHOWN]!r}")
