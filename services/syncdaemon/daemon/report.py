"""What the daemon tells of itself: every check of health, and the status."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

from syncdaemon import __version__
from syncdaemon.base.model import Receipt, Refusal
from syncdaemon.ledger import Ledger, now_text
from syncdaemon.link import Link
from syncdaemon.publish import Publisher
from syncdaemon.publish.objects import Objects
from syncdaemon.settings.values import Settings
from syncdaemon.spool import Spool
from syncdaemon.web.server import Check


class Report:
    """Reads the parts, and keeps what only it needs: what was delivered and refused since the start."""

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        link: Link,
        publisher: Publisher,
        objects: Objects,
        ledger: Ledger,
        bandwidth: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._spool, self._link, self._publisher, self._ledger = spool, link, publisher, ledger
        self._objects = objects
        self._bandwidth = bandwidth
        self._began = time.monotonic()
        self._last: tuple[Receipt, str] | None = None
        self.delivered = self.duplicates = self.refused = 0
        self.delivered_bytes = self.published_bytes = 0

    def told(self, receipts: Sequence[Receipt], refusals: Sequence[Refusal]) -> None:
        """This became of some files."""
        self.delivered += len(receipts)
        self.duplicates += sum(receipt.duplicate for receipt in receipts)
        self.delivered_bytes += sum(receipt.content.stamp.size for receipt in receipts)
        self.published_bytes += sum(receipt.content.stamp.size for receipt in receipts if not receipt.duplicate)
        self.refused += len(refusals)
        if receipts:
            self._last = receipts[-1], now_text()

    @property
    def last_receipt(self) -> dict[str, str | int] | None:
        """The newest receipt since the start."""
        if self._last is None:
            return None
        receipt, at = self._last
        content = receipt.content
        fields = {"path": content.name, "sha256": content.sha256, "stream": receipt.stream}
        return {**fields, "stream_seq": receipt.seq, "at": at}

    def in_doubt(self) -> int:
        """Files that were sent and not answered, and are still there."""
        return sum(map(self._spool.backlog.waits, self._publisher.in_doubt))

    def checks(self) -> dict[str, Check]:
        """Every check of health by its name."""
        link, backlog = self._link, self._spool.backlog
        scanned = self._spool.scanned.is_set() and not self._spool.problem
        return {
            "link": Check(link.proved(), link.problem or "the server answers"),
            "lane": Check(not self._publisher.lane.paused, self._publisher.lane.paused or "open"),
            "objects": Check(not self._large_pause, self._large_pause or "open"),
            "scanned": Check(scanned, self._spool.problem or f"{backlog.depth} files wait"),
            "ledger": Check(not self._ledger.problem, self._ledger.problem or f"row {self._ledger.head.n}"),
            "folders": Check(not self._spool.unread, self._unread() or "all can be read"),
            "retired": Check(not self._spool.stuck, self._spool.stuck or "delivered files are moved out of the way"),
            "quarantine": Check(not self._spool.quarantine.count, f"{self._spool.quarantine.count} refused files"),
        }

    def _unread(self) -> str:
        spool = self._spool
        return f"{spool.unread} folders or files can't be looked at: {spool.unread_one}" if spool.unread else ""

    @property
    def _large_pause(self) -> str:
        """Why the bucket takes nothing, while there is something for it."""
        waits = self._spool.backlog.any_large or self._objects.progress is not None
        return self._objects.paused if waits else ""

    def _upload(self) -> dict[str, str | int] | None:
        """How far a large file is."""
        progress = self._objects.progress
        return {"path": progress.name, "stored": progress.stored, "size": progress.size} if progress else None

    def status(self) -> dict[str, Any]:
        """What `syncdaemon status` shows."""
        return {
            "site": self._settings.site,
            "version": __version__,
            "edge_mode": self._settings.edge_mode,
            "uptime_seconds": round(time.monotonic() - self._began, 1),
            "link": {
                "up": self._link.proved(),
                "url": self._link.shown_url,
                "problem": self._link.problem,
                "reconnects": max(0, self._link.connects - 1),
            },
            "stream": self._settings.sync_stream,
            "dedupe_horizon_seconds": self._publisher.lane.horizon if isfinite(self._publisher.lane.horizon) else "any",
            "paused": self._publisher.lane.paused or self._large_pause or self._ledger.problem,
            "upload": self._upload(),
            "queue_depth": self._spool.backlog.depth,
            "oldest_file_age_seconds": round(self._spool.oldest_age(), 3),
            "bandwidth_bps": round(self._bandwidth()),
            "bwlimit_bytes_per_second": self._link.limit.rate if isfinite(self._link.limit.rate) else "off",
            "published_files": self.delivered - self.duplicates,
            "published_bytes": self.published_bytes,
            "duplicates": self.duplicates,
            "refused": self.refused,
            "in_doubt_files": self.in_doubt(),
            "held_files": self._spool.hold.count,
            "quarantined_files": self._spool.quarantine.count,
            "ignored_entries": self._spool.odd,
            "ledger_rows": self._ledger.head.n,
            "last_receipt": self.last_receipt,
            "replay_dir": os.fsdecode(self._spool.settings.replay_dir),
            "ledger_dir": str(self._ledger.folder),
        }
