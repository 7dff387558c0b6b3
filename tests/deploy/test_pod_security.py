"""Every pod that a profile can start is held to the restricted profile, and to a little more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.manifests import PROFILES, containers, documents, pod_templates
from tests.deploy.pod_security import breaches


@pytest.mark.manifests
@pytest.mark.parametrize("profile", PROFILES)
def test_every_pod_may_run_in_a_restricted_namespace(profile: str) -> None:
    found = {name: breaches(template["spec"]) for name, template in pod_templates(profile)}
    assert found
    assert not any(found.values()), found


@pytest.mark.manifests
@pytest.mark.parametrize("profile", PROFILES)
def test_the_namespace_is_restricted(profile: str) -> None:
    (namespace,) = documents(profile, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    inside = [it for it in documents(profile) if it["kind"] != "Namespace"]
    assert {it["metadata"]["namespace"] for it in inside} == {namespace["metadata"]["name"]}


@pytest.mark.manifests
@pytest.mark.parametrize("profile", PROFILES)
def test_beyond_the_profile_nothing_is_writable_and_nobody_knows_the_api_server(profile: str) -> None:
    for name, template in pod_templates(profile):
        assert template["spec"]["automountServiceAccountToken"] is False, name
        user = template["spec"]["securityContext"]["runAsUser"]
        assert user == 10001 or (name == "producer" and user == 10002), name
    for name, container in containers(profile):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, (name, container["name"])


@pytest.mark.manifests
@pytest.mark.parametrize("profile", PROFILES)
def test_every_container_says_what_it_needs_and_at_most_takes(profile: str) -> None:
    for name, container in containers(profile):
        for kind in ("requests", "limits"):
            assert set(container["resources"][kind]) == {"cpu", "memory", "ephemeral-storage"}, (
                name,
                container["name"],
            )


@pytest.mark.manifests
@pytest.mark.parametrize("profile", PROFILES)
def test_a_pod_can_log_as_much_as_a_node_keeps_and_is_not_evicted(profile: str) -> None:
    """A kubelet keeps five files of 10 MiB of a container's log, looks every ten seconds, and counts them as ours."""
    for name, container in containers(profile):
        limit = container["resources"]["limits"]["ephemeral-storage"]
        assert int(limit.removesuffix("Mi")) >= 2 * 5 * 10, (name, container["name"])


@pytest.mark.manifests
@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_but_memory_and_claims_is_written_to(profile: str) -> None:
    """So the log is all that counts against the limit."""
    for name, template in pod_templates(profile):
        for volume in template["spec"]["volumes"]:
            if "emptyDir" in volume:
                assert volume["emptyDir"]["medium"] == "Memory", name
                assert "sizeLimit" in volume["emptyDir"], name


@pytest.mark.manifests
@pytest.mark.parametrize("profile", PROFILES)
def test_the_cpu_limit_is_far_above_what_idling_takes(profile: str) -> None:
    """A throttled daemon answers a probe too late, and is killed for it: docs/DEPLOYMENT.md defends the numbers."""
    for name, container in containers(profile):
        if container["name"] in ("syncdaemon", "nats-worker", "nats"):
            assert float(container["resources"]["limits"]["cpu"]) >= 1, name


def restricted_pod() -> dict[str, Any]:
    inner = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    outer = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"securityContext": outer, "containers": [{"name": "it", "securityContext": inner}]}


def test_a_restricted_pod_has_no_breach() -> None:
    assert breaches(restricted_pod()) == []


@pytest.mark.parametrize(
    ("where", "change", "said"),
    [
        ("pod", {"hostNetwork": True}, "hostNetwork"),
        ("pod", {"hostPID": True}, "hostPID"),
        ("pod", {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "hostPath"),
        ("pod context", {"runAsNonRoot": False}, "runAsNonRoot"),
        ("pod context", {"runAsUser": 0}, "runAsUser 0"),
        ("pod context", {"seccompProfile": {"type": "Unconfined"}}, "seccompProfile"),
        ("pod context", {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}, "sysctl"),
        ("context", {"runAsNonRoot": False}, "runAsNonRoot"),
        ("context", {"runAsUser": 0}, "runAsUser 0"),
        ("context", {"privileged": True}, "privileged"),
        ("context", {"allowPrivilegeEscalation": None}, "allowPrivilegeEscalation"),
        ("context", {"capabilities": {}}, "not all dropped"),
        ("context", {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}, "added"),
        ("context", {"procMount": "Unmasked"}, "procMount"),
        ("context", {"appArmorProfile": {"type": "Unconfined"}}, "appArmorProfile"),
        ("context", {"seLinuxOptions": {"type": "spc_t"}}, "seLinuxOptions"),
        ("container", {"ports": [{"containerPort": 80, "hostPort": 80}]}, "hostPort"),
        ("container", {"livenessProbe": {"httpGet": {"host": "elsewhere", "port": 80}}}, "another host"),
    ],
)
def test_a_planted_breach_is_found(where: str, change: dict[str, Any], said: str) -> None:
    pod = restricted_pod()
    container = pod["containers"][0]
    places = {
        "pod": pod,
        "pod context": pod["securityContext"],
        "container": container,
        "context": container["securityContext"],
    }
    places[where].update(change)
    (found,) = breaches(pod)
    assert said in found
