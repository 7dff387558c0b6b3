"""Times by site, as a Prometheus histogram of bounded size that is cheap to scrape. Pure.

The histograms of prometheus_client make an object for each bucket of each site, and write each line by itself: for
10,000 sites 200 MB and some seconds of the event loop a scrape. Here a site is one array of numbers and one template.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

BOUNDS = (0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 600.0, 1200.0, 3600.0, 21600.0, 86400.0)
"""Upper bounds in seconds; 600 and 1200 are those of the runbook's objective."""

MOST_SITES = 10_000
OTHER = "other"
"""Stands for all sites after the first `MOST_SITES`."""

_SITE = b"\0"  # in a template, where the site goes
_ZEROS = array("d", bytes(8 * (len(BOUNDS) + 2)))  # a count for each bucket and the one above, and the sum


class SiteHistogram:
    """How long something took, by site. What took less than no time is counted apart: two clocks differ there.

    `name` and `about` are those of the metric; its unit is the second. `most`: sites that have a series of their own.
    """

    def __init__(self, name: str, about: str, most: int = MOST_SITES) -> None:
        self._most = most
        self._found: dict[str, array[float]] = {}
        self._negative: dict[str, int] = {}
        self._head = f"# HELP {name} {about}\n# TYPE {name} histogram\n".encode()
        self._template = _template(name)
        self._negative_name = f"{name.removesuffix('_seconds')}_negative_total"

    def observe(self, site: str, seconds: float) -> None:
        """It took so many seconds for something of this site."""
        site = self._label(site)
        if seconds < 0:
            self._negative[site] += 1
            return
        found = self._found[site]
        found[bisect_left(BOUNDS, seconds)] += 1
        found[-1] += seconds

    def _label(self, site: str) -> str:
        if site in self._found:
            return site
        label = site if len(self._found) < self._most else OTHER
        if label not in self._found:
            self._found[label] = array("d", _ZEROS)
            self._negative[label] = 0
        return label

    def counts(self) -> list[int]:
        """How many there are of all sites: one number for each of `BOUNDS`, not cumulative, and one for what is above.

        It takes some ms for 10,000 sites.
        """
        return [int(sum(found[at] for found in self._found.values())) for at in range(len(BOUNDS) + 1)]

    def lines(self) -> Iterator[bytes]:
        """The series in the text format of Prometheus."""
        yield self._head
        for site, found in self._found.items():
            counts = [*accumulate(found[:-1])]
            yield self._template.replace(_SITE, site.encode()) % (*counts, counts[-1], found[-1])
        yield f"# HELP {self._negative_name} Times below 0: the clocks differ\n".encode()
        yield f"# TYPE {self._negative_name} counter\n".encode()
        for site, count in self._negative.items():
            yield b'%b{site="%b"} %d\n' % (self._negative_name.encode(), site.encode(), count)


def _template(name: str) -> bytes:
    series = name.encode()
    buckets = [
        b'%b_bucket{le="%b",site="\0"} %%d\n' % (series, bound.encode()) for bound in [*map(str, BOUNDS), "+Inf"]
    ]
    ends = [b'%b_%b{site="\0"} %%%b\n' % (series, end, kind) for end, kind in ((b"count", b"d"), (b"sum", b"r"))]
    return b"".join([*buckets, *ends])
