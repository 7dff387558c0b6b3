"""The configuration that a profile gives to nats-server, on this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from syncdaemon.dev.server import find_binary
from tests.deploy import secrets
from tests.deploy.manifests import Document, containers, named, pod_templates


def write_config(
    profile: str, folder: Path, replace: dict[str, str] | None = None, given: secrets.Secrets | None = None
) -> Path:
    """Writes what the pod has below /etc, with some texts replaced; returns the configuration's file.

    `given` stands in for the Secrets that the commands of the page make.
    """
    changes = {"/etc/nats-": f"{folder}/nats-", **(replace or {})}
    for name, files in _mounted(profile, secrets.of(profile) if given is None else given).items():
        (folder / name).mkdir()
        for file, data in files.items():
            (folder / name / file).write_bytes(data)
    for name, text in named(profile, "ConfigMap", "nats")["data"].items():
        for old, new in changes.items():
            text = text.replace(old, new)
        (folder / "nats").mkdir(exist_ok=True)
        (folder / "nats" / name).write_text(text)
    return folder / "nats/nats.conf"


def _mounted(profile: str, given: secrets.Secrets) -> dict[str, dict[str, bytes]]:
    """The files of the Secrets that the server's container mounts, by the folder below /etc."""
    (pod,) = (template["spec"] for name, template in pod_templates(profile) if name == "nats")
    volumes = {it["name"]: it["secret"] for it in pod["volumes"] if "secret" in it}
    mounts = {it["name"]: it["mountPath"] for it in server(profile)["volumeMounts"]}
    return {
        mounts[name].removeprefix("/etc/"): {
            item["path"]: given[volume["secretName"]][item["key"]] for item in volume["items"]
        }
        for name, volume in volumes.items()
    }


def server(profile: str) -> Document:
    """The container of nats-server."""
    (found,) = (it for _, it in containers(profile) if it["name"] == "nats")
    return found


def server_environment(profile: str, given: secrets.Secrets, **settings: str) -> dict[str, str]:
    """What the pod's server has in its environment: as the manifest says, Secrets and fields filled in.

    `settings` stand in for those of the daemon's ConfigMap.
    """
    found = {}
    for variable in server(profile)["env"]:
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            found[variable["name"]] = "nats-0"
        elif "secretKeyRef" in source:
            reference = source["secretKeyRef"]
            found[variable["name"]] = given[reference["name"]][reference["key"]].decode()
        elif "configMapKeyRef" in source:
            data = {**named(profile, "ConfigMap", "syncdaemon")["data"], **settings}
            found[variable["name"]] = data[source["configMapKeyRef"]["key"]]
        else:
            found[variable["name"]] = variable["value"]
    return found


def check_config(path: Path, profile: str, given: secrets.Secrets | None = None) -> str:
    """nats-server's own check: what it says against the configuration; empty where it is content."""
    command = [str(find_binary()), "-t", "-c", str(path)]
    filled = server_environment(profile, secrets.of(profile) if given is None else given)
    done = subprocess.run(command, env={**os.environ, **filled}, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""
