"""The moments at which a process that `tracer` watches can die, and which of them a sweep tries."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Death(NamedTuple):
    """At the `at`-th call; 0: none."""

    at: int
    when: str


def traced(trace: Path) -> list[str]:
    """Name and target of each call that the tracer counted."""
    return [line.partition("\t")[2] for line in trace.read_text().splitlines()]


def chosen(calls: list[str], most: int) -> list[Death]:
    """About so many of all deaths that there are: every n-th, from one that SEED names, or a random one, on."""
    every = list(_deaths(calls))
    step = max(1, len(every) // most)
    first = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 16)
    print(f"SEED={first}: every {step}. of {len(every)} deaths at {len(calls)} calls")
    return every[first % step :: step]


def _deaths(calls: list[str]) -> Iterator[Death]:
    """Before and after each call, and in the middle of those that write."""
    for at, call in enumerate(calls, 1):
        yield Death(at, "before")
        if call.startswith(("write", "pwrite", "sendto")):
            yield Death(at, "within")
        yield Death(at, "after")
