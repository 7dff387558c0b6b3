"""What a stream of digests costs its server, and which limits fit a server's memory. Pure.

A stream that has a subject for every digest keeps each subject in the server's memory for as long as it keeps the
message (nats-server 2.15.1). Measured with R1, file storage and bodies of 100 bytes: 170 to 315 bytes of resident
memory a digest at rest, and more while a backlog drains. docs/SCALING.md states the rules that follow from that, and
has the command that measures it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

MIB = 1 << 20
DIGESTS, IN_MEMORY = 250_000, 256 * MIB
"""So many digests, in all streams of one server, fit into so many bytes of its memory limit."""
GO_SHARE = 0.8
"""The most of its memory limit that GOMEMLIMIT may have: the rest is for what Go does not count."""
INDEXED = 1_000_000
"""With more subjects, or more gaps, in a stream the server writes no index of it while it runs (nats-server 2.15.1)."""
SLOW_START = 10.0
"""Seconds: a restart that takes longer than this is said."""
STREAM_BYTES = 570
"""What a message takes of the stream beside its body: subject, headers, and the server's own."""
FULL_SOON = 0.8
"""From this share of a limit on a stream is said to fill."""

_START_DIGEST, _START_BYTE = 5e-6, 1e-9  # seconds of a start after kill -9: measured up to 10 million digests
_DAY = 86_400.0
_LEAST_SPAN = 60.0  # seconds between first and last message, below which nothing is said of a day


def most_digests(memory: int) -> int:
    """How many digests fit a server with this memory limit, in bytes."""
    return memory * DIGESTS // IN_MEMORY


def memory_for(digests: int) -> int:
    """The memory limit, in bytes, of a server that keeps so many digests."""
    return -(-digests * IN_MEMORY // DIGESTS)


def memory_of(go_limit: int) -> int:
    """The memory limit, in bytes, that a server with this GOMEMLIMIT is expected to have."""
    return int(go_limit / GO_SHARE)


def start_seconds(digests: int, stored: int) -> float:
    """How long a server is expected to take for its start after kill -9; `stored` in bytes."""
    return digests * _START_DIGEST + stored * _START_BYTE


class Growth(NamedTuple):
    """What a stream holds, and how that grows. `max_age` in seconds; `bytes`, `max_bytes`; a limit of 0: none.

    `a_day`: messages of a mean day, as far as the stream remembers; None where that can't be told. `gaps`: sequences
    between the first and the last message that are not there any more.
    """

    messages: int
    bytes: int
    a_day: float | None
    gaps: int
    max_age: float
    max_msgs: int
    max_bytes: int

    @classmethod
    def of(cls, config: Mapping[str, Any], state: Mapping[str, Any], *, now: datetime | None = None) -> Growth:
        """From STREAM.INFO (JetStream API v1). `now`: the server's time, where it tells it."""
        messages, first, last = state.get("messages", 0), state.get("first_ts"), state.get("last_ts")
        span = (max(now, last) if now is not None else last) - first if first is not None and last is not None else None
        seconds = span.total_seconds() if span is not None else 0.0
        return cls(
            messages=messages,
            bytes=state.get("bytes", 0),
            a_day=messages / seconds * _DAY if messages and seconds >= _LEAST_SPAN else None,
            gaps=state.get("num_deleted", 0),
            max_age=config.get("max_age", 0) / 1e9,
            max_msgs=max(0, config.get("max_msgs", -1)),
            max_bytes=max(0, config.get("max_bytes", -1)),
        )

    @property
    def size(self) -> float:
        """Bytes of a mean message."""
        return self.bytes / self.messages if self.messages else 0.0

    def expected(self) -> int:
        """How many messages it will hold when it has its full age at this rate; after a year where it has no age."""
        if self.a_day is None:
            return self.messages
        days = min(self.max_age / _DAY, 365.0) if self.max_age else 365.0
        found = self.a_day * days if self.max_age else self.messages + self.a_day * days
        if self.max_msgs:
            found = min(found, self.max_msgs)
        if self.max_bytes and self.size:
            found = min(found, self.max_bytes / self.size)
        return max(self.messages, int(found))

    def start_now(self) -> float:
        """Seconds that a start after kill -9 is expected to take now."""
        return start_seconds(self.messages, self.bytes)

    def start_later(self) -> float:
        """The same, when it holds what it is expected to."""
        expected = self.expected()
        return start_seconds(expected, int(expected * self.size))


def shared_by_several(config: Mapping[str, Any]) -> bool:
    """Whether a stream is set up for several sites: by several subjects, or sources. A wildcard does not tell it."""
    return len(config.get("subjects") or ()) + len(config.get("sources") or ()) > 1
