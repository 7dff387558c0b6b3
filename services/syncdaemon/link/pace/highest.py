"""The highest of the recently measured values. Pure; the time is an argument."""

from __future__ import annotations

from collections import deque


class Highest:
    """A maximum over a window of time, in constant time: only what can still become the highest is kept."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, float]] = deque()  # time and value; later ones are lower

    @property
    def value(self) -> float | None:
        """The highest; None where nothing is left."""
        return self._kept[0][1] if self._kept else None

    def add(self, now: float, value: float, memory: float, only_more: bool = False) -> None:
        """A value that was measured now. What is older than `memory` seconds counts no more.

        `only_more`: the value is only a lower bound, so it counts where nothing higher is known.
        """
        self.forget(now - memory)
        if only_more and self._kept and value < self._kept[0][1]:
            return
        while self._kept and self._kept[-1][1] <= value:
            self._kept.pop()
        self._kept.append((now, value))

    def forget(self, before: float) -> None:
        """What was measured before this time counts no more."""
        while self._kept and self._kept[0][0] < before:
            self._kept.popleft()

    def clear(self) -> None:
        """Nothing of it counts any more."""
        self._kept.clear()
