"""What became of files since the start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from syncdaemon.base.model import Content, Receipt, Refusal
from syncdaemon.daemon.metrics import Metrics
from syncdaemon.ledger import now_text


class Tally:
    """Counts delivered and refused files, for the metrics and for the status.

    `ages`: the seconds since each of these arrivals, which are in ns.
    """

    def __init__(self, metrics: Metrics, ages: Callable[[Sequence[int]], Sequence[float]]) -> None:
        self._metrics = metrics
        self._ages = ages
        self._last: tuple[Receipt, str] | None = None
        self.first_receipt = asyncio.Event()
        self.delivered = self.duplicates = self.refused = 0
        self.delivered_bytes = self.published_bytes = 0

    def add(self, receipts: Sequence[Receipt], refusals: Sequence[Refusal]) -> None:
        """These files are delivered, and those are refused."""
        self._metrics.delivered(receipts, self._ages([_arrival(receipt.content) for receipt in receipts]))
        for refusal in refusals:
            self._metrics.refused(refusal.reason)
        for receipt in receipts:
            content = receipt.content
            size = content.stamp.size
            self.delivered += 1
            self.delivered_bytes += size
            if receipt.duplicate:
                self.duplicates += 1
            else:
                self.published_bytes += size
        self.refused += len(refusals)
        if receipts:
            self._last = receipts[-1], now_text()
            self.first_receipt.set()

    @property
    def last_receipt(self) -> dict[str, str | int] | None:
        """The newest receipt since the start."""
        if self._last is None:
            return None
        receipt, at = self._last
        content = receipt.content
        fields = {"path": content.name, "sha256": content.sha256, "stream": receipt.stream}
        return {**fields, "stream_seq": receipt.seq, "at": at}


def _arrival(content: Content) -> int:
    """When the file came; where no look noted that, its ctime stands for it."""
    return content.arrived_ns or content.stamp.ctime_ns
