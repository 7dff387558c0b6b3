"""Section: ten thousand sites come back to a hub at once. Time is simulated, and the back-off is the real one.

The hub was away, and each site has been trying again as the link does while connections are refused. Then it listens,
and makes so many TLS handshakes a second, in the order in which they were asked for. A handshake that is not over when
the site's patience is, is given up; when its turn would have come, the hub has spent a tenth of its work on it. Whoever
gave up tries again as the link does after that error.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

from benchmarks.measure import BenchmarkFailed
from benchmarks.plan import Plan
from benchmarks.report import table
from syncdaemon.link.options import CONNECT_SECONDS, TLS_SECONDS
from syncdaemon.link.pace import retry_delay
from syncdaemon.link.words import is_cheap

SITES, HANDSHAKES = 10_000, 200.0  # and how many of them the hub makes in a second
AWAY_SECONDS = 30.0
_GIVEN_UP = 0.1  # of a handshake's work, for one that nobody waits for any more
_SERVERS_PATIENCE = 2.0  # seconds: nats-server's own `timeout` of its `tls` block, where nothing is set (2.15)
_LONGEST = 10.0  # times what the hub needs: then it is overrun for good
_MOST_SECONDS, _MOST_WASTED = 1.5, 0.5  # times what the hub needs; of all attempts

Delay = Callable[[int, Exception, float], float]
"""Gets the failures in a row, the last error, and the dice; gives the seconds until the next attempt."""


@dataclass(frozen=True)
class Return:
    """What became of it. `needs`: the seconds that the hub needs if nothing is in vain; `seconds`: what it took.

    `all_back`: or the simulation was ended before. `attempts` since the hub listened, `wasted` of them in vain.
    """

    needs: float
    seconds: float
    all_back: bool
    attempts: int
    wasted: int

    @property
    def ratio(self) -> float:
        """Times what the hub needs."""
        return self.seconds / self.needs

    @property
    def share(self) -> float:
        """Of all attempts, those that were in vain."""
        return self.wasted / self.attempts


def as_the_link(failures: int, error: Exception, roll: float) -> float:
    """The delay of the link, over TLS."""
    return retry_delay(failures, not is_cheap(error, tls=True), roll)


def as_before(failures: int, error: Exception, roll: float) -> float:
    """The delay of the link before a time-out counted as a sign of a busy server."""
    return retry_delay(failures, False, roll)


class _Herd:
    """The sites and the hub, from one event to the next."""

    def __init__(self, delay: Delay, patience: float, *, sites: int, rate: float, seed: int) -> None:
        self._delay, self._patience, self._rate = delay, patience, rate
        self._dice = random.Random(seed)
        self._failures = [1] * sites
        self._waits = [False] * sites  # for its handshake
        self._queue: deque[tuple[int, int]] = deque()  # at the hub: a site, and which of its attempts this is
        self._busy = False
        self._events: list[tuple[float, int, int, Callable[[float, int, int], None]]] = []
        self.attempts = self.wasted = self.back = 0
        for site in range(sites):
            self._at(self._dice.random() - AWAY_SECONDS, site, self._try)

    def run(self, most: float) -> float:
        """Until all are back, or so many seconds have passed; when that was."""
        now = 0.0
        while self.back < len(self._failures) and now < most:
            now, site, attempt, happens = heappop(self._events)
            happens(now, site, attempt)
        return now

    def _at(self, when: float, site: int, happens: Callable[[float, int, int], None]) -> None:
        heappush(self._events, (when, site, self._failures[site], happens))

    def _fail(self, now: float, site: int, error: Exception) -> None:
        self._failures[site] += 1
        self._at(now + self._delay(self._failures[site], error, self._dice.random()), site, self._try)

    def _try(self, now: float, site: int, attempt: int) -> None:
        if now < 0:
            self._fail(now, site, ConnectionRefusedError())
            return
        self.attempts += 1
        self._waits[site] = True
        self._queue.append((site, attempt))
        self._at(now + self._patience, site, self._give_up)
        if not self._busy:
            self._next(now)

    def _next(self, now: float) -> None:
        """The hub begins with the handshake that was asked for first."""
        self._busy = bool(self._queue)
        if self._busy:
            site, attempt = self._queue.popleft()
            wanted = self._waits[site] and self._failures[site] == attempt
            heappush(self._events, (now + (1 if wanted else _GIVEN_UP) / self._rate, site, attempt, self._made))

    def _made(self, now: float, site: int, attempt: int) -> None:
        if self._waits[site] and self._failures[site] == attempt:
            self._waits[site] = False
            self.back += 1
        self._next(now)

    def _give_up(self, now: float, site: int, attempt: int) -> None:
        if self._waits[site] and self._failures[site] == attempt:
            self._waits[site] = False
            self.wasted += 1
            self._fail(now, site, TimeoutError())


def simulate(delay: Delay, patience: float, *, sites: int = SITES, rate: float = HANDSHAKES, seed: int = 1) -> Return:
    """The return of all sites to the hub, which listens from the time 0 on. `patience`: of an attempt, in seconds."""
    herd = _Herd(delay, patience, sites=sites, rate=rate, seed=seed)
    needs = sites / rate
    seconds = herd.run(_LONGEST * needs)
    return Return(needs, seconds, herd.back == sites, herd.attempts, herd.wasted)


def _times(run: Return) -> tuple[str, str]:
    return (f"{run.seconds:.1f}", f"{run.ratio:.2f}") if run.all_back else ("never", "never")


def section(plan: Plan) -> str:
    """The section in Markdown. Raises BenchmarkFailed where the link of today keeps the hub from its work."""
    now = simulate(as_the_link, TLS_SECONDS)
    runs = {
        "the link": now,
        "the link, where the hub itself gives up after 2 s": simulate(as_the_link, _SERVERS_PATIENCE),
        "before": simulate(as_before, CONNECT_SECONDS),
    }
    rows = [[name, *_times(run), f"{run.attempts:,}", f"{run.share:.0%}"] for name, run in runs.items()]
    if not now.all_back or now.ratio > _MOST_SECONDS or now.share >= _MOST_WASTED:
        raise BenchmarkFailed(f"herd: {now.ratio:.2f} times what the hub needs, {now.share:.0%} of the attempts wasted")
    return "\n\n".join(
        [
            "## Herd",
            f"{SITES:,} sites come back over TLS to a hub that was away for {AWAY_SECONDS:g} s and makes "
            f"{HANDSHAKES:g} handshakes a second, so it needs {now.needs:g} s. Simulated time, the link's own delays. "
            f"Goals: all back in at most {_MOST_SECONDS:g} times that, fewer than half of the attempts in vain.",
            table(["delays", "all back after s", "times what the hub needs", "attempts", "in vain"], rows),
        ]
    )
