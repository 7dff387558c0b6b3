"""The list of expected sites, and the rule file that is made of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts.expected_sites import rule_file, sites_in
from syncdaemon.base.errors import SettingsError
from tests.support.prometheus import need

ROOT = Path(__file__).parents[3]


def test_a_site_a_line_and_a_word_for_those_behind_a_leaf_node() -> None:
    assert sites_in("# all of them\n\nnorth-1\r\nsouth leaf   # since May\n") == ["north-1", "south"]
    assert sites_in("# none yet\n") == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a\nb twig\n", "line 2: 'b twig' is no site"),
        ("a\nNorth\n", "line 2: 'North' is"),
        ("a'}, x: {\n", "line 1"),
        ("*\n", "line 1: '*' is"),
        ("a\nb\na leaf\n", "line 3: the site a is there twice"),
    ],
)
def test_a_list_that_is_wrong_says_where(text: str, what: str) -> None:
    with pytest.raises(SettingsError) as caught:
        sites_in(text)
    assert what in str(caught.value)


def test_every_site_is_recorded_under_its_own_name() -> None:
    """Also one whose name is a word or a number of YAML's."""
    rules = [rule for group in yaml.safe_load(rule_file(["no", "12", "1e3"]))["groups"] for rule in group["rules"]]
    assert [rule["labels"] for rule in rules] == [{"site": "no"}, {"site": "12"}, {"site": "1e3"}]
    assert {(rule["record"], rule["expr"]) for rule in rules} == {("edge:site_listed", "vector(1)")}
    assert yaml.safe_load(rule_file([])) == {"groups": []}


def test_make_rules_takes_another_list_and_leaves_all_as_it_was_where_that_is_wrong(tmp_path: Path) -> None:
    """As an operator calls it, in a copy of the manifests. A site of the list that never reported is missed."""
    copy = tmp_path / "expected-sites"
    copy.mkdir()
    (copy / "prometheusrule-head.yaml").write_text("spec:\n")
    listed = tmp_path / "sites.txt"
    python = [f"BIN={Path(sys.executable).parent}", f"RULES={copy}", f"SITE_RULES={copy}", f"SITES={listed}"]
    command = ["make", "-s", "rules", "-o", ".venv/.installed-dev", *python]

    listed.write_text("dead\nalive\n")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wrapped = yaml.safe_load((copy / "prometheusrule.yaml").read_text())
    assert wrapped["spec"] == yaml.safe_load((copy / "rules.yaml").read_text())

    listed.write_text("dead\nALIVE\n")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "line 2: 'ALIVE'" in done.stderr
    assert yaml.safe_load((copy / "prometheusrule.yaml").read_text()) == wrapped
    assert {path.name for path in copy.iterdir()} == {"prometheusrule-head.yaml", "prometheusrule.yaml", "rules.yaml"}


def test_prometheus_misses_a_site_of_the_list_until_it_is_taken_off(tmp_path: Path) -> None:
    """The two rule files together, as they are loaded: the list's, and the one with the alerts."""
    promtool = need("promtool")
    (tmp_path / "rules.yaml").write_text((ROOT / "k8s/components/monitoring/rules.yaml").read_text())
    for listed, missed in ((["dead", "alive"], ["dead"]), (["alive"], [])):
        (tmp_path / "sites.yaml").write_text(rule_file(listed))
        samples = [{"labels": f'{{site="{site}"}}', "value": 1} for site in missed]
        test = {
            "rule_files": ["sites.yaml", "rules.yaml"],
            "evaluation_interval": "5m",
            "tests": [
                {
                    "interval": "5m",
                    "input_series": [
                        {"series": 'up{service="nats-prometheus-exporter"}', "values": "1x400"},
                        {"series": 'edge_link_status{site="dead"}', "values": "1 stale"},
                        {"series": 'edge_link_status{site="alive"}', "values": "1x400"},
                    ],
                    "promql_expr_test": [
                        {
                            "expr": 'count by (site) (ALERTS{alertstate="firing",alertname="EdgeDaemonDown"})',
                            "eval_time": "30h",
                            "exp_samples": samples,
                        }
                    ],
                }
            ],
        }
        (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
        done = subprocess.run([promtool, "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
