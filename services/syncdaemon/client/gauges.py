"""What the daemon says of its site, and two gauges of it for the program's own metrics."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from syncdaemon.base.taken import ignored

_MOST = 100_000  # files that are counted while no daemon does it


class SiteState(NamedTuple):
    """`link`: 1 only while the server answers. `depth`: files that are not yet acknowledged. None: not known."""

    site: str | None
    link: int
    depth: int | None

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> SiteState:
        """What stands in the daemon's `/status`."""
        link = status.get("link")
        up = isinstance(link, dict) and link.get("up") is True
        return cls(str(status.get("site")), int(up), int(status.get("queue_depth", 0)))


class SiteGauges:
    """A collector for prometheus_client."""

    def __init__(self, state: Callable[[], SiteState], replay_dir: Path, site: str | None) -> None:
        self._state, self._replay_dir = state, replay_dir
        self._site = site or os.environ.get("SITE") or platform.node() or "unknown"

    def describe(self) -> list[Any]:
        """Nothing: else a registry would ask the daemon when this is registered."""
        return []

    def collect(self) -> Iterator[Any]:
        """Both gauges as they are now."""
        from prometheus_client.core import GaugeMetricFamily

        state = self._state()
        self._site = state.site or self._site
        depth = waiting_files(self._replay_dir) if state.depth is None else state.depth
        for name, words, value in (
            ("edge_link_status", "1 only while the server answers the daemon, which is at work", state.link),
            ("replay_queue_depth", "Files that are not yet acknowledged", depth),
        ):
            family = GaugeMetricFamily(name, words, labels=["site"])
            family.add_metric([self._site], value)
            yield family


def waiting_files(replay_dir: Path) -> int:
    """How many files lie in the replay directory, counted here since no daemon is there that knows."""
    return sum(1 for _ in islice(_files(os.fsencode(replay_dir)), _MOST))


def _files(folder: bytes) -> Iterator[bytes]:
    for above, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(b".")]
        yield from (os.path.join(above, name) for name in names if not ignored(name))
