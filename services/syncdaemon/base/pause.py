"""What stops work for a time is said at once, and then once a minute, however often it is met. Pure."""

from __future__ import annotations

SAY_AGAIN_SECONDS = 60.0


class OnceAMinute:
    """Decides whether a trouble is said now. Troubles of different kinds do not silence each other.

    `now` is a clock that is never set back, in seconds.
    """

    def __init__(self) -> None:
        self._said_at: dict[str, float] = {}

    def due(self, now: float, kind: str = "") -> bool:
        """Whether a trouble of this kind is to be said now. A yes counts as said."""
        said_at = self._said_at.get(kind)
        if said_at is not None and now - said_at < SAY_AGAIN_SECONDS:
            return False
        self._said_at = {one: at for one, at in self._said_at.items() if now - at < SAY_AGAIN_SECONDS}
        self._said_at[kind] = now
        return True

    def over(self) -> None:
        """The trouble has ended: the next one is said at once."""
        self._said_at.clear()
