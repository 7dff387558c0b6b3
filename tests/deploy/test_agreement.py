"""The manifests agree with the code, with the image, and with one another."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from aiohttp import ClientSession

from syncdaemon import __version__
from syncdaemon.cli import app
from syncdaemon.dev.server import find_binary
from syncdaemon.hub.accounts import HUB
from syncdaemon.settings.table import VARIABLES
from syncdaemon.settings.values import Settings
from syncdaemon.web.server import Web
from syncdaemon.web.views import Check, Views
from tests.deploy.manifests import (
    IMAGE,
    K8S,
    PROFILES,
    ROOT,
    Document,
    containers,
    documents,
    matches,
    named,
    pod_templates,
    port_names,
    selected,
)
from tests.deploy.nats_config import check_config, write_config

pytestmark = pytest.mark.manifests

SITES = [profile for profile in PROFILES if profile.startswith("edge")]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PAGE = (ROOT / "docs/DEPLOYMENT.md").read_text(encoding="utf-8")


def image_environment() -> dict[str, str]:
    """The settings that the image brings along."""
    return dict(re.findall(r"\b(SYNC_[A-Z_]+)=(\S+)", DOCKERFILE))


def environment(profile: str, name: str) -> dict[str, str]:
    """What a container of our image has in its environment: the image's, and over it the ConfigMap's."""
    data: dict[str, str] = named(profile, "ConfigMap", name)["data"]
    return {**image_environment(), **data}


def ours(profile: str) -> Iterator[tuple[str, Document]]:
    """The daemon and the workers, with the name of what starts them."""
    return ((name, it) for name, it in of_our_image(profile) if it["name"] == name != "hub-init")


def of_our_image(profile: str) -> Iterator[tuple[str, Document]]:
    """These, what runs before them or before NATS, and the Job at the hub."""
    return ((name, it) for name, it in containers(profile) if it["image"].startswith(f"{IMAGE}:"))


# The settings


@pytest.mark.parametrize("profile", SITES)
def test_the_daemon_takes_its_settings(profile: str) -> None:
    given = environment(profile, "syncdaemon")
    loaded = Settings.load({}, given, {})
    from_us = {variable for variable, source in loaded.sources.items() if source == "environment"}
    assert from_us == set(given)
    assert {"EDGE_MODE", "SITE", "SYNC_SUBJECT", "NATS_URL"} <= set(named(profile, "ConfigMap", "syncdaemon")["data"])
    assert loaded.settings.edge_mode
    assert loaded.settings.subject_is_per_digest


def test_the_workers_settings_are_settings() -> None:
    assert set(environment("staging", "nats-worker")) <= set(VARIABLES)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_server_is_where_the_settings_say(profile: str) -> None:
    for name, _ in ours(profile):
        url = urlsplit(environment(profile, name)["NATS_URL"])
        service = named(profile, "Service", str(url.hostname))
        assert url.port in {port["port"] for port in service["spec"]["ports"]}


def test_nothing_is_held_where_the_server_syncs_every_message() -> None:
    assert "sync_interval: always" in named("edge", "ConfigMap", "nats")["data"]["jetstream.conf"]
    assert named("edge", "ConfigMap", "syncdaemon")["data"]["SYNC_HOLD_SECONDS"] == "0"


# The image


def test_manifests_and_image_are_of_this_version() -> None:
    tags = {it["image"] for profile in PROFILES for _, it in of_our_image(profile)}
    assert tags == {f"{IMAGE}:{__version__}"}
    assert f"ARG VERSION={__version__}\n" in DOCKERFILE


@pytest.mark.parametrize("profile", PROFILES)
def test_the_image_is_started_with_a_command_that_it_has(profile: str) -> None:
    commands = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert [it["args"][0] in commands for _, it in ours(profile)] == [True]


@pytest.mark.parametrize("profile", SITES)
def test_evidence_and_ledger_outlive_the_pod(profile: str) -> None:
    """They lie where the image looks for them, on volumes of their own that are claimed."""
    (template,) = selected(profile, {"matchLabels": {"app.kubernetes.io/name": "syncdaemon"}})
    (container,) = template["spec"]["containers"]
    mounts = {it["mountPath"]: it["name"] for it in container["volumeMounts"]}
    volumes = {it["name"]: it for it in template["spec"]["volumes"]}
    claims = {it["metadata"]["name"] for it in documents(profile, "PersistentVolumeClaim")}
    found = environment(profile, "syncdaemon")
    assert found["SYNC_REPLAY_DIR"] == "/agentforge/replay"
    for setting in ("SYNC_REPLAY_DIR", "SYNC_LEDGER_DIR"):
        assert volumes[mounts[found[setting]]]["persistentVolumeClaim"]["claimName"] in claims


@pytest.mark.parametrize("profile", SITES)
def test_the_replay_directory_is_a_folder_of_the_claim_that_the_pod_makes_before(profile: str) -> None:
    """With the daemon's user, so that it belongs to the daemon; tests/deploy/test_prepare_replay.py runs the script."""
    (template,) = selected(profile, {"matchLabels": {"app.kubernetes.io/name": "syncdaemon"}})
    pod = template["spec"]
    (daemon,) = pod["containers"]
    (before,) = pod["initContainers"]
    (mount,) = (it for it in daemon["volumeMounts"] if it["mountPath"] == "/agentforge/replay")
    assert (mount["name"], mount["subPath"]) == ("replay", "replay")
    assert {it["name"]: it["mountPath"] for it in before["volumeMounts"]}["replay"] == before["command"][-1]
    assert "runAsUser" not in {**before["securityContext"], **daemon["securityContext"]}, "both run as the pod does"
    assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    (script,) = named(profile, "ConfigMap", "syncdaemon-prepare")["data"].values()
    assert script == (K8S / "base/syncdaemon/prepare_replay.py").read_text(encoding="utf-8")


