"""Runs the cases of one surface: counts them, bounds their time and memory, and keeps the number of one that fails."""

from __future__ import annotations

import resource
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.surface import Case, Surface

MOST_GROWTH = 48  # MiB that a surface may need beyond what it has after its first cases
_MOST_ADDRESSES = 4 << 30  # bytes: what takes more ends with a MemoryError, and not the machine
_WARM = 500  # cases until all is loaded, and every cache is as full as it gets
_TOGETHER = 25  # cases for each number that hypothesis draws, which costs more than most cases do
_AT_ONCE = 50_000  # cases for one run of hypothesis, which remembers all numbers of a run
_CASE_SECONDS = 60.0  # on a machine that has much else to do


class Found(NamedTuple):
    """What came of a surface. `growth` in MiB; `failed`: the number of the case that failed, and `trace` how."""

    surface: str
    cases: int
    seconds: float
    growth: float
    failed: int | None = None
    trace: str = ""

    @property
    def good(self) -> bool:
        """Whether all held."""
        return not self.trace


class TookTooLong(Exception):
    """One case hangs."""


def run(surface: Surface, cases: int, start: int) -> Found:
    """Runs at least so many cases; which ones, `start` decides. It ends with the first that fails."""
    began, done = time.monotonic(), _Counter()
    try:
        with surface.ready() as case, _bounded():
            base = _search(done, case, min(_WARM, cases), start)
            while done.count < cases:
                _search(done, case, min(_AT_ONCE, cases - done.count + _TOGETHER), start + done.count)
    except Exception:
        return Found(surface.name, done.count, time.monotonic() - began, 0.0, done.last, traceback.format_exc())
    growth = _peak() - base
    found = Found(surface.name, done.count, time.monotonic() - began, growth)
    if growth > MOST_GROWTH:
        return found._replace(trace=f"needs {growth:.0f} MiB more than in the beginning; {MOST_GROWTH} are allowed\n")
    return found


def repeat(surface: Surface, number: int) -> None:
    """Runs the case of this number once more. Raises what it raises."""
    with surface.ready() as case:
        case(Random(number))


class _Counter:
    """How many cases were run, and the number of the last one."""

    def __init__(self) -> None:
        self.count = 0
        self.last: int | None = None


def _search(done: _Counter, case: Case, count: int, start: int) -> float:
    """Lets hypothesis draw the numbers of about so many cases. The most memory that this process had by the end."""

    @seed(start)
    @settings(
        max_examples=max(1, count // _TOGETHER),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**56))
    def some(first: int) -> None:
        for number in range(first * _TOGETHER, (first + 1) * _TOGETHER):
            done.count += 1
            done.last = number
            signal.setitimer(signal.ITIMER_REAL, _CASE_SECONDS)
            case(Random(number))

    some()
    return _peak()


def _peak() -> float:
    """The most memory that this process ever had, in MiB (Linux counts in KiB)."""
    # Not ru_maxrss of getrusage(2): over fork and exec, a child takes that over from its parent.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@contextmanager
def _bounded() -> Iterator[None]:
    """A case that hangs is interrupted, and one that takes all memory gets no more."""

    def too_long(_number: int, _frame: object) -> None:
        raise TookTooLong(f"a case takes more than {_CASE_SECONDS:g} seconds")

    handler = signal.signal(signal.SIGALRM, too_long)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_ADDRESSES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
