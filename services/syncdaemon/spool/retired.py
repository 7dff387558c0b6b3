"""Many delivered files, moved out of the way at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

import structlog

from syncdaemon.base.disk import fsync_dir
from syncdaemon.base.model import Receipt
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.moves import move

log = structlog.get_logger(__name__)


class Retired(NamedTuple):
    """`moved`: how many files were moved away. `kept`: receipts whose file could not be moved, with the cause."""

    moved: int
    kept: list[tuple[Receipt, str]]


def move_all(directory: ReplayDirectory, receipts: Iterable[Receipt], target_of: Callable[[Receipt], bytes]) -> Retired:
    """Moves the file of each receipt to its target; durable when it returns, unless it says otherwise in the log."""
    moved = 0
    kept: list[tuple[Receipt, str]] = []
    folders: set[bytes] = set()
    for receipt in receipts:
        source = directory.replay_dir + b"/" + receipt.content.path
        try:
            target = target_of(receipt)
            if move(source, target, receipt.content.stamp, directory.path):
                moved += 1
                folders.add(target[: target.rindex(b"/")])
        except OSError as error:
            kept.append((receipt, error.strerror or str(error)))
    for folder in folders:
        try:
            fsync_dir(folder)
        except OSError as error:  # a file that comes back after a power cut is known by its row
            log.error("not_synced", folder=os.fsdecode(folder), error=error.strerror or str(error))
    return Retired(moved, kept)
