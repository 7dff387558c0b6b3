"""The rules as they are deployed, given to promtool; and the proof that its tests would notice a changed number."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.check_rules import rules_in
from tests.deploy import manifests
from tests.support.prometheus import need

pytestmark = pytest.mark.manifests

ROOT = Path(__file__).parents[2]
TESTS = sorted((Path(__file__).parent / "rules").glob("*.yaml"))

NUMBER = re.compile(r'(?<![\w."$])\d+(?![\w"])')
DURATION = re.compile(r"(\d+)([smhd])")


@pytest.fixture(scope="session")
def rendered() -> str:
    """The manifests, as they would be applied."""
    return manifests.rendered("staging")


def alerts(rules: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every alert of a rule file."""
    return (rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule)


@pytest.mark.timeout(600)  # promtool plays hours of every alert, and other tests run beside it
def test_the_deployed_rules_pass_promtool(rendered: str) -> None:
    """Through the script that an operator would run."""
    need("promtool")
    command = [sys.executable, "-m", "scripts.check_rules", *map(str, TESTS)]
    done = subprocess.run(command, cwd=ROOT, input=rendered, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") == 1 + len(TESTS)


@pytest.mark.parametrize("nothing", ["", "kind: PrometheusRule\nspec: {groups: []}", "kind: ConfigMap"])
def test_no_rules_are_an_error(nothing: str) -> None:
    """Nothing rendered must not look like nothing wrong."""
    command = [sys.executable, "-m", "scripts.check_rules"]
    done = subprocess.run(command, cwd=ROOT, input=nothing, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no PrometheusRule" in done.stderr


def test_every_alert_has_what_an_operator_needs(rendered: str) -> None:
    """Severity, team, a summary, a description, and a section of the runbook that is there, at an absolute address."""
    runbook = (ROOT / "docs/OPERATIONS.md").read_text()
    titles = re.findall(r"^#+ (.+)$", runbook, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    for alert in alerts(yaml.safe_load(rules_in(rendered))):
        assert alert["labels"]["severity"] in ("warning", "critical"), alert["alert"]
        assert alert["labels"]["team"] == "edge", alert["alert"]
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}, alert["alert"]
        page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert re.fullmatch(r"https://.+/docs/OPERATIONS\.md", page)
        assert anchor == alert["alert"].lower()
        assert anchor in anchors


def mutants(rules: str) -> Iterator[tuple[str, str]]:
    """Rule files in which one number of one alert is one more or one less, with what was done; and as they are."""
    yield "EdgeLinkDown: as it is", rules
    for at, alert in enumerate(alerts(yaml.safe_load(rules))):
        for field, pattern in (("expr", NUMBER), ("for", DURATION)):
            for found in pattern.finditer(alert.get(field, "")):
                for step in (-1, 1):
                    number = DURATION.match(found[0])
                    new = f"{int(number[1]) + step}{number[2]}" if number else str(int(found[0]) + step)
                    changed = yaml.safe_load(rules)
                    target = list(alerts(changed))[at]
                    target[field] = alert[field][: found.start()] + new + alert[field][found.end() :]
                    yield f"{alert['alert']}: {found[0]} -> {new} in {target[field]}", yaml.safe_dump(changed)


@pytest.mark.timeout(1500)
def test_a_changed_number_is_noticed(rendered: str, tmp_path: Path) -> None:
    """Each limit and each wait of each alert, one up and one down: some test must fail."""
    promtool = need("promtool")

    def survives(numbered: tuple[int, tuple[str, str]]) -> str:
        number, (what, rules) = numbered
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "rules.yaml").write_text(rules)
        name = what.partition(":")[0]
        texts = {test.name: text for test in TESTS if name in (text := test.read_text())}
        for test in sorted(texts, key=lambda it: -texts[it].count(name)):  # the likeliest to notice it comes first
            (folder / test).write_text(texts[test])
            done = subprocess.run([promtool, "test", "rules", test], cwd=folder, capture_output=True)
            if done.returncode:
                return ""
        return what

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(survives, enumerate(mutants(rules_in(rendered)))))
    assert len(found) > 40
    assert [what for what in found if what] == ["EdgeLinkDown: as it is"]
