"""Days of a ledger that are checked side by side, in a process for each core."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from syncdaemon.check.ledger import Runner
from syncdaemon.cli import interrupt
from syncdaemon.ledger import files

_WORTH = 32 << 20  # bytes of a ledger: less is read before two processes have begun


@contextmanager
def side_by_side(folder: Path, site: str) -> Iterator[Runner]:
    """What runs the checks of `audit`: one after another where there is one core, one day, or little to read."""
    sizes = []
    for path in files(folder, site):
        with suppress(OSError):
            sizes.append(path.stat().st_size)
    cores = min(os.cpu_count() or 1, len(sizes))
    if cores < 2 or sum(sizes) < _WORTH:
        yield map
        return
    with ProcessPoolExecutor(cores, initializer=interrupt.end_at_once) as pool:
        yield pool.map
