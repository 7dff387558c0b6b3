"""The pauses of an operator: no file is taken, or no large one, until the pause is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf


class OperatorPause:
    """None until `begin`. `clock` is never set back, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = {False: -inf, True: -inf}  # for all files, and for large ones
        self._changed = asyncio.Event()

    def begin(self, seconds: float | None, *, large: bool) -> None:
        """For so many seconds, or until `end`; for large files alone, or for all."""
        self._until[large] = inf if seconds is None else self._clock() + seconds
        self._changed.set()

    def end(self) -> None:
        """For all files."""
        self._until = dict.fromkeys(self._until, -inf)
        self._changed.set()

    def left(self, *, large: bool = False) -> float:
        """For how many seconds large files, or else small ones, are still paused; 0: they are not."""
        until = max(self._until.values()) if large else self._until[False]
        return max(0.0, until - self._clock())

    def is_on(self, *, large: bool = False) -> bool:
        """Whether no file may be taken: no large one, or else no small one."""
        return self.left(large=large) > 0

    def large_is_on(self) -> bool:
        """The same for large files."""
        return self.is_on(large=True)

    async def passed(self, *, large: bool = False) -> None:
        """Waits until it is over, for large files or else for small ones."""
        while left := self.left(large=large):
            self._changed.clear()
            try:
                async with asyncio.timeout(None if left == inf else left):
                    await self._changed.wait()
            except TimeoutError:
                pass
