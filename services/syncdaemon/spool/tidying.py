"""What is tidied up in the replay directory now and then: the archive, and empty folders."""

from __future__ import annotations

import asyncio
import time

import structlog

from syncdaemon.base.keep import Keep
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.spool.archive_life import ArchiveLife, Deleted
from syncdaemon.spool.empty_folders import EmptyFolders
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.threads import DirectoryThread

_LEAST, _MOST = 5.0, 3_600.0  # seconds between two looks
_SHARE = 1_000  # a pause is so many times as long as the look before it had the processor

log = structlog.get_logger(__name__)


class Tidying:
    """Looks for what is not to be kept, in a thread of its own, for a thousandth of the time.

    `keep`: how much of the archive is kept; None: all. `young`: seconds for which no file is deleted in any case.
    `empty`: seconds after which an empty folder goes; 0: never.
    """

    def __init__(self, directory: ReplayDirectory, keep: Keep | None, *, young: float, empty: float) -> None:
        self._thread = DirectoryThread(directory, "tidy")
        self._archive = None if keep is None else ArchiveLife(directory, keep, young)
        self._folders = EmptyFolders(directory, empty) if empty else None
        self._said = OnceAMinute()

    async def run(self) -> None:
        """For ever; ends at once where nothing is to be tidied."""
        while self._archive is not None or self._folders is not None:
            took = await self.once()
            await asyncio.sleep(min(_MOST, max(_LEAST, _SHARE * took)))

    async def once(self) -> float:
        """One look; the seconds of processor time that it took. Nothing is done while another directory is at the path.

        What can't be done now is tried again.
        """
        try:
            return await self._thread.moving(self._look)
        except OSError as error:
            if self._said.due(time.monotonic(), "not_tidied"):
                log.warning("not_tidied", reason=error.strerror or str(error), effect="it is tried again")
            return 0.0

    def _look(self) -> float:
        began = time.thread_time()
        deleted = Deleted(0, 0) if self._archive is None else self._archive.once()
        if deleted.files and self._said.due(time.monotonic(), "archive_pruned"):
            log.info("archive_pruned", files=deleted.files, bytes=deleted.size)
        count = 0 if self._folders is None else self._folders.once()
        if count and self._said.due(time.monotonic(), "empty_folders_removed"):
            log.info("empty_folders_removed", folders=count)
        return time.thread_time() - began

    def close(self) -> None:
        """Waits for the look that is under way."""
        self._thread.close()
