"""When a site tells the hub how it is. Pure: the time is an argument, seconds of a clock that is never set back."""

from __future__ import annotations

from collections.abc import Hashable

IDLE_FACTOR = 10  # an idle site tells so many times less often than a busy one


class WordTimes:
    """At most one word in `seconds`, when something has changed or while the site is busy; else one in ten times that.

    Over a new connection it is told at once: after an outage the hub has waited for it.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._tried_at: float | None = None
        self._told: Hashable = None
        self._again: float | None = None  # so long after a word that was not taken the next try comes

    @property
    def idle_seconds(self) -> float:
        """Between two words of an idle site."""
        return self.seconds * IDLE_FACTOR

    def connected(self) -> None:
        """There is a new connection."""
        self._tried_at = None

    def due(self, now: float, state: Hashable, *, busy: bool) -> bool:
        """Whether to tell now. `state`: what matters of the site; where it is another one, that is told."""
        if self._tried_at is None:
            return True
        often = busy or state != self._told
        every = self._again or (self.seconds if often else self.idle_seconds)
        return now - self._tried_at >= every

    def next_within(self, *, busy: bool) -> float:
        """Within how many seconds the word after this one comes."""
        return self.seconds if busy else self.idle_seconds

    def tried(self, now: float, state: Hashable, again: float | None = None) -> None:
        """The word was sent; `again`: nobody took it, and it is tried after so many seconds, whatever changes."""
        self._tried_at, self._told, self._again = now, state, again
