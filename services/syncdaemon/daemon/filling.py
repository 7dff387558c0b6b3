"""How soon the stream is full: by the share of its limits that is used, and by the rate at which that grows. Pure.

The same bounds as those of the alert `StreamFilling`: four fifths of a limit, or a day.
"""

from __future__ import annotations

from collections import deque
from math import inf

from syncdaemon.base.units import duration_in_words, size_in_words
from syncdaemon.stream.room import FULL_SOON

_LONGEST = 6 * 3600.0  # seconds that the rate is a mean of
_SHORTEST = 600.0  # seconds below which no rate is told
_SOON = 86_400.0


class Filling:
    """The looks of the last six hours. Nothing is known before the first one."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, float, float]] = deque()
        self._most = (inf, inf)

    def add(self, now: float, messages: float, most_messages: float, size: float, most_bytes: float) -> None:
        """What the server told; `now` by a clock that is never set back, a limit that is not there is infinite."""
        self._most = (most_messages, most_bytes)
        self._looks.append((now, messages, size))
        while len(self._looks) > 1 and self._looks[1][0] <= now - _LONGEST:
            self._looks.popleft()

    @property
    def share(self) -> float:
        """The used part of the limit that is nearer, 0 to 1; 0 where nothing is known."""
        return max((used / most for used, most in zip(self._newest, self._most, strict=True)), default=0.0)

    @property
    def left(self) -> float:
        """Seconds until it is full, at the rate of the last hours; infinite where it does not grow, or for no limit."""
        if len(self._looks) < 2:
            return inf
        then, now = self._looks[0], self._looks[-1]
        passed = now[0] - then[0]
        if passed < _SHORTEST:
            return inf
        grown = [(after - before) / passed for before, after in zip(then[1:], now[1:], strict=True)]
        room = [most - used for used, most in zip(self._newest, self._most, strict=True)]
        return min((max(0.0, free) / rate for free, rate in zip(room, grown, strict=True) if rate > 0), default=inf)

    @property
    def soon(self) -> bool:
        """Whether somebody has to see to it."""
        return self.share >= FULL_SOON or self.left < _SOON

    @property
    def words(self) -> str:
        """All of that for people."""
        if not self._looks:
            return "not looked at yet"
        messages, size = self._newest
        limits = [
            f"{messages:,.0f} of {self._most[0]:,.0f} messages" if self._most[0] < inf else f"{messages:,.0f} messages",
            f"{size_in_words(int(size))} of {size_in_words(int(self._most[1]))}" if self._most[1] < inf else "",
        ]
        said = ", ".join(filter(None, limits))
        if self.share >= 1:
            return f"full: {said}; files wait until there is room"
        when = f", full in {duration_in_words(self.left)} at this rate" if self.left < inf else ""
        return f"{100 * self.share:.0f} % full: {said}{when}" if self.share else said

    @property
    def _newest(self) -> tuple[float, float]:
        return self._looks[-1][1:] if self._looks else (0.0, 0.0)
