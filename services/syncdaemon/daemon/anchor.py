"""What the hub has of this site's log, as health, status and metrics tell it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from syncdaemon.daemon.metrics import Metrics
from syncdaemon.ledger.checkpoints import Acknowledged

_STATES = {
    "conflict": "a conflict: nothing is signed, every file is delivered",
    "stray": "the hub's newest message is none of our checkpoints: nothing is signed",
    "not anchored": "not anchored: the hub does not take checkpoints",
    "not signed": "no checkpoint can be signed now",
}
"""What everybody may read of each state in which no checkpoint gets to the hub."""


class Anchor:
    """`known`: the newest checkpoint that the hub has. `state`: empty while all is well, else one of `_STATES`."""

    def __init__(self) -> None:
        self.known: Acknowledged | None = None
        self.state = ""
        self.problem = ""

    @property
    def rows(self) -> int:
        """So many rows are covered."""
        return 0 if self.known is None else self.known.rows

    @property
    def at(self) -> int:
        """When the hub acknowledged the newest one, in seconds since 1970; 0 before."""
        return 0 if self.known is None else int(self.known.at)

    @property
    def conflict(self) -> bool:
        """Whether what stands at the hub is no beginning of the ledger, or hides whether it is."""
        return self.state in ("conflict", "stray")

    def well(self) -> None:
        """Nothing is in the way."""
        self.state = self.problem = ""

    def fault(self, state: str, problem: str) -> bool:
        """No checkpoint gets to the hub. Whether that was not known."""
        new = (state, problem) != (self.state, self.problem)
        self.state, self.problem = state, problem
        return new

    @property
    def brief(self) -> str:
        """What everybody may read: that no checkpoint gets to the hub, or what it has."""
        if self.state:
            return _STATES[self.state]
        return f"the hub has a checkpoint of {self.rows} rows" if self.known else "the hub has no checkpoint yet"

    @property
    def words(self) -> str:
        """The same with the reason."""
        return f"{self.brief}: {self.problem}" if self.state else self.brief

    def status(self) -> dict[str, Any]:
        """The field `checkpoint` of the status. `state` is one word, `problem` a line."""
        at = "" if self.known is None else datetime.fromtimestamp(self.known.at, UTC).isoformat(timespec="seconds")
        return {
            "rows": self.rows,
            "at": at.replace("+00:00", "Z"),
            "state": self.state or ("anchored" if self.known else "none yet"),
            "problem": self.problem,
        }

    def show_in(self, metrics: Metrics) -> None:
        """Adds the gauges."""
        metrics.add_known("syncdaemon_checkpoint_rows", "Rows of the newest checkpoint that the hub has", self._covered)
        metrics.add_known(
            "syncdaemon_checkpoint_age_seconds", "Since the hub acknowledged the newest checkpoint", self._age
        )
        metrics.add_known(
            "syncdaemon_checkpoint_conflict",
            "1 while a checkpoint of this site's key does not fit its ledger, or a stray message is in the way",
            self._conflict,
        )

    def _covered(self) -> dict[tuple[str, ...], float]:
        return {(): self.rows}

    def _conflict(self) -> dict[tuple[str, ...], float]:
        return {(): float(self.conflict)}

    def _age(self) -> dict[tuple[str, ...], float]:
        return {} if self.known is None else {(): max(0.0, time.time() - self.known.at)}
