"""All sites, as the hub knows them. Pure: the time is an argument, seconds since 1970.

What a word says of its site's name counts for nothing: its subject decides. A word that can't be read changes nothing
but a counter.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from syncdaemon.base.units import site
from syncdaemon.stream.site_status import SiteStatus, read

LATE_SECONDS = 60.0  # so long after the moment at which its next word was due, a site counts as silent
MOST_SITES = 20_000  # in one account, a stranger could make up any number of them
_POINTS = 40  # of the small plot
_POINT_SECONDS = 60.0
_FULL_DAYS = 7.0
_OLD_SECONDS = 1200  # the runbook's objective: no backlog takes longer

STATES = ("conflict", "silent", "never", "filling", "refused", "waiting", "paused", "well")
"""What a site is, the worst first."""


class CheckpointAtHub(NamedTuple):
    """The newest checkpoint of a site at the hub: so many rows, stored then."""

    rows: int
    at: float


class FleetSite:
    """One site. `seen`: when its newest word came; 0: there is none. `state`: as it was judged last."""

    __slots__ = ("changed", "name", "plot", "plotted", "seen", "state", "status")

    def __init__(self, name: str) -> None:
        self.name = name
        self.status = SiteStatus()
        self.seen = 0.0
        self.state = "never"
        self.changed = 0
        self.plot = array("Q")
        self.plotted = 0.0

    def due(self) -> float:
        """Until then the site need not say anything."""
        return self.seen + self.status.next_within + LATE_SECONDS

    def link_status(self, now: float) -> int:
        """1 while its words come as they should."""
        return int(self.seen > 0 and now <= self.due())

    def oldest_file_age(self, now: float) -> float:
        """Seconds; a file that waited at the last word has become older since."""
        age = self.status.oldest_file_age
        return age + max(0.0, now - self.seen) if age else 0.0

    def days_left(self) -> float | None:
        """Until the first of its disks is full; None where that is far, or not known."""
        known = [it for it in (self.status.replay_days_left, self.status.ledger_days_left) if it is not None]
        return min(known, default=None)


class Fleet:
    """`expected`: the sites that should report. `changes`: counts what a page has to show anew."""

    def __init__(self, expected: Iterable[str] = ()) -> None:
        self._sites = {name: FleetSite(name) for name in expected}
        self._expected = frozenset(self._sites)
        self.checkpoints: dict[str, CheckpointAtHub] = {}
        self.refused = 0  # words that could not be read
        self.changes = 1
        self.shrunk = 0  # the number of the newest change that took a site away
        for known in self._sites.values():
            known.changed = self.changes

    def __len__(self) -> int:
        return len(self._sites)

    def __iter__(self) -> Iterator[FleetSite]:
        return iter(self._sites.values())

    def get(self, name: str) -> FleetSite | None:
        """The site of this name."""
        return self._sites.get(name)

    @property
    def told(self) -> int:
        """How many sites have said anything."""
        return sum(known.seen > 0 for known in self)

    def take(self, name: str, data: bytes, at: float) -> None:
        """A site's word came at that time."""
        known = self._sites.get(name)
        try:
            status = read(data)
            if known is None:
                known = self._new(name)
        except ValueError:
            self.refused += 1
            return
        # Texts that thousands of sites have in common are kept once.
        known.status = status._replace(site=known.name, version=sys.intern(status.version))
        known.seen = max(known.seen, at)
        self._changed(known)
        if at - known.plotted >= _POINT_SECONDS:
            known.plotted = at
            known.plot.append(status.queue_depth)
            del known.plot[:-_POINTS]
        elif known.plot:
            known.plot[-1] = max(known.plot[-1], status.queue_depth)

    def _new(self, name: str) -> FleetSite:
        """Raises ValueError where no site is called so, or there are too many."""
        if len(self._sites) >= MOST_SITES:
            raise ValueError("there are too many sites")
        known = self._sites[site(name)] = FleetSite(name)
        return known

    def keep(self, names: Collection[str]) -> None:
        """The words of all other sites were taken away; an expected site has said nothing then."""
        for name in [known.name for known in self if known.seen and known.name not in names]:
            if name in self._expected:
                self._sites[name] = FleetSite(name)
                self._changed(self._sites[name])
            else:
                del self._sites[name]
                self.changes += 1
                self.shrunk = self.changes
            self.checkpoints.pop(name, None)

    def keep_checkpoints(self, names: Collection[str]) -> None:
        """The checkpoints of all other sites were taken away."""
        self.checkpoints = {name: one for name, one in self.checkpoints.items() if name in names}

    def judge(self, now: float) -> None:
        """Looks at every site again: time alone makes one silent."""
        for known in self:
            state = judged(known, now)
            if state != known.state:
                known.state = state
                self._changed(known)

    def _changed(self, known: FleetSite) -> None:
        self.changes += 1
        known.changed = self.changes


def judged(known: FleetSite, now: float) -> str:
    """What a site is at this time, one of `STATES`."""
    status = known.status
    if not known.seen:
        return "never"
    if status.checkpoint_conflict:
        return "conflict"
    if not known.link_status(now):
        return "silent"
    if (days := known.days_left()) is not None and days < _FULL_DAYS:
        return "filling"
    if status.quarantined_files:
        return "refused"
    if status.paused or status.standby:
        return "paused"
    return "waiting" if known.oldest_file_age(now) > _OLD_SECONDS else "well"


def checkpoint_rows(body: bytes) -> int:
    """How many rows the checkpoint in this message covers: the body of C2SP tlog-witness `add-checkpoint`.

    Raises ValueError where it is none. Its signature is not checked here: that is the auditor's part.
    """
    _, _, note = body.partition(b"\n\n")
    lines = note.split(b"\n", 3)
    if len(lines) < 4 or not lines[1].isdigit() or len(lines[1]) > 18:
        raise ValueError("no checkpoint")
    return int(lines[1])
