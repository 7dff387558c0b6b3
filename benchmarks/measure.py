"""What is measured, in which unit, and how a process under measurement tells of itself."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

_TICK = os.sysconf("SC_CLK_TCK")


class BenchmarkFailed(Exception):
    """What was to be measured did not do its work: there is no figure to show."""


class Cost(NamedTuple):
    """`wall` seconds, and `cpu` seconds (user and system, all threads) of one process."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Self:
        """The two clocks of this process."""
        return cls(time.perf_counter(), time.process_time())

    def since(self, before: Cost) -> Cost:
        """What was spent between two moments, or by how much one cost exceeds another."""
        return Cost(self.wall - before.wall, self.cpu - before.cpu)


class Memory(NamedTuple):
    """Resident memory of one process in bytes, now and at its highest.

    From /proc/<pid>/status (VmRSS, VmHWM). The usual ru_maxrss would not do: it also holds the size that the parent
    had when it started the process.
    """

    now: int
    peak: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Of a process that is running."""
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        found = {name: value for name, _, value in (line.partition(":") for line in lines)}
        return cls(*(int(found[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")))


def cpu_seconds(pid: int) -> float:
    """User and system CPU that a running process has used, from /proc/<pid>/stat: in steps of a tick, mostly 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


@dataclass(frozen=True)
class Result:
    """What one run of a contender says of itself: `wall` and `cpu` in seconds, `peak` resident memory in bytes.

    Only ours fills in the rest. `first` is the number of seconds from the start of the drain to the first
    acknowledged file; of the `samples` of the queue's depth, `exact` were right to the file.
    """

    files: int
    wall: float
    cpu: float
    peak: int
    first: float = 0.0
    samples: int = 0
    exact: int = 0

    @property
    def rate(self) -> float:
        """Files a second."""
        return self.files / self.wall

    @property
    def cpu_micros(self) -> float:
        """Microseconds of CPU a file."""
        return self.cpu / self.files * 1e6

    def tell(self) -> None:
        """One line of JSON on stdout, for the process that started this one."""
        print(json.dumps(asdict(self)), flush=True)

    @classmethod
    def heard(cls, output: str) -> Self:
        """What such a line says."""
        fields: dict[str, Any] = json.loads(output.splitlines()[-1])
        return cls(**fields)


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that `percent` of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


class Spread(NamedTuple):
    """Several runs of the same: the median, and the two ends."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.median:,.0f}"
        return f"{self.median:,.0f} ({self.least:,.0f} to {self.most:,.0f})"
