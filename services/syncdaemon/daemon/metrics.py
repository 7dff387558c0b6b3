"""The numbers: what Prometheus scrapes. Names are the contract's; every series carries the label `site`."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from syncdaemon import __version__
from syncdaemon.base.model import Receipt
from syncdaemon.base.outlet import STDERR
from syncdaemon.daemon.gauges import Gauges
from syncdaemon.daemon.rate import Rate

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_DELIVERY_BUCKETS = (*_BUCKETS, 300.0, 900.0, 3600.0, 21600.0, 86400.0, 604800.0)


class Histogram(Collector):
    """A histogram that takes a batch of observations at once: two of them per file would cost more than its hash."""

    def __init__(self, name: str, help_text: str, site: str, buckets: Sequence[float]) -> None:
        self._name, self._help, self._site = name, help_text, site
        self._bounds = list(buckets)
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, values: Iterable[float]) -> None:
        """Adds these values, in seconds."""
        bounds, counts = self._bounds, self._counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
            self._sum += value

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._help, labels=["site"])
        buckets, total = [], 0
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric([self._site], buckets, self._sum)
        yield family


class _LogLines(Collector):
    """How many lines of the log are lost."""

    def __init__(self, site: str) -> None:
        self._site = site

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "syncdaemon_log_lines_dropped", "Lines of the log that found no room", labels=["site"]
        )
        family.add_metric([self._site], STDERR.lost)
        yield family


Known = Callable[[], Mapping[tuple[str, ...], float]]
"""Reads the values that are known now, each by its labels beside `site`."""


class _KnownGauge(Collector):
    """A gauge that has samples only for what is known."""

    def __init__(self, name: str, help_text: str, *, labels: Sequence[str], read: Known) -> None:
        self._name, self._help, self._labels, self._read = name, help_text, labels, read

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._help, labels=self._labels)
        for labels, value in self._read().items():
            family.add_metric(labels, value)
        yield family


class Metrics:
    """Every series of one daemon, in a registry of its own."""

    def __init__(self, site: str) -> None:
        self.registry = CollectorRegistry()
        self._site = site
        self._rate = Rate()
        self._answered_bytes = 0
        self._files = self._counter("syncdaemon_published_files", "Files stored by the stream")
        self._bytes = self._counter("syncdaemon_published_bytes", "Bytes of payload stored by the stream")
        self._duplicates = self._counter("syncdaemon_duplicates", "Files whose content the stream held already")
        self._refused = self._counter("syncdaemon_refused", "Files set aside", "reason")
        self._lost = self._counter("syncdaemon_held_lost", "Files sent again because the server had lost them")
        self._errors = self._counter("syncdaemon_publish_errors", "Messages that have to be sent again", "reason")
        self._reconnects = self._counter("syncdaemon_link_reconnects", "Connections after the first one")
        self._rows = self._counter("syncdaemon_ledger_rows", "Rows written to the ledger")
        self._published = self._histogram("syncdaemon_publish_latency_seconds", "From send to acknowledgement")
        self._delivered = self._histogram(
            "syncdaemon_delivery_latency_seconds", "From a file's arrival to its acknowledgement", _DELIVERY_BUCKETS
        )
        self._fsync = self._histogram("syncdaemon_ledger_fsync_seconds", "One group commit of the ledger")
        self.registry.register(_LogLines(site))
        info = Gauge("syncdaemon_build_info", "The running version", ["site", "version"], registry=self.registry)
        info.labels(site, __version__).set(1)

    def add_gauges(self, gauges: Gauges) -> None:
        """Shows these values too. They are read whenever the metrics are asked for."""
        for name, help_text, read in (
            ("replay_queue_depth", "Files complete or settling, not yet acknowledged", gauges.queue_depth),
            ("syncdaemon_ready_files", "Files complete and not yet acknowledged", gauges.ready_files),
            ("syncdaemon_settling_files", "Files that are not complete yet", gauges.settling_files),
            ("syncdaemon_unreadable_folders", "Folders that can't be looked into", gauges.unreadable_folders),
            ("syncdaemon_edge_mode", "0 while the daemon stands by (EDGE_MODE)", gauges.edge_mode),
            ("syncdaemon_paused", "1 while an operator has paused the delivery", gauges.paused),
            ("edge_link_status", "1 only while the server answers", gauges.link_status),
            ("edge_bandwidth_bps", "Bits per second of acknowledged payload over the last 5 s", self.bandwidth),
            ("syncdaemon_in_doubt_files", "Files sent whose acknowledgement did not come", gauges.in_doubt),
            ("syncdaemon_held_files", "Delivered files that are still kept", gauges.held),
            ("syncdaemon_quarantined_files", "Refused files that wait for the operator", gauges.quarantined),
            (
                "syncdaemon_oldest_file_age_seconds",
                "Seconds since the arrival of the file that is ready and came first",
                gauges.oldest_age,
            ),
            (
                "syncdaemon_dedupe_horizon_seconds",
                "For how long an outage may last without a second copy",
                gauges.horizon,
            ),
            ("syncdaemon_ledger_free_bytes", "Free on the ledger's disk, NaN if it is gone", gauges.ledger_free),
            (
                "syncdaemon_ledger_min_free_bytes",
                "Below so much (SYNC_MIN_FREE_BYTES) it pauses",
                gauges.ledger_min_free,
            ),
            (
                "syncdaemon_replay_free_bytes",
                "Bytes that still fit on the replay directory's disk, as files like those there; NaN if it is gone",
                gauges.replay_free,
            ),
            ("syncdaemon_ledger_days_left", "Days for which the ledger's disk has room", gauges.ledger_days),
            ("syncdaemon_bwlimit_bytes_per_second", "Bytes a second that may be sent now; +Inf: any", gauges.bwlimit),
        ):
            self._gauge(name, help_text, read)

    def add_known(self, name: str, help_text: str, read: Known, *labels: str) -> None:
        """Shows a gauge that has a sample only for what `read` knows, with these labels beside `site`."""
        site = (self._site,)

        def values() -> dict[tuple[str, ...], float]:
            return {site + given: value for given, value in read().items()}

        self.registry.register(_KnownGauge(name, help_text, labels=("site", *labels), read=values))

    def _gauge(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        gauge = Gauge(name, help_text, ["site"], registry=self.registry)
        gauge.labels(self._site).set_function(read)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        counter = Counter(name, help_text, ["site", *labels], registry=self.registry)
        if not labels:
            counter.labels(self._site)
        return counter

    def _histogram(self, name: str, help_text: str, buckets: Sequence[float] = _BUCKETS) -> Histogram:
        histogram = Histogram(name, help_text, self._site, buckets)
        self.registry.register(histogram)
        return histogram

    def bandwidth(self) -> float:
        """Bits a second of acknowledged payload, over the last seconds."""
        return self._rate.bps(time.monotonic())

    def answered_bytes(self) -> int:
        """Bytes of payload that were stored since the start; those of a file that is only partly uploaded count."""
        return self._answered_bytes

    def answered(self, latencies: Sequence[float], size: int) -> None:
        """Messages were answered, so long after they were sent; `size` bytes of payload are stored."""
        self._rate.add(time.monotonic(), size)
        self._answered_bytes += size
        self._published.observe(latencies)

    def failed(self, reason: str, count: int) -> None:
        """`count` messages have to be sent again."""
        self._errors.labels(self._site, reason).inc(count)

    def held_lost(self, files: int) -> None:
        """The server had acknowledged these, and lost them."""
        self._lost.labels(self._site).inc(files)

    def delivered(self, receipts: Sequence[Receipt], ages: Iterable[float]) -> None:
        """These files are in the stream. `ages`: for each, the seconds since its arrival."""
        fresh = [receipt.content for receipt in receipts if not receipt.duplicate]
        self._files.labels(self._site).inc(len(fresh))
        self._bytes.labels(self._site).inc(sum(content.stamp.size for content in fresh))
        self._duplicates.labels(self._site).inc(len(receipts) - len(fresh))
        self._delivered.observe(ages)

    def refused(self, reason: str) -> None:
        """A file was set aside."""
        self._refused.labels(self._site, reason).inc()

    def reconnected(self) -> None:
        """A connection after the first one is up."""
        self._reconnects.labels(self._site).inc()

    def fsynced(self, seconds: float, rows: int) -> None:
        """A group of rows is on disk."""
        self._fsync.observe([seconds])
        self._rows.labels(self._site).inc(rows)

    def text(self) -> bytes:
        """All series, in the text format of Prometheus."""
        return generate_latest(self.registry)

    def value(self, name: str, **labels: str) -> float:
        """The value of one sample now; 0 where there is none yet."""
        return self.registry.get_sample_value(name, {"site": self._site, **labels}) or 0.0
