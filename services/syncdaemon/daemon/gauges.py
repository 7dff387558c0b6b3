"""The values that change without an event: each is read from a part when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from math import nan

from syncdaemon.daemon.parts import Parts
from syncdaemon.ledger.room import daily_sizes, days_left


class Gauges:
    """One method for each gauge of the metrics. What is not known now is NaN, and all others are still shown."""

    def __init__(self, parts: Parts, ledger_min_free: int, *, edge_mode: bool) -> None:
        self._parts = parts
        self._edge_mode = edge_mode
        self._spool, self._link, self._ledger = parts.spool, parts.link, parts.ledger
        self._replay, self._operator_pause = parts.spool.directory, parts.spool.operator_pause
        self._hold, self._quarantine = parts.spool.hold, parts.spool.quarantine
        self._unseen = parts.spool.unseen
        self._lane, self._limit = parts.publisher.lane, parts.link.limit
        self._ledger_min_free = ledger_min_free

    def queue_depth(self) -> float:
        """Files complete or settling, not yet acknowledged."""
        return self._spool.depth

    def ready_files(self) -> float:
        """Files that are complete, as far as was looked, and not yet acknowledged."""
        return self._spool.ready

    def settling_files(self) -> float:
        """Files that are not complete, as far as was looked."""
        settling = self._spool.settling
        return settling.files

    def oldest_age(self) -> float:
        """Seconds since the arrival of the file that is ready and came first."""
        return self._spool.oldest_age()

    def unreadable_folders(self) -> float:
        """Folders that the last scan could not look into."""
        return self._unseen.unread_folders

    def edge_mode(self) -> float:
        """0 while the daemon stands by."""
        return int(self._edge_mode)

    def paused(self) -> float:
        """1 while an operator has paused the delivery, of all files or of large ones."""
        return int(self._operator_pause.large_is_on())

    def in_doubt(self) -> float:
        """Files that were sent and not answered."""
        return self._parts.in_doubt()

    def held(self) -> float:
        """Delivered files that are still kept."""
        return self._hold.count

    def quarantined(self) -> float:
        """Refused files that wait for the operator."""
        return self._quarantine.count

    def link_status(self) -> float:
        """1 only while the server answers."""
        return int(self._link.proved())

    def bwlimit(self) -> float:
        """Bytes a second that may be sent now; infinite: any."""
        return self._limit.rate

    def horizon(self) -> float:
        """For how many seconds an outage may last without a second copy."""
        return self._lane.horizon

    def replay_free(self) -> float:
        """Bytes that producers can still drop on the replay directory's disk, in files like those that are there."""
        return _unless_gone(self._replay_free)

    def _replay_free(self) -> float:
        return self._replay.room().for_files

    def ledger_free(self) -> float:
        """Free bytes on the ledger's disk."""
        return _unless_gone(self._ledger_free)

    def _ledger_free(self) -> float:
        return self._ledger.room().free

    def ledger_min_free(self) -> float:
        """Below so many free bytes the ledger pauses."""
        return self._ledger_min_free

    def ledger_days(self) -> float:
        """For how many days the ledger has room, at the rate at which it grows."""
        return _unless_gone(self._ledger_days)

    def _ledger_days(self) -> float:
        room = self._ledger.room()
        sizes = daily_sizes(self._ledger.folder, self._ledger.site, datetime.now(UTC).date())
        return min(days_left(room.free - self._ledger_min_free, sizes), room.files)  # each day is a file


def _unless_gone(read: Callable[[], float]) -> float:
    """The value; NaN while the folder that it is read from is gone."""
    try:
        return read()
    except OSError:
        return nan
