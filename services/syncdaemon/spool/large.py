"""The digests of large files: by turns, in a thread of their own, so that no other file waits until one is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from syncdaemon.base.model import Content
from syncdaemon.spool.read import Hashing, Reading

_MOST = 16  # files whose digest is remembered


class HashProgress(NamedTuple):
    """A file whose digest is being computed, and how many of its bytes were read."""

    name: str
    hashed: int
    size: int


class Hasher:
    """Reads large files through, and remembers the digests of those that come again unchanged.

    The thread does one step of each file that is under way, and then the next step of each: whoever asks for few files
    at a time, such as one of each size class, has each of them read at the same speed and few descriptors open.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "large")
        self._known: dict[bytes, Content] = {}
        self._under_way: list[Hashing] = []

    @property
    def progress(self) -> list[HashProgress]:
        """The files that are under way now; the one that began first stands first."""
        return [HashProgress(hashing.name, hashing.done, hashing.stamp.size) for hashing in self._under_way]

    async def read(self, path: bytes, begin: Callable[[], Hashing | Reading]) -> Reading:
        """How the file at `path` was found, which `begin` opens. It takes as long as the file is large, and can be
        cancelled. Raises what `begin` raises.
        """
        loop = asyncio.get_running_loop()
        hashing = await loop.run_in_executor(self._thread, begin)
        known = self._known.pop(path, None)
        if not isinstance(hashing, Hashing):
            return hashing
        self._under_way.append(hashing)
        try:
            if known is not None and known.stamp == hashing.stamp:
                return known._replace(folder=hashing.folder)
            while (reading := await loop.run_in_executor(self._thread, hashing.step)) is None:
                pass
            return reading
        finally:
            self._under_way.remove(hashing)
            self._thread.submit(hashing.close)  # behind a step that is still under way

    def remember(self, contents: Iterable[Content]) -> None:
        """These were put back: a link is not always up for as long as a large file takes."""
        self._known.update((content.path, content) for content in contents)
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]

    def close(self) -> None:
        """Waits for the thread."""
        self._thread.shutdown(wait=True)
