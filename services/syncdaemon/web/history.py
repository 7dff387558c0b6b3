"""The last hour in numbers, for plots and for the timeline of the link. Pure; the times are arguments.

It is kept in slots of a quarter of a minute, so it takes about 60 KB however much happens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

SLOT_SECONDS = 15.0
SLOTS = 240
_GRACE = 5.0  # seconds of a first attempt to connect, which are no outage
_LONGEST = 10.0  # seconds between two looks, above which nothing is known of the time between: the machine slept

Slot = tuple[float, ...]
"""Its number, the seconds of it that are known, those of them with the link up, and the highest value of each kind."""


class History:
    """`kinds`: how many values are noted beside the link."""

    def __init__(self, kinds: int) -> None:
        self._kinds = kinds
        self._slots: deque[list[float]] = deque(maxlen=SLOTS)
        self._looked: float | None = None
        self._began: float | None = None
        self.up = False
        self.since: float | None = None
        """When the link came to be as it is, by the wall clock; None before that is known."""

    def look(self, now: float, wall: float, up: bool, values: Sequence[float]) -> None:
        """What is so now. `now` by a clock that is never set, `wall` by the wall clock, both in seconds."""
        self._began = now if self._began is None else self._began
        connecting = self.since is None and not up and now - self._began < _GRACE
        if self.since is not None and self._looked is not None and now - self._looked <= _LONGEST:
            self._add_time(self._looked, now)
        if not connecting and (self.since is None or up != self.up):
            self.up, self.since = up, wall
        slot = self._slot(_number(now))
        for place, value in enumerate(values, 3):
            slot[place] = max(slot[place], value)
        self._looked = now

    def slots(self) -> Iterator[Slot]:
        """Those of the last hour of which something is known, the oldest first; times are in tenths of a second."""
        newest = self._slots[-1][0] if self._slots else 0.0
        for number, known, up, *values in self._slots:
            if number > newest - SLOTS:
                yield int(number), round(known, 1), round(up, 1), *map(round, values)

    def _add_time(self, since: float, now: float) -> None:
        """The link was as it is from then till now."""
        at = since
        for number in range(_number(since), _number(now) + 1):
            end = min(now, (number + 1) * SLOT_SECONDS)
            slot = self._slot(number)
            slot[1] += end - at
            slot[2] += (end - at) * self.up
            at = end

    def _slot(self, number: int) -> list[float]:
        """The slot of this number, which is the newest or a newer one."""
        if not self._slots or self._slots[-1][0] < number:
            self._slots.append([number, *(0.0,) * (2 + self._kinds)])
        return self._slots[-1]


def _number(now: float) -> int:
    return int(now // SLOT_SECONDS)
