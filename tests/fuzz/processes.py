"""Runs surfaces, each in a process of its own, so that what each needs of memory can be seen."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.fuzz import engine
from tests.fuzz.engine import Found
from tests.fuzz.surfaces import ALL


def run(names: Sequence[str], cases: int, start: int, jobs: int) -> Iterator[Found]:
    """What came of each surface, as it ends. So many run at the same time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, max_tasks_per_child=1) as pool:
        running = [pool.submit(_one, name, cases, start) for name in names]
        for future in as_completed(running):
            yield future.result()


def _one(name: str, cases: int, start: int) -> Found:
    return engine.run(next(surface for surface in ALL if surface.name == name), cases, start)