def test_a_producer_of_another_pod_has_a_user_of_its_own_and_the_daemons_group() -> None:
    """The example that the page shows: it mounts the same folder, and waits until the daemon's pod has made it."""
    (template,) = selected("edge-producer", {"matchLabels": {"app.kubernetes.io/name": "producer"}})
    (daemon,) = selected("edge-producer", {"matchLabels": {"app.kubernetes.io/name": "syncdaemon"}})
    theirs, ours_ = template["spec"]["securityContext"], daemon["spec"]["securityContext"]
    assert theirs["runAsUser"] != ours_["runAsUser"]
    assert theirs["runAsGroup"] != ours_["runAsGroup"]
    assert (theirs["fsGroup"], theirs["fsGroupChangePolicy"]) == (ours_["fsGroup"], "OnRootMismatch")
    (producer,), (wait,) = template["spec"]["containers"], template["spec"]["initContainers"]
    (volume,) = template["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == "replay"
    assert [it.get("subPath") for it in producer["volumeMounts"]] == ["replay"]
    assert [it["readOnly"] for it in wait["volumeMounts"]] == [True]
    assert "[ -k /claim/replay ]" in wait["command"][-1]


@pytest.mark.parametrize("profile", PROFILES)
def test_what_listens_is_what_the_pod_says(profile: str) -> None:
    for name, container in ours(profile):
        port = int(environment(profile, name)["SYNC_HTTP_ADDR"].rpartition(":")[2])
        assert [it["containerPort"] for it in container["ports"]] == [port]
        assert f"\nEXPOSE {port}\n" in DOCKERFILE


@pytest.mark.parametrize("profile", PROFILES)
async def test_every_page_that_is_asked_for_exists(profile: str) -> None:
    """The probes' and Prometheus': a real web side answers all of them."""
    probes = [container[kind] for _, container in ours(profile) for kind in container if kind.endswith("Probe")]
    paths = {probe["httpGet"]["path"] for probe in probes}
    monitor = named(profile, "ServiceMonitor", "syncdaemon")
    paths |= {endpoint["path"] for endpoint in monitor["spec"]["endpoints"]}
    assert len(paths) == 3

    views = Views(lambda: b"", lambda: {"it": Check(True, "")}, frozenset({"it"}), dict)
    web = Web("127.0.0.1", 0, views)
    await web.start()
    try:
        async with ClientSession() as client:
            for path in paths:
                async with client.get(f"http://127.0.0.1:{web.port}{path}") as answer:
                    assert answer.status == 200, path
    finally:
        await web.stop()


@pytest.mark.parametrize("profile", SITES)
def test_there_is_never_a_second_writer(profile: str) -> None:
    spec = named(profile, "Deployment", "syncdaemon")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")


# NATS


@pytest.mark.parametrize("profile", PROFILES)
def test_the_server_accepts_its_configuration(profile: str, tmp_path: Path) -> None:
    assert check_config(write_config(profile, tmp_path), profile) == ""


@pytest.mark.parametrize("profile", PROFILES)
def test_the_stream_is_on_a_volume_that_is_larger_than_it_may_become(profile: str) -> None:
    stateful = named(profile, "StatefulSet", "nats")["spec"]
    config = named(profile, "ConfigMap", "nats")["data"]["jetstream.conf"]
    (server,) = (it for it in stateful["template"]["spec"]["containers"] if it["name"] == "nats")
    mounts = {it["mountPath"]: it["name"] for it in server["volumeMounts"]}
    (claim,) = stateful["volumeClaimTemplates"]
    store = re.search(r"store_dir: (\S+)", config)
    limit = re.search(r"max_file_store: (\d+)GiB", config)
    assert store
    assert limit
    assert store[1] == "/lib/nats"
    assert mounts[store[1]] == claim["metadata"]["name"]
    assert int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) > int(limit[1])


@pytest.mark.parametrize("profile", PROFILES)
def test_the_server_listens_where_the_pod_says(profile: str) -> None:
    data = named(profile, "ConfigMap", "nats")["data"]
    listened = {
        int(it) for text in data.values() for it in re.findall(r"^\s*(?:http_)?port: (\d+)", text, re.MULTILINE)
    }
    (server,) = (it for _, it in containers(profile) if it["name"] == "nats")
    assert listened == {it["containerPort"] for it in server["ports"]}


