"""Where a ledger begins that has had days taken away: proved by a row that stands for what is missing. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncdaemon.ledger.chain import Head
from syncdaemon.ledger.rows import ANCHOR, SHIPPED


class Frontier:
    """Sees the rows of a ledger in their order, and says whether what is missing before the first was taken away.

    A day is taken away only after a row that names it, so that row is among those that are left.
    """

    def __init__(self) -> None:
        self._first: tuple[int, str] | None = None
        self.row = 0
        """The number of the row that stands for what is missing; 0: there is none yet."""
        self.event = ""
        """`shipped`: it is at the hub. `anchor`: it is nowhere that we know of."""

    def begin(self, before: Head) -> None:
        """The chain's end before the first row that is left, as that row names it."""
        self._first = before.n + 1, before.digest

    def see(self, row: Mapping[str, Any]) -> None:
        """The next row of those that may stand for what is missing, or of all."""
        if self._first is None:
            self._first = row["n"], row["prev"]
        n, prev = self._first
        if row["event"] not in (SHIPPED, ANCHOR) or row["last_n"] != n - 1 or row.get("digest", prev) != prev:
            return
        if not self.row or row["event"] == SHIPPED:
            self.row, self.event = row["n"], row["event"]

    @property
    def missing(self) -> int:
        """How many rows are missing before the first one."""
        return 0 if self._first is None else self._first[0] - 1

    @property
    def fault(self) -> str:
        """What is wrong with the beginning; empty where it is row 1, or a row stands for what is missing."""
        if not self.missing or self.row:
            return ""
        return f"rows 1 to {self.missing} are not here, and no `shipped` or `anchor` row says that they were taken away"

    @property
    def words(self) -> str:
        """What is known of the missing rows, for people; empty where none is missing."""
        if not self.missing or not self.row:
            return ""
        if self.event == SHIPPED:
            return f"rows 1 to {self.missing} were shipped to the hub and taken away (row {self.row})"
        return f"rows 1 to {self.missing} were taken away, unproved: row {self.row} stands for them"
