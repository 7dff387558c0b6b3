"""How much may be under way on the link, and how much arrives. Pure; the time is an argument."""

from __future__ import annotations

from collections import deque

MAX_MESSAGES = 2_000
MAX_BYTES = 32 << 20
"""The window: far below what a server takes before it answers 429/10167 (128 MB or 100,000 messages a stream,
nats-server 2.15)."""

ANSWER_SECONDS = 10.0
"""How long the server may be silent about a message before it counts as unanswered."""

RATE_SECONDS = 5.0


class Window:
    """Messages and bytes in flight, against their limits. A single message always fits into an empty window."""

    def __init__(self, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.messages = 0
        self.bytes = 0

    def fits(self, messages: int, size: int) -> bool:
        """Whether so much more may be sent now."""
        if not self.messages:
            return True
        return self.messages + messages <= self.max_messages and self.bytes + size <= self.max_bytes

    def take(self, messages: int, size: int) -> None:
        """So much more is in flight."""
        self.messages += messages
        self.bytes += size

    def give(self, messages: int, size: int) -> None:
        """So much is answered, or known to be lost."""
        self.messages -= messages
        self.bytes -= size


class Rate:
    """Bits a second over the last few seconds."""

    def __init__(self, seconds: float = RATE_SECONDS) -> None:
        self._seconds = seconds
        self._arrived: deque[tuple[float, int]] = deque()
        self._sum = 0

    def add(self, now: float, size: int) -> None:
        """`size` bytes arrived at `now`."""
        self._arrived.append((now, size))
        self._sum += size
        self._forget(now)

    def bps(self, now: float) -> float:
        """Bits a second at `now`."""
        self._forget(now)
        return self._sum * 8 / self._seconds

    def _forget(self, now: float) -> None:
        while self._arrived and self._arrived[0][0] <= now - self._seconds:
            self._sum -= self._arrived.popleft()[1]


def overdue(now: float, sent: float, last_answer: float, newest_answered: float) -> bool:
    """Whether a message sent at `sent` will not be answered any more.

    `last_answer`: when the last answer to anything came; `newest_answered`: when the newest message that has
    been answered was sent. A server answers a stream's messages in order, so a message is given up when nothing
    was answered for a while, or when messages sent long after it were. One that waits behind others on a slow
    link which makes progress is not.
    """
    if now - sent <= ANSWER_SECONDS:
        return False
    return now - last_answer > ANSWER_SECONDS or newest_answered - sent > ANSWER_SECONDS


def retry_delay(failures: int, sent_away: bool, roll: float) -> float:
    """Seconds until the next attempt to connect, after `failures` in a row; `roll` is random in [0, 1).

    Full jitter, up to 0.2 s and doubling to 30 s, where the server was reached and has `sent_away` us. One that can't
    be reached, or is lost again and again, costs little to try, and is to be found within a second of its return.
    """
    if not failures:
        return 0.0
    ceiling = min(30.0 if sent_away else 1.0, 0.1 * 2.0 ** min(failures, 16))
    return ceiling * roll
