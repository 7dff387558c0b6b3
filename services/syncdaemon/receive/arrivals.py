"""What arrived since the start, for the page: by site, the newest files, and what was rejected. Pure."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from syncdaemon.receive.incoming import Item, Outcome, Placed, Rejected, Wanted

MOST_SITES = 10_000
OTHER = "other"
_NEWEST = 50
_LONGEST_PATH = 1024  # bytes of a path that are remembered


class ArrivedFile(NamedTuple):
    """A file that is in its place. `number` counts them from the start on; `at` is by the wall clock."""

    number: int
    at: float
    name: str
    size: int
    seq: int
    unchanged: bool


class SiteArrivals:
    """What came of one site: files, their bytes, and when the newest came."""

    __slots__ = ("at", "bytes", "files")

    def __init__(self) -> None:
        self.files = self.bytes = 0
        self.at = 0.0


class Arrivals:
    """Counts what the server has confirmed our answer to. `bytes`: of all files that were written."""

    def __init__(self) -> None:
        self._sites: dict[str, SiteArrivals] = {}
        self.newest: deque[ArrivedFile] = deque(maxlen=_NEWEST)
        self.rejected: Counter[str] = Counter()
        self.files = self.bytes = 0

    def add(self, item: Item, outcome: Outcome, at: float) -> None:
        """This became of a message; `at` by the wall clock."""
        if isinstance(outcome, Rejected):
            self.rejected[outcome.reason] += 1
        elif isinstance(outcome, Placed) and isinstance(item.wanted, Wanted):
            self._place(item.wanted, item.seq, outcome, at)

    def _place(self, wanted: Wanted, seq: int, outcome: Placed, at: float) -> None:
        unchanged = outcome.how == "unchanged"
        written = 0 if unchanged else outcome.size
        site = self._site(wanted.site)
        site.files += 1
        site.bytes += written
        site.at = at
        self.files += 1
        self.bytes += written
        path = quote_from_bytes(b"/".join(wanted.path)[:_LONGEST_PATH])
        self.newest.append(ArrivedFile(self.files, at, f"{wanted.site}/{path}", outcome.size, seq, unchanged))

    def _site(self, name: str) -> SiteArrivals:
        if name not in self._sites and len(self._sites) >= MOST_SITES:
            name = OTHER
        return self._sites.setdefault(name, SiteArrivals())

    def __len__(self) -> int:
        return len(self._sites)

    def latest(self, most: int) -> Iterator[tuple[str, SiteArrivals]]:
        """The sites of which something came last, the newest of them at the end."""
        yield from reversed(heapq.nlargest(most, self._sites.items(), key=_at))


def _at(item: tuple[str, SiteArrivals]) -> float:
    return item[1].at
