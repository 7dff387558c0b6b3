"""The numbers of a worker, in a registry of its own. Prometheus adds which worker they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from syncdaemon import __version__
from syncdaemon.base.outlet import STDERR
from syncdaemon.receive.incoming import Freed, Outcome, Placed, Rejected

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


class ReceiverGauges(NamedTuple):
    """Values that are asked for when they are scraped, because other parts keep them."""

    link_status: Callable[[], float]
    in_flight: Callable[[], float]
    free_bytes: Callable[[], float]


class _LogLines(Collector):
    """How many lines of the log are lost."""

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "nats_worker_log_lines_dropped", "Lines of the log that found no room", value=STDERR.lost
        )


class Meter:
    """Counts. A message counts as processed or failed when the server has confirmed our answer to it."""

    def __init__(self, live: ReceiverGauges) -> None:
        self._registry = CollectorRegistry()
        self._gauge("nats_worker_link_status", "1 only while the server answers", live.link_status)
        self._gauge("nats_worker_in_flight", "Messages that have arrived and are not answered yet", live.in_flight)
        self._gauge("nats_worker_free_bytes", "What is left of the disk that is written to", live.free_bytes)
        self._processed = self._counter("nats_worker_processed", "Messages acknowledged, their file in its place")
        self._bytes = self._counter("nats_worker_processed_bytes", "Bytes of those files that were written")
        self._unchanged = self._counter("nats_worker_unchanged", "Messages whose file was there already")
        self._beside = self._counter("nats_worker_beside", "Files kept beside another content of the same name")
        self._redelivered = self._counter("nats_worker_redelivered", "Deliveries that were not a message's first")
        self._failed = self._counter("nats_worker_failed", "Messages rejected, or put back for later", "reason")
        self._left_out = self._counter(
            "nats_worker_rejected_left_out", "Messages rejected, and not kept for lack of room"
        )
        self._tombstones = self._counter(
            "nats_worker_tombstones", "Messages that say only that their content was received and freed before"
        )
        self._reconnects = self._counter("nats_worker_link_reconnects", "Connections after the first one")
        self._seconds = Histogram(
            "nats_worker_processing_seconds",
            "From a message's arrival to its confirmed acknowledgement",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._registry.register(_LogLines())
        info = Gauge("nats_worker_build_info", "The running version", ["version"], registry=self._registry)
        info.labels(__version__).set(1)

    def _gauge(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        Gauge(name, help_text, registry=self._registry).set_function(read)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self._registry)

    def delivered(self, count: int) -> None:
        """A message arrived, for the `count`th time."""
        if count > 1:
            self._redelivered.inc()

    def answered(self, outcome: Outcome, seconds: float) -> None:
        """The server has confirmed what we said of a message, so long after it arrived."""
        if isinstance(outcome, Freed):
            self._tombstones.inc()
            return
        if not isinstance(outcome, Placed):
            self._failed.labels(outcome.reason).inc()
            self._left_out.inc(isinstance(outcome, Rejected) and not outcome.kept)
            return
        self._processed.inc()
        self._seconds.observe(seconds)
        if outcome.how == "unchanged":
            self._unchanged.inc()
            return
        self._bytes.inc(outcome.size)
        if outcome.how == "beside":
            self._beside.inc()

    def reconnected(self) -> None:
        """A connection after the first one is up."""
        self._reconnects.inc()

    def text(self) -> bytes:
        """All series, in the text format of Prometheus."""
        return generate_latest(self._registry)

    def value(self, name: str, **labels: str) -> float:
        """The value of one sample now; 0 where there is none yet."""
        return self._registry.get_sample_value(name, labels) or 0.0
