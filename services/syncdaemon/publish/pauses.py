"""How long the lane pauses where another stream than ours acknowledges. Pure."""

from __future__ import annotations

_FIRST_SECONDS = 1.0


class DoubtPauses:
    """The pause is short as long as our own stream stores messages in between, and else doubles each time.

    In the first case another stream takes the same subject and is quicker now and then. What it acknowledged is in
    doubt: it is sent again, and our stream refuses what it has. In the second case nothing may be stored by ours at
    all, and each attempt sends files for nothing.
    """

    def __init__(self) -> None:
        self._seconds = _FIRST_SECONDS / 2
        self._until = 0.0
        self._last_seq = 0

    def wait(self, now: float, last_seq: int, most: float) -> float:
        """Seconds from `now` until the lane may open again. `last_seq`: of our stream; `most`: the longest pause.

        All answers to messages of one flight are one reason to pause.
        """
        if now >= self._until:
            self._seconds = _FIRST_SECONDS if last_seq > self._last_seq else min(most, 2 * self._seconds)
            self._last_seq = last_seq
            self._until = now + self._seconds
        return self._until - now
