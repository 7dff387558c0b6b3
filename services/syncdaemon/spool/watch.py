"""Hints that something happened in the replay directory. The scan is the truth; a lost hint costs only time."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import structlog
from watchfiles import awatch

from syncdaemon.spool import settle

_STEP_MS = 20  # how long events are gathered before they are handed on
_DEBOUNCE_MS = 200  # at most, under a steady stream of them

log = structlog.get_logger(__name__)


async def hints(root: bytes) -> AsyncIterator[set[bytes]]:
    """Relative paths where something may have changed, and now and then none; ends where the watch breaks.

    The first set says that the watch is on.

    The path is what the notifier makes of the name: bytes that are no UTF-8 may come out mangled, which a scan
    has to mend (`unclear`).
    """
    prefix = len(os.fsdecode(root)) + 1
    try:
        async for changes in awatch(
            os.fsdecode(root), watch_filter=None, step=_STEP_MS, debounce=_DEBOUNCE_MS, yield_on_timeout=True
        ):
            paths = {os.fsencode(path[prefix:]) for _, path in changes}
            yield {path for path in paths if path and not settle.path_ignored(path)}
    except Exception as error:
        # Whatever it is, a scan mends it: inotify's limits, a folder that went away, or a name that is no UTF-8,
        # which watchfiles 1.3 answers with an error of its own, in a group.
        log.info("watch_failed", error=_cause(error), effect="files are found by scans until it is on again")


def _cause(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


def unclear(path: bytes) -> bool:
    """Whether the notifier could not tell the name: it stands for a scan."""
    return b"\xef\xbf\xbd" in path
