"""From what Kubernetes is given to what `podman kube play` understands, and not a field more.

Podman plays pods and ConfigMaps. So a Deployment, StatefulSet or Job becomes its pod; what runs before its containers
becomes a pod of its own, which is played first; a claim is a folder of this machine, with the owner and the mode that a
kubelet gives it for `fsGroup`, and so is memory that one of these pods fills for the other; a Secret is a ConfigMap;
all pods share one network, where the names of Services are the loopback address; what only a kubelet honours (probes,
ports, downward API, an optional Secret) goes. The exporter stays out: its image is not to be had without a registry.

What is under test stays as it was rendered: images, commands, environment, ConfigMaps, mounts, security contexts
and limits.
"""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from tests.deploy.secrets import Secrets

Document = dict[str, Any]

_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
_LEFT_OUT = {"exporter"}


class Playable(NamedTuple):
    """What there is to play: what pods refer to; what runs before them and ends; the pods; the jobs, which end too."""

    referred: list[Document]
    before: list[Document]
    pods: list[Document]
    jobs: list[Document]


def playable(documents: list[Document], given: Secrets, claims: Path, prefix: str = "") -> Playable:
    """Makes a folder below `claims` for each claim. `given` are the Secrets of the namespace, by name and key.

    `prefix` goes before the names of pods, where more than one profile plays.
    """
    found = Playable([_config(name, data) for name, data in given.items()], [], [], [])
    for document in deepcopy(documents):
        document["metadata"].pop("namespace", None)
        if document["kind"] == "ConfigMap":
            found.referred.append(document)
        elif document["kind"] in ("Deployment", "StatefulSet", "Job"):
            name, template = document["metadata"]["name"], document["spec"]["template"]
            spec = template["spec"]
            for claim in document["spec"].get("volumeClaimTemplates", []):
                volume = claim["metadata"]["name"]
                spec["volumes"].append({"name": volume, "persistentVolumeClaim": {"claimName": f"{volume}-{name}-0"}})
            _place(spec, set(given), claims)
            for container in spec.pop("initContainers", []):
                alone = {**deepcopy(spec), "containers": [container], "restartPolicy": "Never"}
                found.before.append(_pod(f"{prefix}{name}-{container['name']}", {}, alone))
            played = found.jobs if document["kind"] == "Job" else found.pods
            played.append(_pod(f"{prefix}{name}", template["metadata"]["labels"], spec))
    return found


def _config(name: str, data: dict[str, bytes]) -> Document:
    texts = {key: value.decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"secret-{name}"}, "data": texts}


def _place(spec: Document, given: set[str], claims: Path) -> None:
    """The volumes as folders and ConfigMaps, and every mount with its volume."""
    group = spec["securityContext"]["fsGroup"]
    volumes = {it["name"]: it for it in spec["volumes"]}
    for name, volume in list(volumes.items()):
        secret = volume.pop("secret", None)
        if secret and secret.get("optional"):
            del volumes[name]
        elif secret:
            assert secret["secretName"] in given
            items = {"items": secret["items"]} if "items" in secret else {}
            volume["configMap"] = {"name": f"secret-{secret['secretName']}", **items}
        elif name in _shared(spec):
            del volume["emptyDir"]
            volume["hostPath"] = {"path": str(_claimed(claims / name, group)), "type": "Directory"}
        elif claim := volume.pop("persistentVolumeClaim", None):
            volume["hostPath"] = {"path": str(_claimed(claims / claim["claimName"], group)), "type": "Directory"}
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        container["volumeMounts"] = [it for it in container.get("volumeMounts", []) if it["name"] in volumes]
        for mount in container["volumeMounts"]:
            if part := mount.pop("subPath", None):
                whole = volumes[mount["name"]]
                mount["name"] = f"{whole['name']}-{part}"
                folder = {"path": f"{whole['hostPath']['path']}/{part}", "type": "Directory"}
                volumes[mount["name"]] = {"name": mount["name"], "hostPath": folder}
    spec["volumes"] = list(volumes.values())


def _shared(spec: Document) -> set[str]:
    """The volumes in memory that what runs before the pod writes for it."""
    before = {it["name"] for container in spec.get("initContainers", []) for it in container["volumeMounts"]}
    return {it["name"] for it in spec["volumes"] if "emptyDir" in it and it["name"] in before}


def _claimed(folder: Path, group: int) -> Path:
    """As a kubelet hands over a new volume: of root, with the group of `fsGroup`, setgid."""
    if not folder.exists():
        folder.mkdir(parents=True)
        os.chown(folder, 0, group)
        folder.chmod(0o2775)
    return folder


def _pod(name: str, labels: Document, spec: Document) -> Document:
    spec["containers"] = [it for it in spec["containers"] if it["name"] not in _LEFT_OUT]
    for container in spec["containers"]:
        _container(container, f"{name}-0")
    mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
    spec["volumes"] = [it for it in spec["volumes"] if it["name"] in mounted]
    spec["hostNetwork"] = True
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def _container(container: Document, pod: str) -> None:
    for field in (*_PROBES, "ports"):
        container.pop(field, None)
    container["imagePullPolicy"] = "Never"
    for source in container.get("envFrom", []):
        if "secretRef" in source and not source["secretRef"].get("optional"):
            source["configMapRef"] = {"name": f"secret-{source.pop('secretRef')['name']}"}
    for variable in container.get("env", []):
        source = variable.get("valueFrom", {})
        if reference := source.pop("secretKeyRef", None):
            source["configMapKeyRef"] = {**reference, "name": f"secret-{reference['name']}"}
        elif source.pop("fieldRef", None):
            del variable["valueFrom"]
            variable["value"] = pod  # metadata.name, the only field that is asked for
