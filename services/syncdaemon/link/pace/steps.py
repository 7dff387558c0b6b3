"""How much is read at once on a link of this speed, which file is cut into chunks, and how large they are. Pure.

Sizes are powers of two, so there are few of them, and a size is kept while it fits. The reason: an upload that was cut
off can only resume with the chunk size that it began with. It does so, whatever the link is like by then.
"""

from __future__ import annotations

from math import inf, log2
from typing import NamedTuple

LARGEST_CHUNK = 128 << 10  # ADR-20's default
_LIMIT_STEPS = 4  # chunks a second, where it is SYNC_BWLIMIT that makes them small: it is to be kept to the second
_SMALLEST, _LARGEST = 2 << 10, 1 << 20
_LARGEST_BATCH = 1 << 30
_TOO_LONG, _SHORT = 1.5, 0.7  # seconds that a step may take; and its double, before that is chosen


BATCH_SECONDS, FIRST_BATCH = 0.5, 16 << 10


def batch(rate: float | None) -> int:
    """How many bytes of files are best read at once: more would wait in memory, and for their receipts.

    `rate`: what the link takes in a second; None: that is not known.
    """
    return FIRST_BATCH if rate is None else int(min(_LARGEST_BATCH, rate * BATCH_SECONDS))


class Step(NamedTuple):
    """`size`: about what the link takes in a second, in bytes."""

    size: int = _LARGEST

    @property
    def chunk(self) -> int:
        """The size of a chunk."""
        return min(self.size, LARGEST_CHUNK)

    def chunk_within(self, limit: float) -> int:
        """The size of a chunk where no more than `limit` bytes a second are to leave."""
        return self.chunk if limit == inf else min(self.chunk, Step().after(limit / _LIMIT_STEPS).chunk)

    @property
    def largest(self) -> int | None:
        """The size of the largest file that is still a single message; None: as large as the server takes.

        A message can't be resumed after a cut, and nothing overtakes it, not even a probe.
        """
        return None if self.size == _LARGEST else 2 * self.size

    def after(self, rate: float | None) -> Step:
        """The step for `rate` bytes a second: this one, unless it takes too long, or twice its size would be short.

        None: nothing is known of the link now.
        """
        if rate is None or (self.size / rate <= _TOO_LONG and (self.size == _LARGEST or 2 * self.size / rate > _SHORT)):
            return self
        return Step(int(min(_LARGEST, max(_SMALLEST, 2.0 ** round(log2(max(1.0, rate)))))))
