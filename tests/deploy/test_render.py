"""Every profile renders, and every object is what its schema says, down to the names of fields."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.expected_sites import rule_file, sites_in
from syncdaemon import __version__
from tests.deploy.manifests import (
    IMAGE,
    K8S,
    PROFILES,
    ROOT,
    Document,
    containers,
    deploy_module,
    documents,
    render,
    rendered,
)

pytestmark = pytest.mark.manifests

OLDEST = "1.30"
CUSTOM = {
    "Certificate": "cloudcoil.models.cert_manager.v1",
    "Issuer": "cloudcoil.models.cert_manager.v1",
    "ScaledObject": "cloudcoil.models.keda.v1alpha1",
    "PrometheusRule": "cloudcoil.models.prometheus_operator.v1",
    "ServiceMonitor": "cloudcoil.models.prometheus_operator.v1",
}
# No schema knows these: KEDA has them as text. From its scaler for nats-jetstream, version 2.20.
TRIGGER_FIELDS = {
    "account",
    "accountID",
    "activationLagThreshold",
    "consumer",
    "lagThreshold",
    "natsServerMonitoringEndpoint",
    "stream",
    "useHttps",
}


def check_built_in(document: Document, version: str) -> None:
    validate = deploy_module("kubernetes_validate")
    validate.validate(document, version, strict=True)


def unknown_to_its_schema(document: Document) -> dict[str, Any]:
    """What is lost of a custom resource when it goes through its schema: fields that the schema doesn't know."""
    model = getattr(deploy_module(CUSTOM[document["kind"]]), document["kind"])
    known = model.model_validate(document, strict=True).model_dump(by_alias=True, exclude_unset=True, mode="json")
    return dict(_lost(document, known))


def _lost(given: Any, known: Any, where: str = "") -> list[tuple[str, Any]]:
    if isinstance(given, dict) and isinstance(known, dict):
        return [it for key in given for it in _lost(given[key], known.get(key), f"{where}.{key}")]
    if isinstance(given, list) and isinstance(known, list) and len(given) == len(known):
        pairs = enumerate(zip(given, known, strict=True))
        return [it for index, (one, other) in pairs for it in _lost(one, other, f"{where}[{index}]")]
    return [] if given == known else [(where, given)]


def test_there_is_a_profile_for_either_end() -> None:
    assert {"edge", "staging"} <= set(PROFILES)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("version", [OLDEST, "newest"])
def test_every_object_is_valid(profile: str, version: str) -> None:
    newest = deploy_module("kubernetes_validate").latest_version()
    for document in documents(profile):
        if document["kind"] not in CUSTOM:
            check_built_in(document, newest if version == "newest" else version)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_custom_resource_is_valid(profile: str) -> None:
    custom = documents(profile, *CUSTOM)
    assert custom
    for document in custom:
        assert unknown_to_its_schema(document) == {}


