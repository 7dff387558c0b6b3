"""Hints that something happened in the replay directory. The scan is the truth; a lost hint costs only time.

On Linux they come from inotify, which also tells whether a file came to its end (`Watch.came`). Elsewhere, and where
WATCHFILES_FORCE_POLLING is set, they come from watchfiles, which tells only where something happened.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from threading import Thread

import structlog

from syncdaemon.base import taken
from syncdaemon.base.leases import LEASES
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.spool import inotify
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.settle import Came
from syncdaemon.spool.tree import Tree

_PIECE = 512  # paths that are handed on in one go: looking at so many takes some milliseconds
_STEP_MS = 20  # how long watchfiles gathers events before it hands them on
_DEBOUNCE_MS = 200  # at most, under a steady stream of them
_UNKNOWN_BYTES = b"\xef\xbf\xbd"

log = structlog.get_logger(__name__)

Hints = Mapping[bytes, bool]


def blind() -> bool:
    """Whether this system can show neither a file's writers nor its close: then quiet is all that tells."""
    return not (LEASES or inotify.is_here())


class Watch:
    """Watches the directory that was locked, for as long as `hints` is followed."""

    def __init__(self, directory: ReplayDirectory) -> None:
        self._directory = directory
        self._tree: Tree | None = None
        self._said = OnceAMinute()

    @property
    def by_inotify(self) -> bool:
        """Whether hints come from inotify here; else from watchfiles."""
        return inotify.is_here() and not os.environ.get("WATCHFILES_FORCE_POLLING")

    @property
    def sees_ends(self) -> bool:
        """Whether it is on, and tells how files come to their end."""
        return self._tree is not None and self._tree.folders > 0

    def came(self, path: bytes, ctime_ns: int) -> Came:
        """What was seen last of the file at `path`, which has this ctime. For any thread."""
        tree = self._tree
        return Came.NOTHING if tree is None else tree.came(path, ctime_ns)

    def unclear(self, path: bytes) -> bool:
        """Whether the notifier could not tell this name, and it stands for a scan. With inotify, it is just a name."""
        return self._tree is None and _UNKNOWN_BYTES in path

    async def hints(self) -> AsyncGenerator[Hints]:
        """Relative paths where something may have changed, each with whether that may be the end of the file.

        They end where the watch breaks. The first ones say that the watch is on; now and then there are none.
        """
        source = self._by_inotify() if self.by_inotify else _by_watchfiles(_real(self._directory.replay_dir))
        try:
            async with aclosing(source):
                async for hints in source:
                    yield hints
        except Exception as error:
            # Whatever it is, a scan mends it: inotify's limits and its overflow, a folder that went away, or an error
            # of watchfiles' own, which comes in a group.
            if self._said.due(time.monotonic(), "watch_failed"):
                log.info("watch_failed", error=_cause(error), effect="files are found by scans until it is on again")

    async def _by_inotify(self) -> AsyncGenerator[Hints]:
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def told() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(news.set)

        tree = Tree(self._directory.root, self._directory.now_ns, told, self._said)
        self._tree = tree
        Thread(target=tree.run, name="watch", daemon=True).start()
        try:
            while True:
                await news.wait()
                news.clear()
                found = list(tree.news().items())
                for at in range(0, max(1, len(found)), _PIECE):
                    yield dict(found[at : at + _PIECE])
                    await asyncio.sleep(0)
        finally:
            if self._tree is tree:
                self._tree = None
            tree.stop()


async def _by_watchfiles(root: bytes) -> AsyncGenerator[Hints]:
    """The path is what watchfiles makes of the name: bytes that are no UTF-8 may come out mangled.

    `root` has no symlink in it: on macOS watchfiles tells the paths that files really have.
    """
    from watchfiles import awatch  # on Linux it is hardly ever needed, and its start costs time

    prefix = len(os.fsdecode(root)) + 1
    changes = awatch(os.fsdecode(root), watch_filter=None, step=_STEP_MS, debounce=_DEBOUNCE_MS, yield_on_timeout=True)
    async for some in changes:
        paths = {os.fsencode(path[prefix:]) for _, path in some}
        yield {path: True for path in paths if path and not taken.path_ignored(path)}


def _real(path: bytes) -> bytes:
    return os.path.realpath(path)


def _cause(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
