"""What a pull request to a consumer brings: which message it is, or the server's status in its place. Pure.

Subjects and status lines are those of ADR-13 and ADR-15, as nats-server 2.15 writes them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from syncdaemon.base.errors import Unsendable
from syncdaemon.link.frame import guard
from syncdaemon.stream import fields


class DeliveryInfo(NamedTuple):
    """Which message of which stream, delivered so many times by now."""

    stream: str
    seq: int
    stored_ns: int
    times: int

    @property
    def name(self) -> str:
        """A file name for it: a new stream of the same name counts from 1 again, so the time is part of it."""
        return f"{self.seq}-{self.stored_ns}"


def delivery(reply: bytes) -> DeliveryInfo:
    """What an acknowledgement subject tells.

    `$JS.ACK.<stream>.<consumer>.<count>.<seq>.<consumer seq>.<ns>.<pending>`, and in the newer form a domain and an
    account's hash before the stream (ADR-15). Raises ValueError where it is none, or none that can be answered at.
    """
    try:
        guard(reply)
    except Unsendable as error:
        raise ValueError(str(error)) from None
    tokens = reply.decode().split(".")
    if len(tokens) >= 11:
        del tokens[2:4]
    if len(tokens) < 9 or tokens[:2] != ["$JS", "ACK"]:
        raise ValueError(f"not a subject to acknowledge a message: {reply!r}")
    times, seq, _, stored_ns = map(fields.number, tokens[4:8])
    return DeliveryInfo(tokens[2], fields.sequence(seq), stored_ns, times)


def is_from(reply: bytes, stream: str, consumer: str) -> bool:
    """Whether this subject acknowledges a message of that consumer, and so of no other one's."""
    tokens = reply.split(b".", 6)
    wanted = [stream.encode(), consumer.encode()]
    return tokens[:2] == [b"$JS", b"ACK"] and wanted in (tokens[2:4], tokens[4:6])


class Status(NamedTuple):
    """What the server says in place of a message."""

    code: int
    text: str

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.code} {self.text}".strip()

    @property
    def ends(self) -> bool:
        """Whether the pull is over; a heartbeat (100) is the only word in between."""
        return self.code != 100

    @property
    def no_messages(self) -> bool:
        """The consumer has no more of them."""
        return self.code == 404

    @property
    def unanswered(self) -> bool:
        """No subscriber takes the request."""
        return self.code == 503 and not self.text

    @property
    def usual(self) -> bool:
        """Whether this is how pulls end from day to day: nothing more there, or time is up, or all was brought."""
        return self.no_messages or self.code == 408 or self.too_large or self.text == "Batch Completed"

    @property
    def too_large(self) -> bool:
        """The next message weighs more than what is left of the pull's bytes."""
        return self.code == 409 and self.text == "Message Size Exceeds MaxBytes"


def status(headers: bytes | None) -> Status:
    """The status line of a header block: `NATS/1.0 408 Request Timeout`."""
    line = (headers or b"").split(b"\r\n", 1)[0].decode(errors="replace")
    _, _, rest = line.partition(" ")
    code, _, text = rest.strip().partition(" ")
    return Status(int(code) if re.fullmatch("[0-9]{1,9}", code) else 0, text)
