"""What became of files since the start."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from syncdaemon.base.model import Receipt, Refusal
from syncdaemon.daemon.metrics import Metrics
from syncdaemon.ledger import now_text

NEWEST = 50  # receipts that are remembered
_LONGEST_NAME = 4096  # characters of the names in them


class NewReceipt(NamedTuple):
    """What is remembered of a receipt. `number` counts them from the start on; `at` is by the wall clock."""

    number: int
    at: float
    name: str
    size: int
    seq: int
    duplicate: bool


class Tally:
    """Counts delivered and refused files, for the metrics and for the status.

    `ages`: the seconds since each of these arrivals, which are in ns.
    """

    def __init__(self, metrics: Metrics, ages: Callable[[Sequence[int]], Sequence[float]]) -> None:
        self._metrics = metrics
        self._ages = ages
        self._last: tuple[Receipt, str] | None = None
        self.newest: deque[NewReceipt] = deque(maxlen=NEWEST)
        self.first_receipt = asyncio.Event()
        self.delivered = self.duplicates = self.refused = 0
        self.delivered_bytes = self.published_bytes = 0

    def add(self, receipts: Sequence[Receipt], refusals: Sequence[Refusal]) -> None:
        """These files are delivered, and those are refused."""
        self._metrics.delivered(receipts, self._ages([receipt.content.arrival_ns for receipt in receipts]))
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
            self._remember(receipts[-NEWEST:], time.time())
            self.first_receipt.set()

    def _remember(self, receipts: Sequence[Receipt], at: float) -> None:
        """`receipts`: the newest of those that are counted already."""
        for number, receipt in enumerate(receipts, self.delivered - len(receipts) + 1):
            content = receipt.content
            name, size = content.name[:_LONGEST_NAME], content.stamp.size
            self.newest.append(NewReceipt(number, at, name, size, receipt.seq, receipt.duplicate))

    @property
    def last_receipt(self) -> dict[str, str | int] | None:
        """The newest receipt since the start."""
        if self._last is None:
            return None
        receipt, at = self._last
        content = receipt.content
        fields = {"path": content.name, "sha256": content.sha256, "stream": receipt.stream}
        return {**fields, "stream_seq": receipt.seq, "at": at}
