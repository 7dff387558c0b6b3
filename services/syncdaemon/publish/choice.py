"""Whether a group of messages goes as one atomic batch or as singles: whichever the server is faster with. Pure.

A batch costs the server one sync to disk where singles cost one each, and more work where it syncs none of them. Which
one is faster depends on the server's disk and settings, which a client can't see, and on the sizes. So we try both,
separately for groups of like count and size: a message alone, and as many the one way as the other, each with nothing
else under way.

The times of several groups can't be measured separately: nats-server answers all that it has read of a stream's
messages in one go (2.15), so that of eight groups the first is slow and the seven after it take no time at all.
"""

from __future__ import annotations

from collections import defaultdict, deque
from enum import Enum
from typing import NamedTuple

LEAST = 20  # messages from which on a batch can be worth its own price
SAMPLE = 64  # messages each way that are enough to see what they cost
_NEWEST = 3  # trials that count
_ENOUGH = 2  # to leave batches: a server's first one takes it longer than all others
_BETTER = 0.8  # of what singles take: a batch that takes more is not worth that it is refused, or cut, as a whole
_PAUSE = 1.0  # seconds, at least, between two trials of a kind that is known
_FIRST_SHARE = 0.1  # of the time, at most, passes in trials
_SHARE = 0.02  # and in those of a kind that is known
_MOST_SKIPPED = 64  # groups between two batches, where the stream refuses them


class Way(Enum):
    """How a group of messages goes."""

    SINGLES = "singles"
    BATCH = "batch"


class Timing(NamedTuple):
    """Seconds until one message was answered, alone; until as many were as singles; and as a batch."""

    alone: float
    singles: float
    batch: float


class GroupKind:
    """What is known of groups of like count and size."""

    def __init__(self) -> None:
        self.way: Way | None = None
        self._newest: deque[Timing] = deque(maxlen=_NEWEST)
        self._trials = 0
        self._next_at = 0.0
        self._surprised = False

    def is_due(self, now: float) -> bool:
        """Whether it is time for a trial."""
        return now >= self._next_at

    def tried(self, seen: Timing) -> None:
        """What else this process, the link or the server had to do only ever adds to the times, so the least count."""
        self._newest.append(seen)
        before = self.way
        self.way = _better(before, Timing(*map(min, zip(*self._newest, strict=True))))
        if self.way is Way.SINGLES and len(self._newest) < _ENOUGH:
            self.way = None
        self._surprised = _better(before, seen) is not self.way  # perhaps the server is another one by now

    def pause(self, began: float, ended: float) -> None:
        """A trial took from `began` to `ended`, whether it showed anything or not."""
        self._trials += 1
        known = self._trials >= _NEWEST and not self._surprised
        self._next_at = ended + max(_PAUSE, (ended - began) / _SHARE) if known else ended


def _better(way: Way | None, seen: Timing) -> Way:
    """Batches are begun where they are clearly faster, and left where they are not faster.

    What a message alone takes is above all the round trip, which does not count where more is under way.
    """
    singles, batch = max(0.0, seen.singles - seen.alone), max(0.0, seen.batch - seen.alone)
    return Way.BATCH if batch < singles * (1.0 if way is Way.BATCH else _BETTER) else Way.SINGLES


class Choice:
    """Learns from trials. `only`: nothing is learned, all groups of at least `least` messages go this way."""

    def __init__(self, only: Way | None = None, least: int = LEAST) -> None:
        self._only = only
        self._least = least
        self._kinds: defaultdict[tuple[int, int], GroupKind] = defaultdict(GroupKind)
        self._latest = Way.BATCH  # while nothing is known: it never costs many times as much
        self._next_at = 0.0
        self._skip = self._skipped = 0

    def trial(self, count: int, size: int, now: float) -> int:
        """How many of `count` messages, of `size` bytes together, to try each way now, after one alone; 0: none."""
        if self._only or count < self._least or self._skipped < self._skip or now < self._next_at:
            return 0
        return _sample(count) if self._kind(count, size).is_due(now) else 0

    def tried(self, count: int, size: int, seen: Timing) -> None:
        """What a trial for such a group has shown."""
        kind = self._kind(count, size)
        kind.tried(seen)
        self._latest = kind.way or self._latest

    def ended(self, count: int, size: int, began: float, ended: float) -> None:
        """A trial for such a group is over, whether it has shown anything or not."""
        self._kind(count, size).pause(began, ended)
        self._next_at = ended + (ended - began) / _FIRST_SHARE

    def way(self, count: int, size: int) -> Way:
        """How these messages go."""
        if count < self._least or self._only is Way.SINGLES:
            return Way.SINGLES
        if self._skipped < self._skip:
            self._skipped += 1
            return Way.SINGLES
        return self._only or self._kind(count, size).way or self._latest

    def _kind(self, count: int, size: int) -> GroupKind:
        """What is known of groups like this one: within a factor of four in size, and as large a sample."""
        return self._kinds[_sample(count), (size // count).bit_length() // 2]

    def stored(self) -> None:
        """A batch was taken."""
        self._skip = self._skipped = 0

    def refused(self) -> None:
        """Nothing of a batch was stored, so it went for nothing. The next ones may have the same in them."""
        self._skip, self._skipped = min(max(1, self._skip * 2), _MOST_SKIPPED), 0


def _sample(count: int) -> int:
    """The largest power of two of which there are two, and one message more."""
    return min(SAMPLE, 1 << max(0, ((count - 1) // 2).bit_length() - 1))
