"""A limit in bytes a second. Pure; the time is an argument."""

from __future__ import annotations

from math import inf

DEPTH_SECONDS = 0.2  # of the rate: what was not sent in time may be sent later, up to so much

_NO_TIME = 1e-6  # seconds: less is the rounding of a clock that has run for long


class TokenBucket:
    """A token bucket. One message may overdraw it; the messages after that one wait until this is made up for.

    Over any span of time it lets through `rate` bytes a second, and at most its depth and one message on top.
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
