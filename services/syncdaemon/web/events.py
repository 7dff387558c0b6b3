"""What changes of the live page, as the text of server-sent events (WHATWG HTML, section 9.2). Pure.

The page consists of named sections. A section that changed is sent whole; of rows, only those that are new or changed.
Of a table, whose rows stay where they are, those that changed are sent under its name with a `+`.
Somebody who begins to look, or was too slow, gets everything once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Section = Any
"""A value that JSON can hold, Rows or a Table."""

_ROOM = 50  # rows that may come at once,
_MORE = 3  # and how many more after each moment: so a page costs a few hundred bytes a second


class Rows(NamedTuple):
    """A list that grows: each row begins with a number of its own. `thinned`: some may be left out of what is sent."""

    rows: Sequence[Sequence[Any]]
    thinned: bool = False


class Table(NamedTuple):
    """Rows in an order of their own, each with a name before all else. Sent whole where names or order change."""

    rows: Sequence[Sequence[Any]]


class Changes:
    """Compares each state with the one before."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._rows: dict[str, Mapping[Any, Sequence[Any]]] = {}
        self._room = _ROOM

    def since_last(self, state: Mapping[str, Section]) -> dict[str, Section]:
        """The sections that are not as they were, with the rows that are not."""
        self._room = min(_ROOM, self._room + _MORE)
        changed: dict[str, Section] = {}
        for name, one in state.items():
            if isinstance(one, Table):
                changed |= self._altered(name, one)
            elif (section := self._changed(name, one)) is not None:
                changed[name] = section
        return changed

    def _altered(self, name: str, table: Table) -> dict[str, Section]:
        before = self._rows.get(name)
        rows = {row[0]: row for row in table.rows}
        self._rows[name] = rows
        if before is None or list(before) != list(rows):
            return {name: table}
        altered = [row for key, row in rows.items() if before[key] != row]
        return {f"{name}+": altered} if altered else {}

    def _changed(self, name: str, section: Section) -> Section | None:
        if isinstance(section, Rows):
            return self._new_rows(name, section)
        text = json.dumps(section)
        if text == self._texts.get(name):
            return None
        self._texts[name] = text
        return section

    def _new_rows(self, name: str, section: Rows) -> Rows | None:
        before = self._rows.get(name, {})
        rows = {row[0]: row for row in section.rows}
        self._rows[name] = rows
        new = [row for number, row in rows.items() if before.get(number) != row]
        if section.thinned:
            new = new[-self._room :] if self._room else []
            self._room -= len(new)
        return Rows(new) if new else None


def text(now: float, sections: Mapping[str, Section], *, whole: bool = False) -> bytes:
    """One event: the wall clock's time, and these sections; `whole`: they take the place of all that was sent."""
    shown = {name: section.rows if isinstance(section, Rows | Table) else section for name, section in sections.items()}
    data = json.dumps({"now": round(now, 1), "whole": whole, **shown}, separators=(",", ":"))
    return f"data: {data}\n\n".encode()  # JSON has no line break in it