def test_the_triggers_fields_are_those_of_the_scaler() -> None:
    (scaled,) = documents("staging", "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["type"] == "nats-jetstream"
    assert {"natsServerMonitoringEndpoint", "account", "stream", "consumer"} <= set(trigger["metadata"])
    assert set(trigger["metadata"]) <= TRIGGER_FIELDS


@pytest.mark.parametrize("profile", PROFILES)
def test_every_image_has_a_tag_that_stays(profile: str) -> None:
    """No `latest`; and no digest, since whoever pushes the image is the one who knows it."""
    for name, container in containers(profile):
        assert re.fullmatch(r"[a-z0-9/-]+:\d+\.\d+\.\d+", container["image"]), (name, container["image"])


@pytest.mark.parametrize("profile", PROFILES)
def test_no_scaling_is_paused(profile: str) -> None:
    """The mere presence of `paused-replicas` stops KEDA."""
    assert "autoscaling.keda.sh/paused" not in rendered(profile)


def test_nobody_but_keda_says_how_many_workers_there_are() -> None:
    (scaled,) = documents("staging", "ScaledObject")
    (target,) = (
        it
        for it in documents("staging", "Deployment")
        if it["metadata"]["name"] == scaled["spec"]["scaleTargetRef"]["name"]
    )
    assert "replicas" not in target["spec"]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_rules_are_wrapped_as_they_are(profile: str) -> None:
    components = {"syncdaemon": "monitoring", "syncdaemon-expected-sites": "expected-sites"}
    wrapped = {rule["metadata"]["name"]: rule["spec"] for rule in documents(profile, "PrometheusRule")}
    assert "syncdaemon" in wrapped
    for name, spec in wrapped.items():
        plain = yaml.safe_load((K8S / "components" / components[name] / "rules.yaml").read_text(encoding="utf-8"))
        assert spec == plain, "rules.yaml has changed: make rules"


def test_the_expected_sites_are_those_of_the_list() -> None:
    """And only the Prometheus that sees all sites is given it: one at a site would miss all others."""
    listed = sites_in((K8S / "components/expected-sites/expected_sites.txt").read_text(encoding="utf-8"))
    made = (K8S / "components/expected-sites/rules.yaml").read_text(encoding="utf-8")
    assert made == rule_file(listed), "expected_sites.txt has changed: make rules"
    having = {p for p in PROFILES if "name: syncdaemon-expected-sites" in rendered(p)}
    assert having == {profile for profile in PROFILES if profile.startswith("staging")}


def test_an_overlay_says_once_where_the_runbook_is(tmp_path: Path) -> None:
    """Every alert gets its address, and what the overlay says of it is not applied."""
    page = (ROOT / "docs/DEPLOYMENT.md").read_text(encoding="utf-8")
    (example,) = (it for it in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "components/runbook" in it)
    for folder in ("profiles/edge", "components/runbook"):
        here = os.path.relpath(K8S / folder, tmp_path.resolve())
        example = re.sub(rf"[./]*/{folder.rpartition('/')[2]}(?=\])", here, example)
    (tmp_path / "kustomization.yaml").write_text(example)
    found = list(yaml.safe_load_all(render(tmp_path)))
    (rules,) = (it for it in found if it["kind"] == "PrometheusRule")
    urls = [
        (rule["alert"], rule["annotations"]["runbook_url"])
        for group in rules["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert len(urls) > 15
    assert {url for name, url in urls} == {
        f"https://wiki.example.net/syncdaemon/OPERATIONS.md#{name.lower()}" for name, _ in urls
    }
    assert not any(it["metadata"]["name"].startswith("runbook") for it in found)


def test_the_overlay_of_the_page_is_a_site_of_its_own(tmp_path: Path) -> None:
    page = (ROOT / "docs/DEPLOYMENT.md").read_text(encoding="utf-8")
    (example,) = (it for it in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "SITE=" in it)
    here = os.path.relpath(K8S / "profiles/edge", tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(example.replace("../edge", here))
    text = render(tmp_path)
    assert {"SITE: harbour-3", "NATS_URL: nats://nats:4222"} <= {line.strip() for line in text.splitlines()}
    assert f"image: registry.example.net/{IMAGE}:{__version__}" in text


def test_a_built_in_object_with_a_misspelt_field_is_refused() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "it"}, "spec": {"clusterIp": "None"}}
    error = deploy_module("kubernetes_validate").ValidationError
    with pytest.raises(error, match="clusterIp"):
        check_built_in(service, OLDEST)


def test_a_custom_resource_with_a_misspelt_field_is_found_out() -> None:
    (scaled,) = documents("staging", "ScaledObject")
    scaled["spec"]["pollinginterval"] = 15
    scaled["spec"]["triggers"][0]["metricType"] = "AverageValue"
    assert unknown_to_its_schema(scaled) == {".spec.pollinginterval": 15}


def test_a_custom_resource_with_a_value_of_another_type_is_refused() -> None:
    (scaled,) = documents("staging", "ScaledObject")
    scaled["spec"]["triggers"][0]["metadata"]["lagThreshold"] = 500
    with pytest.raises(ValueError, match="lagThreshold"):
        unknown_to_its_schema(scaled)
