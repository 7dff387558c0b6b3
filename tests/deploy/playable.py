"""From what Kubernetes is given to what `podman kube play` understands, and not a field more.

Podman plays pods, ConfigMaps and claims. So a Deployment or StatefulSet becomes its pod; claims come before it, and say
whom their volume belongs to, since podman knows no fsGroup; all pods share one network, where the names of Services
are the loopback address; what only a kubelet honours (probes, ports, downward API, an optional Secret as a volume)
goes. The exporter stays out: its image is not to be had without a registry.

What is under test stays as it was rendered: images, commands, environment, ConfigMaps, mounts, security contexts
and limits.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

Document = dict[str, Any]

_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
_LEFT_OUT = {"exporter"}


def playable(documents: list[Document]) -> list[Document]:
    """What there is to play, in the order in which podman needs it: the pods come last."""
    before, pods = [], []
    for document in deepcopy(documents):
        document["metadata"].pop("namespace", None)
        if document["kind"] in ("ConfigMap", "PersistentVolumeClaim"):
            before.append(document)
        elif document["kind"] in ("Deployment", "StatefulSet"):
            claims, pod = _pod(document)
            before += claims
            pods.append(pod)
    owners = {claim: pod["spec"]["securityContext"] for pod in pods for claim in _claims(pod)}
    for document in before:
        if document["kind"] == "PersistentVolumeClaim":
            owner = owners[document["metadata"]["name"]]
            document["metadata"]["annotations"] = {
                "volume.podman.io/uid": str(owner["runAsUser"]),
                "volume.podman.io/gid": str(owner["fsGroup"]),
            }
    return before + pods


def _pod(document: Document) -> tuple[list[Document], Document]:
    name, template = document["metadata"]["name"], document["spec"]["template"]
    spec = template["spec"]
    claims = []
    for claim in document["spec"].get("volumeClaimTemplates", []):
        volume = claim["metadata"]["name"]
        claimed = f"{volume}-{name}-0"
        metadata = {"name": claimed}
        claims.append(
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim["spec"]}
        )
        spec["volumes"].append({"name": volume, "persistentVolumeClaim": {"claimName": claimed}})
    secrets = {volume["name"] for volume in spec["volumes"] if volume.get("secret", {}).get("optional")}
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] not in secrets]
    spec["containers"] = [it for it in spec["containers"] if it["name"] not in _LEFT_OUT]
    for container in spec["containers"]:
        _container(container, secrets, f"{name}-0")
    spec["hostNetwork"] = True
    metadata = {"name": name, "labels": template["metadata"]["labels"]}
    return claims, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _container(container: Document, secrets: set[str], pod: str) -> None:
    for field in (*_PROBES, "ports"):
        container.pop(field, None)
    container["imagePullPolicy"] = "Never"
    container["volumeMounts"] = [it for it in container["volumeMounts"] if it["name"] not in secrets]
    for variable in container.get("env", []):
        if variable.pop("valueFrom", None):
            variable["value"] = pod  # metadata.name, the only field that is asked for


def _claims(pod: Document) -> list[str]:
    volumes = pod["spec"]["volumes"]
    return [it["persistentVolumeClaim"]["claimName"] for it in volumes if "persistentVolumeClaim" in it]
