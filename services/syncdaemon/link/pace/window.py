"""How much may be in flight: as much as fills the link, and little more. Pure; the time is an argument.

The window follows what the link delivers, as that of BBR does (draft-ietf-ccwg-bbr), but between messages and their
answers:

    window = highest recent delivery rate x (shortest recent round trip + the queue that is allowed)

A link can't deliver more than it carries, so what is measured is a lower bound, and the queue can't exceed what is
allowed, also while the window still grows. What a shaper lets through at once says nothing of the link, so the window
grows with what was delivered all the same. And since there is always a little queue, the link is never idle, so
that it is seen at once when it gets faster. TCP has a window of its own below this one, for what is between the hosts'
kernels; this one decides how much waits before that, in our buffers and in the kernel's.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import NamedTuple

from syncdaemon.link.pace.highest import Highest

MAX_MESSAGES = 2_000
MAX_BYTES = 32 << 20
"""Never more in flight: far below what a server takes before it answers 429/10167 (128 MB or 100,000 messages a
stream, nats-server 2.15)."""

LONGEST_QUEUE, SHORTEST_QUEUE = 1.0, 0.6  # seconds of the link; the less, the longer the round trip
LONGEST_BURST = 1.0  # seconds of the link that are sent before one answer comes
MAX_PIECE = 512 << 10
_PIECES = 16  # of a window
_MEMORY = 10.0  # seconds that a measurement counts at most
_SHORTEST_MEMORY = 1.0
_ROUNDS = 4  # round trips that a rate counts
_JITTER = 0.1  # of a round trip: a difference below it says nothing
_TRIP_MEMORY = 30.0  # seconds after which the shortest round trip is measured again
_LONG = 0.02  # seconds of a round trip; what is shorter matters little beside the queue
_GROWTH = 2.0  # a burst's speed is believed up to so many times what was delivered: a shaper lets a short one through
_SOUND = 4 << 10  # bytes that a lone piece needs for its time to tell how fast the link is
_FIRST, _TIMES = 16 << 10, 4  # bytes in flight to begin with, and times what has been delivered since then
_LATE = 1.25  # times what the bytes in flight take at the rate that is known: later than that, it is no more so
_STALL = 1.0  # seconds that an answer may be late all the same, or two round trips: what was lost is sent again


class Mark(NamedTuple):
    """A piece that was sent, and how things stood then. `end`: all bytes that were sent up to its end.

    `before_at`: when the piece answered last was sent; `burst`: bytes since `burst_at`, with no answer in between;
    `idle`: there was nothing more to send at that time.
    """

    end: int
    size: int
    sent_at: float
    before_at: float
    delivered: int
    delivered_at: float
    burst: int
    burst_at: float
    idle: bool


class Window:
    """Messages and bytes in flight on one connection, and how many more there may be.

    A single message always fits into an empty window. Answers count in the order of sending, as a stream gives them;
    that those of two streams come in about that order is enough.

    The class has more than 150 lines because what is in flight, what was measured with it and what is allowed next are
    one state: every answer changes all three.
    """

    def __init__(self, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.messages = 0
        self.bytes = 0
        self.limit = 1  # in bytes, now
        self.capacity: float | None = None  # bytes a second that the link carries, by what had to wait for it
        self._rates = Highest()
        self._trip = inf
        self._trip_at = -inf
        self._trip_size = 0  # what it was measured with: a part of the time is that of those bytes
        self._marks: deque[Mark] = deque()
        self._sent = 0
        self.delivered = 0  # bytes that were answered since the connection came up
        self._proved = 0  # bytes delivered since nothing was known
        self._before_at = self._delivered_at = -inf
        self._burst, self._burst_at = 0, 0.0
        self._full = False  # a sender waits for room
        self._idle_to = 0
        self._gap_at = -inf  # when something was last seen to wait behind a gap
        self._dry = False  # the queue is let run dry once, to see the round trip without it
        self._dry_at = inf

    @property
    def rate(self) -> float | None:
        """Bytes a second that the link carries, as far as is known; None where nothing is."""
        return self._rates.value

    @property
    def round_trip(self) -> float:
        """The shortest recent round trip, in seconds; infinite where none is known."""
        return self._trip

    @property
    def on_the_way(self) -> float:
        """Bytes that the link itself holds when it is full, beside any queue."""
        return self._rates.value * self._trip if self._rates.value is not None and self._trip < inf else 0.0

    @property
    def queue(self) -> float:
        """How long what waits on the link may be, in seconds."""
        return max(SHORTEST_QUEUE, LONGEST_QUEUE - self._trip)

    @property
    def piece(self) -> int:
        """How many bytes are best sent at once: more would come in bursts, fewer make more work."""
        return min(MAX_PIECE, self.limit // _PIECES)

    @property
    def stretches(self) -> bool:
        """Whether `wait` may say something else where some of the bytes in flight are known to have arrived."""
        return self._trip > _LONG and self.bytes < 2 * self.limit and self._rates.value is not None

    def wait(self, now: float, arrived: int = 0) -> float:
        """Seconds until a piece may be sent, if no answer comes before: 0, or infinite where only an answer helps.

        `arrived`: so many of the bytes in flight are at the other end, behind a gap, and so no more on the link.
        """
        wait = self._wait(now, arrived) if self.messages else 0.0
        self._full |= wait > 0
        return wait

    def _wait(self, now: float, arrived: int) -> float:
        rate = self._rates.value
        if rate is None or self.messages >= self.max_messages:
            return inf
        excess = self.bytes - min(arrived, self.limit) - self.limit
        if excess < 0:
            return inf if self._burst > max(rate * LONGEST_BURST, self._marks[-1].size) else 0.0
        oldest = self._marks[0]
        if self._dry or oldest.size <= max(excess, self.limit // 2):
            return inf
        # One large message is most of the window: guess how much of it is through.
        return max(0.0, max(self._delivered_at, oldest.sent_at) + (excess + 1) / rate - now)

    def gap(self, now: float, arrived: int, rate: float) -> int:
        """The peer has `arrived` bytes behind a gap and gets so many a second, while answers wait; for `wait`.

        Then the answers alone would tell of a slower link than there is.
        """
        self._gap_at = now
        self._rates.add(now, rate, _MEMORY, only_more=True)
        self._adapt()
        return arrived

    def sent(self, now: float, size: int, messages: int = 1) -> None:
        """A piece leaves: so many messages, together of so many bytes."""
        if not self.messages:
            self._before_at = self._delivered_at = now
            self._rates.forget(now - _MEMORY)
            if self._rates.value is None:
                self._proved = 0
            self._adapt()
            if not self._full:
                self._idle_to = self._sent + size
        if self._dry and self.bytes < self.limit:
            self._dry_at = min(self._dry_at, now)
        if not self._burst:
            self._burst_at = now
        self._burst += size
        self._sent += size
        self.messages += messages
        self.bytes += size
        self._full = False
        before, delivered, idle = self._before_at, self.delivered, self.delivered < self._idle_to
        mark = Mark(self._sent, size, now, before, delivered, self._delivered_at, self._burst, self._burst_at, idle)
        self._marks.append(mark)

    def answered(self, now: float, size: int) -> None:
        """A message of so many bytes has its answer."""
        self.messages -= 1
        self.bytes -= size
        self.delivered += size
        self._proved += size
        self._delivered_at = now
        self._burst = 0
        while self._marks and self.delivered >= self._marks[0].end:
            mark = self._marks.popleft()
            self._measure(now, mark)
            self._before_at = mark.sent_at
            if not self._full and self.bytes + self.piece < self.limit:
                self._idle_to = self._sent

    def measured(self, now: float, trip: float, size: int = 0) -> None:
        """Something came back after `trip` seconds; its size, if it is large enough to count."""
        if trip <= self._trip * (1 + _JITTER):
            self._trip_at = now
        if trip <= self._trip:
            self._trip, self._trip_at, self._trip_size = trip, now, size

    def _measure(self, now: float, mark: Mark) -> None:
        trip = now - mark.sent_at
        if mark.sent_at >= self._dry_at:
            self._dry, self._dry_at, self._trip = False, inf, inf
        self.measured(now, trip, mark.size)
        gap = now - self._gap_at < _MEMORY
        rate = self._delivered_since(now, mark)
        lone = mark.idle and mark.size >= _SOUND and trip - self._trip > max(_LONG, self._trip / 2)
        if not gap and not mark.idle and self._is_late(trip, mark):
            self._rates.clear()  # the link became slower, or longer
            self._dry, self._dry_at = self._trip > _LONG, inf
        elif lone and rate < (self._rates.value or 0.0) / _TIMES:
            self._rates.clear()  # a shaper let what came before through at once
        else:
            rate = max(rate, min(self._burst_rate(now, mark), _GROWTH * rate))
        if not gap and now - self._trip_at > _TRIP_MEMORY and self._trip > _LONG and mark.size < rate / 2:
            self._dry = True
        memory = _MEMORY if mark.idle or gap else min(_MEMORY, max(_SHORTEST_MEMORY, _ROUNDS * self._trip))
        self._rates.add(now, rate, memory, mark.idle and not lone)
        self._adapt()
        if lone or not mark.idle:
            self.capacity = self._rates.value
        elif self.capacity is not None:
            self.capacity = max(self.capacity, self._rates.value or 0.0)

    def _delivered_since(self, now: float, mark: Mark) -> float:
        """Bytes a second while this piece was on its way: the rate sample of BBR."""
        return (self.delivered - mark.delivered) / max(now - mark.delivered_at, mark.sent_at - mark.before_at, 1e-9)

    def _burst_rate(self, now: float, mark: Mark) -> float:
        """Bytes a second at which a burst came through, within the time that is more than a round trip."""
        taken = max(now - mark.burst_at - self._trip, self._trip * _JITTER, 1e-6)
        return (mark.burst - self._trip_size) / taken

    def _is_late(self, trip: float, mark: Mark) -> bool:
        """Whether the answer came later than the rate explains, had all that was in flight to wait on the link."""
        rate, in_flight = self._rates.value, mark.end - mark.delivered
        return rate is not None and trip > self._trip + _LATE * in_flight / rate + max(_STALL, 2 * self._trip)

    def _adapt(self) -> None:
        rate = self._rates.value
        if rate is None:
            self.limit = 1
            return
        wanted = rate * self._trip - self._trip_size if self._dry else rate * (self._trip + self.queue)
        self.limit = max(1, int(min(self.max_bytes, wanted, max(_FIRST, _TIMES * self._proved))))
