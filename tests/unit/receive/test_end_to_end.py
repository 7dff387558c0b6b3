"""How long files were on their way, by site."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from syncdaemon.receive.end_to_end import EndToEnd
from syncdaemon.receive.site_histogram import BOUNDS, OTHER, SiteHistogram

NS = 1_000_000_000
NAME = "edge_x_latency_seconds"


def samples(lines: Iterator[bytes]) -> dict[tuple[str, str, str], float]:
    """By name, site and bound."""
    families = text_string_to_metric_families(b"".join(lines).decode())
    return {
        (one.name, one.labels["site"], one.labels.get("le", "")): one.value
        for family in families
        for one in family.samples
    }


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.05, 1.0, 599.9, 600.0, 600.1, 1200.0, 86_400.0, 1e9])
def test_it_reads_like_a_histogram_of_the_library(seconds: float) -> None:
    """To the letter of names, bounds and counts, on every side of a bound."""
    registry = CollectorRegistry()
    theirs = Histogram(NAME, "Of it", ["site"], buckets=BOUNDS, registry=registry)
    ours = SiteHistogram(NAME, "Of it")
    for site, value in (("edge-1", seconds), ("edge-1", 3.0), ("edge-2", seconds)):
        theirs.labels(site).observe(value)
        ours.observe(site, value)

    wanted = samples(iter([generate_latest(registry)]))
    found = samples(ours.lines())
    created, negative = (f"edge_x_latency{end}" for end in ("_seconds_created", "_negative_total"))
    assert {key: value for key, value in found.items() if key[0] != negative} == {
        key: value for key, value in wanted.items() if key[0] != created
    }


def test_the_objective_has_its_buckets() -> None:
    assert {600.0, 1200.0} <= set(BOUNDS)


def test_a_time_below_zero_is_counted_apart() -> None:
    ours = SiteHistogram(NAME, "Of it")
    ours.observe("edge-1", -0.1)

    found = samples(ours.lines())
    assert found["edge_x_latency_negative_total", "edge-1", ""] == 1
    assert found[f"{NAME}_count", "edge-1", ""] == 0


def test_sites_after_the_most_count_as_one() -> None:
    """Those that came before them keep their own series."""
    ours = SiteHistogram(NAME, "Of it", most=2)
    for site in ("a", "b", "c", "d", "a"):
        ours.observe(site, 1.0)

    found = samples(ours.lines())
    assert {site: found[f"{NAME}_count", site, ""] for site in ("a", "b", OTHER)} == {"a": 2, "b": 1, OTHER: 2}
    assert len({site for _, site, _ in found}) == 3
    assert sum(ours.counts()) == 5


def test_both_times_are_observed_and_a_message_without_an_arrival_has_only_one() -> None:
    both = EndToEnd()
    both.observe("edge-1", 100 * NS, 700 * NS, 701 * NS)
    both.observe("edge-1", None, 700 * NS, 701 * NS)

    found = samples(both.lines())
    assert found["edge_end_to_end_latency_seconds_sum", "edge-1", ""] == 601
    assert found["edge_end_to_end_latency_seconds_count", "edge-1", ""] == 1
    assert found["edge_hub_latency_seconds_sum", "edge-1", ""] == 2
    assert found["edge_hub_latency_seconds_bucket", "edge-1", "1.0"] == 2


def test_clocks_that_differ_are_said_once() -> None:
    """A site's and the server's; a difference of some ms is none that people have to know."""
    both = EndToEnd()
    with capture_logs() as logs:
        both.observe("edge-1", 100 * NS, 100 * NS, 100 * NS - 5_000_000)
        both.observe("edge-1", 110 * NS, 100 * NS, 100 * NS)
        both.observe("edge-1", 110 * NS, 100 * NS, 100 * NS)

    assert [(line["event"], line["ahead"], line["seconds"]) for line in logs] == [
        ("clocks_differ", "the clock of site edge-1", 10.0)
    ]
    found = samples(both.lines())
    assert found["edge_end_to_end_latency_negative_total", "edge-1", ""] == 3
    assert found["edge_hub_latency_negative_total", "edge-1", ""] == 1
