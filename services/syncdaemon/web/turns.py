"""Pages that cost time to make are made one at a time, with rests between, so that requests never stop the delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_REST = 3.0  # so many times as long as a page took: pages get at most a quarter of the loop's time


class PageTurns:
    """Everybody who wants such a page waits for a turn."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._rested_at = 0.0

    async def take(self, make: Callable[[], _T]) -> _T:
        """Calls `make` in its turn. A lone request does not wait."""
        clock = asyncio.get_running_loop().time
        async with self._lock:
            if (rest := self._rested_at - clock()) > 0:
                await asyncio.sleep(rest)
            began = clock()
            try:
                return make()
            finally:
                ended = clock()
                self._rested_at = ended + _REST * (ended - began)