def test_the_server_is_the_version_that_the_tests_run() -> None:
    images = {it["image"] for profile in PROFILES for _, it in containers(profile) if it["name"] == "nats"}
    said = subprocess.run([find_binary(), "--version"], capture_output=True, text=True, check=True).stdout
    assert {said.replace("nats-server: v", "nats:").strip()} == images


# Who finds whom


@pytest.mark.parametrize("profile", PROFILES)
def test_every_service_finds_pods_and_ports(profile: str) -> None:
    for service in documents(profile, "Service"):
        (template,) = selected(profile, {"matchLabels": service["spec"]["selector"]})
        wanted = {port["targetPort"] for port in service["spec"]["ports"]}
        assert wanted <= port_names(template), service["metadata"]["name"]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_monitor_finds_a_service_and_its_port(profile: str) -> None:
    for monitor in documents(profile, "ServiceMonitor"):
        services = [
            it for it in documents(profile, "Service") if matches(monitor["spec"]["selector"], it["metadata"]["labels"])
        ]
        assert len(services) == 1, monitor["metadata"]["name"]
        offered = {port["name"] for port in services[0]["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= offered


@pytest.mark.parametrize("profile", PROFILES)
def test_the_exporter_exports_what_the_rules_read(profile: str) -> None:
    """By the names that the rules know, from this pod's server, on the port that is scraped."""
    (exporter,) = (it for _, it in containers(profile) if it["name"] == "exporter")
    (port,) = exporter["ports"]
    assert {"-jsz=all", f"-port={port['containerPort']}", "http://127.0.0.1:8222"} <= set(exporter["args"])
    assert not any(it.startswith("-prefix") for it in exporter["args"])
    assert named(profile, "Service", "nats-prometheus-exporter")["spec"]["ports"][0]["targetPort"] == port["name"]


def test_keda_asks_the_server_there_for_what_the_workers_take() -> None:
    (scaled,) = documents("staging", "ScaledObject")
    metadata = scaled["spec"]["triggers"][0]["metadata"]
    host, _, port = metadata["natsServerMonitoringEndpoint"].partition(":")
    service, namespace, *domain = host.split(".")
    assert domain == ["svc", "cluster", "local"]
    found = named("staging", "Service", service)
    assert found["metadata"]["namespace"] == namespace
    assert int(port) in {it["port"] for it in found["spec"]["ports"]}
    assert metadata["stream"] == environment("staging", "nats-worker")["SYNC_STREAM"]
    assert metadata["account"] == HUB, "the account that holds the consumer"
    (worker,) = (it for _, it in ours("staging"))
    assert worker["args"][2:] == ["--consumer", metadata["consumer"]]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_pod_has_its_rules_of_traffic_and_every_port_in_them_exists(profile: str) -> None:
    policies = {it["metadata"]["name"]: it["spec"] for it in documents(profile, "NetworkPolicy")}
    assert {name for name, _ in pod_templates(profile)} <= set(policies)
    for name, policy in policies.items():
        for rule in policy.get("ingress", []):
            for template in selected(profile, policy["podSelector"]):
                assert {port["port"] for port in rule["ports"]} <= port_names(template), name
        for rule in policy.get("egress", []):
            for peer in rule.get("to", []):
                for template in selected(profile, peer["podSelector"]) if "podSelector" in peer else []:
                    assert {port["port"] for port in rule["ports"]} <= port_names(template), name


@pytest.mark.parametrize("profile", PROFILES)
def test_everything_that_a_pod_refers_to_is_there_or_is_asked_for(profile: str) -> None:
    """ConfigMaps and claims are in the profile; a Secret is the operator's, and the page on deployment names it."""
    there = {(it["kind"], it["metadata"]["name"]) for it in documents(profile)}
    for _, template in pod_templates(profile):
        text = yaml.safe_dump(template)
        for volume in template["spec"].get("volumes", []):
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there
            if "secret" in volume:
                assert f"`{volume['secret']['secretName']}`" in PAGE
        for container in template["spec"]["containers"]:
            for source in container.get("envFrom", []):
                assert "configMapRef" not in source or ("ConfigMap", source["configMapRef"]["name"]) in there
                assert "secretRef" not in source or f"`{source['secretRef']['name']}`" in PAGE
        assert all(f"`{name}`" in PAGE for name in re.findall(r"secretKeyRef:\n\s+key: .*\n\s+name: (\S+)", text))


def test_every_component_is_in_some_profile_or_in_an_overlay_of_the_page() -> None:
    parts = {path.parent for path in K8S.glob("components/**/kustomization.yaml")}
    used = {
        (path.parent / component).resolve()
        for path in K8S.glob("**/kustomization.yaml")  # a component may bring another one along
        for component in yaml.safe_load(path.read_text(encoding="utf-8")).get("components", [])
    }
    overlays = re.findall(r"^components: \[\.\./\.\./(components/[a-z/-]+)\]$", PAGE, re.MULTILINE)
    assert overlays
    assert used | {K8S / path for path in overlays} == parts
