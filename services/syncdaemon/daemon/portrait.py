"""The daemon as the hub is told of it: read from its parts whenever a word is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from math import ceil, inf, isfinite

from syncdaemon import __version__
from syncdaemon.daemon.anchor import Anchor
from syncdaemon.daemon.filling import Filling
from syncdaemon.daemon.gauges import Gauges
from syncdaemon.daemon.hub_watch import HubWatch
from syncdaemon.daemon.parts import Parts
from syncdaemon.daemon.tally import Tally
from syncdaemon.settings.values import Settings
from syncdaemon.stream.site_status import SiteStatus

_DAY = 86_400.0
_HASH = 16  # characters of the newest row's hash: enough to tell two rows apart
_FAR = 10_000.0  # days: what is further away is no date


class Portrait:
    """What the three gauges and `/status` say, as few numbers. `bandwidth`: bits a second."""

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        gauges: Gauges,
        tally: Tally,
        *,
        bandwidth: Callable[[], float],
        hub: HubWatch | None,
        anchor: Anchor | None,
    ) -> None:
        self._settings, self._gauges, self._tally, self._bandwidth, self._hub = settings, gauges, tally, bandwidth, hub
        self._anchor = anchor or Anchor()
        self._spool, self._link, self._ledger = parts.spool, parts.link, parts.ledger
        self._lane, self._quarantine, self._hold = parts.publisher.lane, parts.spool.quarantine, parts.spool.hold
        self._operator_pause = parts.spool.operator_pause
        self._in_doubt = parts.in_doubt
        self._disk = Filling()
        self._started, self._began = int(time.time()), time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether files wait."""
        return self._spool.depth > 0

    @property
    def delivered(self) -> int:
        """Files since the start."""
        return self._tally.delivered

    def state(self) -> Hashable:
        """What matters: where it becomes another one, the hub is told. It is read every few seconds."""
        tally = self._tally
        return self.busy, tally.delivered, tally.refused, self._quarantine.count, self._paused(), self._anchor.conflict

    def word(self, next_within: float) -> SiteStatus:
        """All of it now."""
        tally, head, lag = self._tally, self._ledger.head, self._hub.lag if self._hub is not None else None
        return SiteStatus(
            site=self._settings.site,
            version=__version__,
            next_within=ceil(next_within),
            started=self._started,
            uptime=int(time.monotonic() - self._began),
            link_status=int(self._link.proved()),
            queue_depth=self._spool.depth,
            bandwidth_bps=round(self._bandwidth()),
            ready_files=self._spool.ready,
            waiting_bytes=self._spool.waiting_bytes,
            oldest_file_age=int(self._spool.oldest_age()),
            in_doubt_files=self._in_doubt(),
            held_files=self._hold.count,
            quarantined_files=self._quarantine.count,
            published_files=tally.delivered - tally.duplicates,
            published_bytes=tally.published_bytes,
            duplicates=tally.duplicates,
            refused=tally.refused,
            standby=not self._settings.edge_mode,
            paused=self._paused(),
            row=head.n,
            row_sha256=head.digest[:_HASH] if head.n else "",
            replay_days_left=self._replay_days(),
            ledger_days_left=_days(self._gauges.ledger_days()),
            checkpoint_rows=self._anchor.rows,
            checkpoint_at=self._anchor.at,
            checkpoint_conflict=self._anchor.conflict,
            hub_lag_messages=lag.messages if lag is not None else None,
        )

    def look(self) -> None:
        """Notes how full the replay directory's disk is, for the rate at which it fills."""
        free = self._gauges.replay_free()
        if isfinite(free):
            self._disk.add(time.monotonic(), 0.0, inf, -free, -self._gauges.ledger_min_free())

    def _replay_days(self) -> float | None:
        return _days(self._disk.left / _DAY)

    def _paused(self) -> str:
        if self._operator_pause.is_on():
            return "by an operator"
        return self._lane.paused or self._ledger.problem


def _days(days: float) -> float | None:
    return days if days < _FAR else None
