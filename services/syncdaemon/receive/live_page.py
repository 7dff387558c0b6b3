"""What the live page of a worker shows: whether evidence arrives, from whom, and how long it was on its way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from math import isfinite
from typing import Any

from syncdaemon import __version__
from syncdaemon.base.units import duration_in_words, size_in_words
from syncdaemon.receive.arrivals import Arrivals
from syncdaemon.receive.site_histogram import BOUNDS, SiteHistogram
from syncdaemon.web.events import Rows, Table
from syncdaemon.web.history import SLOT_SECONDS, SLOTS, History
from syncdaemon.web.views import Check
from syncdaemon.web.words import SAFE, TROUBLE, WAITING, PlainAnswer, count, name_of, rate

_LOOK_SECONDS = 2.0  # between two looks for the history
_SITES, _SITES_SECONDS = 50, 5.0  # that are shown, and how often
_PLOTS = (
    {"title": "Being written", "unit": "messages", "lines": ["in hand"]},
    {"title": "Files", "unit": "files/s", "lines": ["received"]},
    {"title": "Bandwidth", "unit": "bytes/s", "lines": ["written"]},
)
_KINDS = 3
TITLES = {
    "link": ("Link to the server", "Look at this machine's network, then at NATS_URL and the login."),
    "steady": (
        "Connections last",
        "A message may be larger than the server sends: the log says which setting to raise.",
    ),
    "consumer": ("Messages are pulled", "`syncdaemon doctor` says what the consumer or its rights lack."),
    "directory": ("The disk takes files", "Free room on that disk, or mend its rights. Messages wait in the stream."),
}


class WorkerPage:
    """`status` and `checks` are those of the other pages; `free_bytes` is what is left of the disk."""

    def __init__(
        self,
        name: str,
        arrivals: Arrivals,
        end_to_end: SiteHistogram,
        *,
        status: Callable[[], Mapping[str, Any]],
        checks: Callable[[], Mapping[str, Check]],
        free_bytes: Callable[[], float],
    ) -> None:
        self._name, self._arrivals, self._end_to_end = name, arrivals, end_to_end
        self._status, self._checks, self._free_bytes = status, checks, free_bytes
        self._history = History(_KINDS)
        self._began, self._before = time.time(), (time.monotonic(), 0, 0)
        self._files_a_second = self._bytes_a_second = 0.0
        self._sites: tuple[float, list[list[Any]]] = (0.0, [])

    async def run(self) -> None:
        """For ever: notes what the plots show."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._measure()
            self._note(self._status())

    def _measure(self) -> None:
        now, arrivals = time.monotonic(), self._arrivals
        then, files, size = self._before
        passed = max(0.1, now - then)
        self._files_a_second, self._bytes_a_second = (arrivals.files - files) / passed, (arrivals.bytes - size) / passed
        self._before = now, arrivals.files, arrivals.bytes

    def _note(self, status: Mapping[str, Any]) -> None:
        values = (status["in_flight"], self._files_a_second, self._bytes_a_second)
        self._history.look(time.monotonic(), time.time(), bool(status["link"]["up"]), values)

    async def look(self) -> dict[str, Any]:
        """The sections of the page."""
        status, checks = self._status(), self._checks()
        self._note(status)
        since = self._history.since
        arrivals = self._arrivals
        return {
            "about": {
                "kind": "worker",
                "name": self._name,
                "version": __version__,
                "began": round(self._began),
                "plots": _PLOTS,
                "slots": [SLOTS, SLOT_SECONDS],
            },
            "answer": answer(status, checks, arrivals).shown(),
            "link": {**status["link"], "since": None if since is None else round(since)},
            "facts": Table(self._facts(status)),
            "slots": Rows(list(self._history.slots())),
            "sites": Rows(self._by_site()),
            "receipts": Rows([_row(one) for one in arrivals.newest], thinned=True),
            "rejected": [[reason, number] for reason, number in arrivals.rejected.most_common()],
            "checks": Table(
                [
                    [name, TITLES[name][0], check.ok, check.detail, "" if check.ok else TITLES[name][1]]
                    for name, check in sorted(checks.items(), key=_bad_first)
                ]
            ),
        }

    def _facts(self, status: Mapping[str, Any]) -> list[list[str]]:
        free = self._free_bytes()
        return [
            ["Files since the start", f"{self._arrivals.files:,}"],
            ["Sites", f"{len(self._arrivals):,}"],
            ["In hand", count(status["in_flight"], "message")],
            ["Bandwidth", rate(self._bytes_a_second)],
            ["Free on the disk", size_in_words(int(free)) if isfinite(free) else "not known"],
            ["On the way, end to end", on_the_way(self._end_to_end.counts())],
        ]

    def _by_site(self) -> list[list[Any]]:
        """At most so often: where thousands of sites send at once, each look would be another picture."""
        if time.monotonic() - self._sites[0] >= _SITES_SECONDS:
            rows = [[name, one.files, one.bytes, round(one.at)] for name, one in self._arrivals.latest(_SITES)]
            self._sites = time.monotonic(), rows
        return self._sites[1]


def answer(status: Mapping[str, Any], checks: Mapping[str, Check], arrivals: Arrivals) -> PlainAnswer:
    """Whether evidence arrives, in one sentence."""
    for name in ("directory", "steady"):
        if not checks[name].ok:
            return PlainAnswer(
                TROUBLE, "No", f"Nothing is written: {checks[name].detail}.", ("What comes waits in the stream.",)
            )
    if not checks["link"].ok:
        return PlainAnswer(WAITING, "Not now", "The link to the server is down.", ("What comes waits in the stream.",))
    if not checks["consumer"].ok:
        return PlainAnswer(TROUBLE, "No", f"Nothing is pulled: {checks['consumer'].detail}.")
    if rejected := arrivals.rejected.total():
        were, them = ("was", "it") if rejected == 1 else ("were", "them")
        said = f"{count(rejected, 'message')} {were} rejected: no file could be made of {them}."
        return PlainAnswer(TROUBLE, "Not all", said, ("All others are written and acknowledged.",))
    if in_hand := status["in_flight"]:
        return PlainAnswer(
            SAFE, "Yes", f"{count(in_hand, 'message')} {'is' if in_hand == 1 else 'are'} being written now."
        )
    return PlainAnswer(SAFE, "Yes", "All that came is written and acknowledged.")


def on_the_way(counts: Sequence[int]) -> str:
    """The time below which 95 of 100 files were, out of a histogram's counts."""
    total = sum(counts)
    if not total:
        return "no file told its arrival"
    for bound, so_far in zip(BOUNDS, accumulate(counts), strict=False):
        if so_far >= 0.95 * total:
            return f"95 of 100 within {duration_in_words(bound)}"
    return f"over {duration_in_words(BOUNDS[-1])} for some"


def _bad_first(item: tuple[str, Check]) -> tuple[bool, int]:
    return item[1].ok, list(TITLES).index(item[0])


def _row(one: Any) -> list[Any]:
    return [one.number, round(one.at, 1), name_of(one.name), one.size, one.seq, one.unchanged]
