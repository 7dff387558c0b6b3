"""What a daemon's event stream has told so far: the state of its live page. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_MOST = {"receipts": 50, "slots": 240, "sites": 50}  # rows that are kept of what comes row by row


class PageTold:
    """The sections by their names; `ahead`: seconds that the daemon's clock is ahead of ours."""

    def __init__(self) -> None:
        self.sections: dict[str, Any] = {}
        self.ahead = 0.0

    def take(self, data: bytes, wall: float) -> None:
        """An event's data; `wall` is now. What is no JSON object raises ValueError."""
        found = json.loads(data)
        if not isinstance(found, dict):
            raise ValueError("an event that is no JSON object")
        self.ahead = float(found.pop("now", wall)) - wall
        whole = bool(found.pop("whole", True))
        for name, section in found.items():
            before = self.sections.get(name)
            if name.endswith("+"):
                self._alter(name[:-1], section)
            elif whole or before is None or name not in _MOST:
                self.sections[name] = section
            else:
                self.sections[name] = _merged(before, section, _MOST[name])

    def _alter(self, name: str, altered: list[Any]) -> None:
        """Rows of a table that are not as they were take the places of those of the same name."""
        new = {row[0]: row for row in altered}
        self.sections[name] = [new.get(row[0], row) for row in self.sections.get(name, ())]

    def section(self, name: str) -> Mapping[str, Any]:
        """One that has fields; empty where it was not told."""
        found = self.sections.get(name)
        return found if isinstance(found, dict) else {}

    def rows(self, name: str) -> list[Any]:
        """One that is a list; empty where it was not told."""
        found = self.sections.get(name)
        return found if isinstance(found, list) else []


def _merged(before: list[Any], new: list[Any], most: int) -> list[Any]:
    """The rows with those that are new at the end; one of the same number takes another's place."""
    rows = {row[0]: row for row in before}
    for row in new:
        rows.pop(row[0], None)
        rows[row[0]] = row
    return list(rows.values())[-most:]
