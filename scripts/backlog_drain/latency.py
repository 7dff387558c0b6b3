"""How long the messages of the runs were in the stream: what `edge:hub_latency:p95` records, of these messages alone.

From the histogram's counts before and after, so that it covers every message, and not only those of the last minutes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from scripts.prometheus import Api

SERIES = "edge_hub_latency_seconds_bucket"
_SCRAPE_SECONDS = 40.0  # until the last messages are in what Prometheus has of the workers
_LOOK_SECONDS = 0.5

Counts = Mapping[float, float]
"""By upper bound: how many took no longer."""


class HubLatency:
    """Of the messages of one site, from now on."""

    def __init__(self, api: Api, site: str) -> None:
        self._api, self._site = api, site
        self._before = self._counts()

    def p95(self, messages: int, patience: float = _SCRAPE_SECONDS) -> float | None:
        """In seconds; None where Prometheus does not tell it. It waits for so many messages, for up to `patience`.

        Raises ConnectTimeout where Prometheus does not answer.
        """
        deadline = time.monotonic() + patience
        while True:
            now = self._counts()
            made = {bound: count - self._before.get(bound, 0) for bound, count in now.items()}
            if made.get(math.inf, 0) >= messages or time.monotonic() >= deadline:
                return quantile(0.95, made)
            time.sleep(_LOOK_SECONDS)

    def _counts(self) -> dict[float, float]:
        found = self._api.query(f'sum by (le) ({SERIES}{{site="{self._site}"}})')
        return {float(sample.labels["le"]): sample.value for sample in found}


def quantile(part: float, counts: Counts) -> float | None:
    """As Prometheus' histogram_quantile: even within a bucket. None without a value, or where a counter began anew."""
    total = counts.get(math.inf, 0)
    if total <= 0 or min(counts.values()) < 0:
        return None
    lower, below = 0.0, 0.0
    for bound in sorted(counts):
        count = counts[bound]
        if count >= part * total:
            return lower if math.isinf(bound) else lower + (bound - lower) * (part * total - below) / (count - below)
        lower, below = bound, count
    return None
