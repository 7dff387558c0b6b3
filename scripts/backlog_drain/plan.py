"""What is measured, and what of it is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measure import percentile

P95_SECONDS = 600.0  # 95 of 100 runs are drained within so many seconds
RUN_SECONDS = 1200.0  # and every run within these


@dataclass(frozen=True)
class Plan:
    """`runs` times `messages` messages of `size` bytes; a run that takes longer than `limit` seconds has failed."""

    messages: int
    size: int
    runs: int
    limit: float


@dataclass(frozen=True)
class Run:
    """One run. `reason` says why it is not drained, and is empty where it is; `peak` is the highest backlog seen."""

    number: int
    seconds: float
    publish_seconds: float
    peak: int
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether the objective is met, and if not, why. `p95` is None where a run was not drained."""

    p95: float | None
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the objective is met."""
        return not self.reasons


def judge(runs: Sequence[Run]) -> Verdict:
    """Of all the runs that were made: P95 by nearest rank, which for fewer than 20 runs is the longest."""
    undrained = [f"run {run.number} was not drained: {run.reason}" for run in runs if run.reason]
    if undrained or not runs:
        return Verdict(None, tuple(undrained or ["there was no run"]))
    p95 = percentile([run.seconds for run in runs], 95)
    reasons = [f"P95 is {p95:.1f} s, more than {P95_SECONDS:g} s"] if p95 > P95_SECONDS else []
    reasons += [
        f"run {run.number} took {run.seconds:.1f} s, more than {RUN_SECONDS:g} s"
        for run in runs
        if run.seconds > RUN_SECONDS
    ]
    return Verdict(p95, tuple(reasons))
