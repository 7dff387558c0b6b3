"""Which waiting file goes first: by priority, and then by time. Pure."""

from __future__ import annotations

from itertools import count

from syncdaemon.base.rules import Rules, RulesInForce
from syncdaemon.spool.line import BEHIND

_STEP = 1 << 72  # between two priorities: more than all times have together
_DUE = -(1 << 70)  # before all times


class FileOrder:
    """Order keys of files: the smaller goes first."""

    def __init__(self, newest_first: bool = False, rules: RulesInForce | None = None) -> None:
        self._sign = -1 if newest_first else 1
        self._rules = rules or RulesInForce(Rules())
        self._turns = count()

    @property
    def ruled(self) -> bool:
        """Whether rules say what goes first."""
        return self._rules.has("priority")

    def key(self, path: bytes, mtime_ns: int) -> int:
        """Of a file with this time."""
        return self._sign * mtime_ns - _STEP * self._rules.priority(path)

    def next_due(self, path: bytes) -> int:
        """Of the next file whose time has come: before all others of its priority that are not such."""
        return _DUE + next(self._turns) - _STEP * self._rules.priority(path)

    def again(self, key: int, path: bytes) -> int:
        """The key of a file that had this one, by the rules as they are now."""
        if key >= BEHIND:
            return key
        time = (key + _STEP // 2) % _STEP - _STEP // 2
        return time - _STEP * self._rules.priority(path)
