"""How much arrives. Pure; the time is an argument."""

from __future__ import annotations

from collections import deque

RATE_SECONDS = 5.0


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
