"""So many bytes a second and no more. Pure; the time is an argument."""

from __future__ import annotations

from math import inf

DEPTH_SECONDS = 0.2  # of what was not sent in time and may be made up for

_NO_TIME = 1e-6  # seconds: less is the rounding of a clock that has run for long


class TokenBucket:
    """A token bucket that may be overdrawn by one message, which the next ones have to wait for.

    Over any time it lets through `rate` bytes a second, and at most its depth and one message beyond that.
    """

    def __init__(self) -> None:
        self.rate = inf
        self._level = 0.0
        self._at = 0.0

    def wait(self, now: float) -> float:
        """Seconds until more may be sent."""
        self._fill(now)
        wait = -self._level / self.rate
        return wait if wait > _NO_TIME else 0.0

    def take(self, now: float, size: int) -> None:
        """So many bytes leave now."""
        if self.rate != inf:
            self._fill(now)
            self._level -= size

    def limit(self, now: float, rate: float) -> None:
        """From now on `rate` bytes a second; infinite: any number. What was overdrawn is paid off at the new rate."""
        self._fill(now)
        self.rate = rate
        if rate == inf:
            self._level = 0.0

    def _fill(self, now: float) -> None:
        if self.rate != inf:
            self._level = min(self.rate * DEPTH_SECONDS, self._level + self.rate * max(0.0, now - self._at))
        self._at = now
