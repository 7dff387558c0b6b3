"""Files in order of their keys. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush

BEHIND = 1 << 80
"""A key that stands behind all times, in either order."""


class Line:
    """Files in order of their keys. What comes all at once is sorted once, which is far cheaper than a heap of it."""

    def __init__(self) -> None:
        self._sorted: list[tuple[int, bytes]] = []  # the first one last
        self._heap: list[tuple[int, bytes]] = []

    def push(self, file: tuple[int, bytes]) -> None:
        """One more."""
        heappush(self._heap, file)

    def extend(self, files: Iterable[tuple[int, bytes]]) -> None:
        """Many more."""
        self._sorted += files
        self._sorted.sort(reverse=True)

    def first(self) -> tuple[int, bytes] | None:
        """The first of them, which stays."""
        if self._heap and (not self._sorted or self._heap[0] < self._sorted[-1]):
            return self._heap[0]
        return self._sorted[-1] if self._sorted else None

    def pop(self) -> tuple[int, bytes]:
        """Takes out the first of them. Raises IndexError where there is none."""
        if self._heap and (not self._sorted or self._heap[0] < self._sorted[-1]):
            return heappop(self._heap)
        return self._sorted.pop()

    def __bool__(self) -> bool:
        return bool(self._sorted or self._heap)
