"""The numbers of an auditor, in a registry of its own. Each is asked for when it is scraped."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from syncdaemon import __version__
from syncdaemon.hub.audit.report import AuditReport


class _Numbers(Collector):
    def __init__(self, report: Callable[[], AuditReport]) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        report = self._report()
        yield _one("edge_audit_link_status", "1 only while the server answers", report.link_up)
        yield _one("edge_audit_last_round_timestamp_seconds", "When the newest round ended well", report.last_round)
        yield _one("edge_audit_read_to", "Sequence of edge_checkpoints that was read last", report.read_to)
        rows = _each("edge_audit_cosigned_rows", "Rows of the newest checkpoint that was cosigned")
        heard = _each("edge_audit_heard_timestamp_seconds", "When the hub got the site's last good checkpoint")
        conflict = _each("edge_audit_conflict", "1: two histories, another key or a new log; a person must look at it")
        silent = _each("edge_audit_silent", "1: an expected site has not been heard for over a day")
        withheld = _each("edge_audit_withheld", "1: the site's messages come, and its checkpoints do not")
        unchecked = CounterMetricFamily(
            "edge_audit_unchecked", "Checkpoints that could not be held against an earlier one", labels=["site"]
        )
        for site in report.sites:
            rows.add_metric([site.name], site.rows)
            heard.add_metric([site.name], site.heard)
            conflict.add_metric([site.name], bool(site.conflict))
            silent.add_metric([site.name], site.voice == "silent")
            withheld.add_metric([site.name], site.voice == "withheld")
            unchecked.add_metric([site.name], site.unchecked)
        yield from (rows, heard, conflict, silent, withheld, unchecked)
        refused = CounterMetricFamily(
            "edge_audit_refused", "Messages that were no checkpoint to cosign", labels=["site", "reason"]
        )
        for (name, reason), count in report.refused.items():
            refused.add_metric([name, reason], count)
        yield refused
        lacking = GaugeMetricFamily(
            "edge_audit_witness_lacks", "1: the witness has not cosigned the site's newest", labels=["witness", "site"]
        )
        for (witness, name), _ in report.witnesses.items():
            lacking.add_metric([witness, name], 1)
        yield lacking
        info = GaugeMetricFamily("edge_audit_build_info", "The running version", labels=["version"])
        info.add_metric([__version__], 1)
        yield info


class AuditMeter:
    """All series of an auditor."""

    def __init__(self, report: Callable[[], AuditReport]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Numbers(report))

    def text(self) -> bytes:
        """In the text format of Prometheus."""
        return generate_latest(self._registry)


def _one(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, value=value)


def _each(name: str, help_text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, labels=["site"])
