"""How long files are on their way, from a site's disk and from the stream, until the worker's confirmed answer.

Three clocks are in this: a site's (when the file arrived), the server's (when the stream stored the message), and the
worker's (when the server had confirmed its acknowledgement).
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import structlog

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.receive.site_histogram import MOST_SITES, SiteHistogram

_DIFFER = 1.0  # seconds by which a time is negative, until it is said

log = structlog.get_logger(__name__)


class EndToEnd:
    """Observes both times of each file, and says once of each site, and once of the server, that its clock is ahead.

    A clock that is behind can't be told from a long way: then the times are too long by that.
    """

    def __init__(self) -> None:
        self.from_site = SiteHistogram(
            "edge_end_to_end_latency_seconds",
            "From a file's arrival in its site's replay directory to the worker's confirmed acknowledgement",
        )
        self.from_stream = SiteHistogram(
            "edge_hub_latency_seconds",
            "From the stream's own time of a message to the worker's confirmed acknowledgement",
        )
        self._said: set[str] = set()
        self._pause = OnceAMinute()

    def observe(self, site: str, arrived_ns: int | None, stored_ns: int, now_ns: int) -> None:
        """A file is received. `arrived_ns`: None where its message does not say it."""
        since_stored = (now_ns - stored_ns) / 1e9
        self.from_stream.observe(site, since_stored)
        self._say_difference("", since_stored)
        if arrived_ns is not None:
            since_arrival = (now_ns - arrived_ns) / 1e9
            self.from_site.observe(site, since_arrival)
            self._say_difference(site, since_arrival)

    def _say_difference(self, site: str, seconds: float) -> None:
        if seconds > -_DIFFER or site in self._said or len(self._said) > MOST_SITES:
            return
        if self._pause.due(time.monotonic(), "clocks_differ"):
            self._said.add(site)
            whose = f"the clock of site {site}" if site else "the server's clock"
            effect = "times below 0 are counted apart; set the clocks by NTP"
            log.warning("clocks_differ", ahead=whose, seconds=round(-seconds, 3), effect=effect)

    def lines(self) -> Iterator[bytes]:
        """The series in the text format of Prometheus."""
        yield from self.from_site.lines()
        yield from self.from_stream.lines()
