"""What the daemon shows of itself: the checks of its health, and its status."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from math import isfinite
from typing import Any, NamedTuple

from syncdaemon import __version__
from syncdaemon.daemon.filling import Filling
from syncdaemon.daemon.hub_watch import HubWatch
from syncdaemon.daemon.metrics import Metrics
from syncdaemon.daemon.parts import Parts
from syncdaemon.daemon.settling import oldest_settling
from syncdaemon.daemon.tally import Tally
from syncdaemon.settings.values import Settings
from syncdaemon.web.views import Check

_SEEN = {
    True: "the stream's settings are seen",
    False: "the stream's settings are not seen, and nothing waits for that",
    None: "the stream was not asked yet",
}
"""What health says of the stream's settings."""


class Observed(NamedTuple):
    """What is looked at now and then: how full the stream is, and how far the hub is, where there is one."""

    filling: Filling
    hub: HubWatch | None


class Report:
    """Reads the parts whenever it is asked. `steered`: what an operator has changed, and holds now."""

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        tally: Tally,
        metrics: Metrics,
        looks: Observed,
        *,
        steered: Callable[[], dict[str, dict[str, Any]]] = dict,
    ) -> None:
        self._steered = steered
        self._operator_pause = parts.spool.operator_pause
        self._settings, self._parts, self._tally, self._metrics = settings, parts, tally, metrics
        self._spool, self._link, self._objects, self._ledger = parts.spool, parts.link, parts.objects, parts.ledger
        self._lane, self._limit = parts.publisher.lane, parts.link.limit
        self._queue, self._hold, self._quarantine = parts.spool.queue, parts.spool.hold, parts.spool.quarantine
        self._unseen, self._retirement = parts.spool.unseen, parts.spool.retirement
        self._replay = parts.spool.directory
        spool_settings = parts.spool.settings
        self._replay_dir = os.fsdecode(spool_settings.replay_dir)
        self._filling, self._hub = looks
        self._began = time.monotonic()

    def checks(self) -> dict[str, Check]:
        """Every check of health by its name."""
        link, spool, ledger = self._link, self._spool, self._ledger
        scanned = spool.scanned and not spool.problem
        stuck, unread = self._retirement.stuck, self._unread()
        full, filling = self._full(), self._filling
        waiting, refused = f"{spool.depth} files wait", f"{self._quarantine.count} refused files"
        hub = self._hub
        behind = {} if hub is None else {"hub": Check(not hub.late(self._lane.horizon), hub.words)}
        return behind | {
            "link": Check(link.proved(), link.problem or "the server answers"),
            "lane": Check(not self._lane.paused, self._lane.paused or "open"),
            "operator": Check(True, self._by_operator() or "nothing is paused"),
            "room": Check(not filling.soon, filling.words, filling.words),
            "settings": Check(True, _SEEN[self._lane.settings_seen]),
            "objects": Check(not self._large_pause, self._large_pause or self._large_lack or "open"),
            "scanned": Check(scanned, spool.problem or waiting, waiting),
            "ledger": Check(not ledger.problem, ledger.problem or f"row {ledger.head.n}"),
            "folders": Check(not unread, unread or "all can be read", f"{self._unseen.unread} can't be looked at"),
            "retired": Check(not stuck, stuck or "delivered files are moved out of the way"),
            "disks": Check(not full, full or "both disks take files", "a disk takes no further file"),
            "quarantine": Check(not self._quarantine.count, refused, refused),
        }

    def _by_operator(self) -> str:
        """What an operator has paused; empty where nothing is."""
        if self._operator_pause.is_on():
            return "an operator has paused all files"
        return "an operator has paused large files" if self._operator_pause.large_is_on() else ""

    def _unread(self) -> str:
        unseen = self._unseen
        return f"{unseen.unread} folders or files can't be looked at: {unseen.unread_one}" if unseen.unread else ""

    def _full(self) -> str:
        """Which disk takes no further file, and why. Of a folder that is gone, other checks tell."""
        for setting, room_of in (("SYNC_REPLAY_DIR", self._replay.room), ("SYNC_LEDGER_DIR", self._ledger.room)):
            with suppress(OSError):
                if lacking := room_of().lacking:
                    return f"the disk of {setting}: {lacking}"
        return ""

    @property
    def _large_pause(self) -> str:
        """Why the bucket takes nothing, while there is something for it."""
        waits = self._queue.any_large or self._objects.progress is not None
        return self._objects.paused if waits else ""

    @property
    def _large_lack(self) -> str:
        """What a large file would wait for, while there is none."""
        return f"a large file would wait: {self._objects.lacking}" if self._objects.lacking else ""

    def _upload(self) -> dict[str, str | int] | None:
        """How far a large file is."""
        progress = self._objects.progress
        return {"path": progress.name, "stored": progress.stored, "size": progress.size} if progress else None

    def _hashing(self) -> list[dict[str, str | int]]:
        """How far the digests of large files are, which come before their upload."""
        found = self._spool.hashing
        return [{"path": progress.name, "hashed": progress.hashed, "size": progress.size} for progress in found]

    def status(self) -> dict[str, Any]:
        """What `syncdaemon status` shows."""
        settings, link, tally, ledger = self._settings, self._link, self._tally, self._ledger
        waiting, bandwidth = self._spool.waiting_bytes, self._metrics.bandwidth() / 8
        settling = self._spool.settling
        return {
            "site": settings.site,
            "version": __version__,
            "edge_mode": settings.edge_mode,
            "uptime_seconds": round(time.monotonic() - self._began, 1),
            "link": link.status(),
            "stream": settings.sync_stream,
            **({} if self._hub is None else {"hub": self._hub.words}),
            "stream_room": self._filling.words,
            "dedupe_horizon_seconds": self._lane.horizon if isfinite(self._lane.horizon) else "any",
            "paused": self._by_operator() or self._lane.paused or self._large_pause or ledger.problem,
            "steered": self._steered(),
            "upload": self._upload(),
            "hashing": self._hashing(),
            "queue_depth": self._spool.depth,
            "waiting_bytes": waiting,
            "time_left_seconds": _time_left(waiting, bandwidth),
            "ready_files": self._spool.ready,
            "settling_files": settling.files,
            "oldest_settling_file": oldest_settling(self._spool),
            "oldest_file_age_seconds": round(self._spool.oldest_age(), 3),
            "bandwidth_bytes_per_second": round(bandwidth),
            "bwlimit_bytes_per_second": self._limit.rate if isfinite(self._limit.rate) else "off",
            "published_files": tally.delivered - tally.duplicates,
            "published_bytes": tally.published_bytes,
            "duplicates": tally.duplicates,
            "refused": tally.refused,
            "in_doubt_files": self._parts.in_doubt(),
            "held_files": self._hold.count,
            "quarantined_files": self._quarantine.count,
            "ignored_entries": self._unseen.odd,
            "unreadable_folders": self._unseen.unread_folders,
            "complete_by": self._spool.complete_by(),
            "ledger_rows": ledger.head.n,
            "last_receipt": tally.last_receipt,
            "replay_dir": self._replay_dir,
            "ledger_dir": str(ledger.folder),
        }


def _time_left(waiting: int, bandwidth: float) -> int | str:
    """Seconds until all is delivered, at the speed of the last seconds (bytes a second)."""
    if not waiting:
        return 0
    return round(waiting / bandwidth) if bandwidth else "unknown"
