"""The threads that work in the replay directory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from syncdaemon.spool.home import ReplayDirectory

T = TypeVar("T")


class DirectoryThread:
    """One thread that works in the replay directory, one piece of work after another."""

    def __init__(self, directory: ReplayDirectory, name: str) -> None:
        self._directory = directory
        self._pool = ThreadPoolExecutor(1, name)

    async def run(self, work: Callable[[], T]) -> T:
        """Does the work in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def in_directory(self, work: Callable[[], T]) -> T:
        """Does work that only looks. Raises Away where the locked directory was not at its path all along."""
        return await self.run(lambda: self._directory.do(work))

    async def moving(self, work: Callable[[], T]) -> T:
        """Does work that moves or deletes. Raises Away, and nothing is done, where another directory is at the path.

        Once it has begun, it is done in the locked directory, and its result is true whatever is at the path by then.
        """

        def begun() -> T:
            self._directory.check()
            return work()

        return await self.run(begun)

    def close(self) -> None:
        """Waits for the work that is under way; the rest is not begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class Threads:
    """The threads of one replay directory.

    `files` reads and retires by turns: two threads, with their short system calls, would hand the interpreter lock to
    and fro at each call, which costs a quarter more CPU for a small file. `expiring` works on the hold, `scanning`
    looks for files.
    """

    def __init__(self, directory: ReplayDirectory) -> None:
        self.files = DirectoryThread(directory, "files")
        self.expiring = DirectoryThread(directory, "expire")
        self.scanning = DirectoryThread(directory, "scan")

    def close(self) -> None:
        """Waits for the work that is under way."""
        for thread in (self.files, self.expiring, self.scanning):
            thread.close()
