"""The dashboard asks only for what there is: series of daemon, exporter and workers, and recorded ones."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.expected_sites import rule_file
from syncdaemon.dev.server import NatsServer
from syncdaemon.receive.meter import Meter, ReceiverGauges
from tests.support import runbook
from tests.support.daemon import MakeDaemon
from tests.support.prometheus import need
from tests.support.promql import series

MONITORING = Path(__file__).parents[2] / "k8s/components/monitoring"
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
RULES = yaml.safe_load((MONITORING / "rules.yaml").read_text())
EXPORTER = json.loads((Path(__file__).parent / "exporter_series.json").read_text())["series"]
OF_PROMETHEUS = {"up", "ALERTS"}


def rules() -> Iterator[dict[str, Any]]:
    """Every rule, recording or alert."""
    return (rule for group in RULES["groups"] for rule in group["rules"])


def queries() -> Iterator[tuple[str, str]]:
    """Every query of the dashboard with the title of its panel, variables filled in."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$site", ".*").replace("$__rate_interval", "1m")
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def declared(page: str) -> set[str]:
    """The series that a page of metrics declares, also those that have no value yet."""
    found: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE):
        found |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return found


@pytest.fixture
def existing(nats_server: NatsServer, make_daemon: MakeDaemon) -> set[str]:
    """Every series that somebody exports or records."""
    daemon = make_daemon(nats_server.url, NATS_HUB_DOMAIN="hub")
    daemon.start()
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    recorded |= set(re.findall(r"record: '([\w:]+)'", rule_file(["a-site"])))
    worker = Meter(ReceiverGauges(lambda: 0, lambda: 0, lambda: 0)).text().decode()
    return declared(daemon.get("/metrics")) | declared(worker) | recorded | set(EXPORTER) | OF_PROMETHEUS


@pytest.mark.integration
def test_every_query_and_every_rule_names_series_that_exist(existing: set[str]) -> None:
    """Of panels, annotations, rules and runbook alike. A panel on a series that nobody exports is an empty panel."""
    asked = [*queries(), *((rule.get("record") or rule["alert"], rule["expr"]) for rule in rules())]
    asked += [("the runbook", query) for query in re.findall(r"promtool query instant \S+ '([^']*)'", runbook.PAGE)]
    assert len(asked) > 70
    assert [(title, missing) for title, query in asked if (missing := series(query) - existing)] == []
    assert all(series(query) for _, query in asked)


@pytest.mark.integration
def test_every_series_of_ours_is_explained(existing: set[str]) -> None:
    """By its name in the runbook's last chapter; a histogram by the name that its parts have in common."""
    ours = {name for name in existing if name.startswith(("syncdaemon_", "nats_worker_", "replay_", "edge_"))}
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours if not name.endswith("_created")}
    assert {name for name in ours if f"`{name}`" not in runbook.PAGE} == set()


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('sum by (site) (rate(a_total{site=~".*"}[5m])) * 8', {"a_total"}),
        ("a and on (b, c) d > 20 unless e offset 1h", {"a", "d", "e"}),
        ('label_replace(deriv((x{l="y"} - z)[5m:15s]), "s", "$1", "t", "(.+)")', {"x", "z"}),
        ("count(group by (site) (a)) or vector(0)", {"a"}),
        ("histogram_quantile(0.95, sum by (le) (a_bucket))", {"a_bucket"}),
    ],
)
def test_the_names_in_an_expression_are_found(expression: str, names: set[str]) -> None:
    assert series(expression) == names


def test_promtool_reads_every_query(tmp_path: Path) -> None:
    """Each as the expression of a recording rule."""
    recording = [{"record": f"query:{at}", "expr": query} for at, (_, query) in enumerate(queries())]
    rule_file = tmp_path / "queries.yaml"
    rule_file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recording}]}))
    done = subprocess.run([need("promtool"), "check", "rules", rule_file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(recording)} rules found" in done.stdout


def test_no_two_panels_lie_on_one_another() -> None:
    """Every one has its own number and its own place, within the 24 columns."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )


def test_every_panel_asks_the_chosen_prometheus_and_says_what_it_shows() -> None:
    """The data source is a variable, so that the dashboard fits any Grafana; what is asked for is there."""
    assert [it["name"] for it in DASHBOARD["templating"]["list"]] == ["datasource", "site"]
    for panel in DASHBOARD["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
        assert panel["description"], panel["title"]


def test_sites_link_queue_bandwidth_drain_objective_and_room_have_a_row_each() -> None:
    """The dashboard's table of contents."""
    rows = [panel["title"].partition(":")[0] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Sites", "Link", "Queue", "Bandwidth", "Drain", "Objective", "Room"]
