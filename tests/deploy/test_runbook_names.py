"""Every `kubectl` command of the runbook names what is in the manifests: namespaces, objects, containers, ports."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from tests.deploy.manifests import PROFILES, Document, documents, named
from tests.support import runbook

pytestmark = pytest.mark.manifests

KINDS = {
    "deploy": "Deployment",
    "pod": "Pod",
    "scaledobject": "ScaledObject",
    "statefulset": "StatefulSet",
    "svc": "Service",
}
# What a command may be called beside what it is about.
VERBS = {"annotate", "delete", "describe", "exec", "get", "logs", "port-forward", "rollout", "set", "wait"}


def kubectl() -> list[list[str]]:
    """The words of every such command, what is after `--` or `&` left out."""
    lines = (line.rstrip(" &") for line in runbook.commands() if line.startswith("kubectl"))
    return [shlex.split(line.partition(" -- ")[0]) for line in lines]


def objects(namespace: str) -> Iterator[tuple[str, str, Document]]:
    """Kind, name and manifest of everything in a namespace; the pods of a StatefulSet by the names they will have."""
    for profile in PROFILES:
        for document in documents(profile):
            if document["metadata"].get("namespace") == namespace:
                kind, name = document["kind"], document["metadata"]["name"]
                yield kind, name, document
                if kind == "StatefulSet":
                    for number in range(document["spec"]["replicas"]):
                        yield "Pod", f"{name}-{number}", document


def found(namespace: str, kind: str, name: str) -> list[Document]:
    """The manifests of that name, of every profile that has it."""
    return [document for *its, document in objects(namespace) if its == [kind, name]]


def ports(document: Document) -> set[int]:
    """The ports of a Service, or of the pods of what starts them."""
    if document["kind"] == "Service":
        return {port["port"] for port in document["spec"]["ports"]}
    containers = document["spec"]["template"]["spec"]["containers"]
    return {port["containerPort"] for container in containers for port in container.get("ports", [])}


@pytest.mark.parametrize("words", kubectl(), ids=" ".join)
def test_what_a_command_names_is_there(words: list[str]) -> None:
    """Each is `kubectl -n NAMESPACE VERB ... KIND/NAME ...`, and these are in some profile."""
    assert words[:2] == ["kubectl", "-n"]
    namespace, verb = words[2], words[3]
    assert verb in VERBS
    about = [word.split("/") for word in words if re.fullmatch(r"[a-z]+/[a-z0-9-]+", word)]
    assert about
    for kind, name in about:
        manifests = found(namespace, KINDS[kind], name)
        assert manifests, f"{kind}/{name} in {namespace}"
        if verb == "port-forward":
            wanted = {int(word) for word in words if word.isdigit()}
            assert wanted
            assert any(wanted <= ports(document) for document in manifests)
        if "-c" in words:
            names = {it["name"] for document in manifests for it in document["spec"]["template"]["spec"]["containers"]}
            assert words[words.index("-c") + 1] in names


def test_both_ends_are_spoken_of() -> None:
    """And nothing else."""
    assert {words[2] for words in kubectl()} == {"agentforge-edge", "agentforge-staging"}


@pytest.mark.parametrize("folder", ["/agentforge/replay", "/agentforge/ledger"])
def test_the_folders_of_the_daemon_are_those_of_its_pod(folder: str) -> None:
    """Where `df` looks."""
    (container,) = named("edge", "Deployment", "syncdaemon")["spec"]["template"]["spec"]["containers"]
    assert folder in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert folder in runbook.PAGE
