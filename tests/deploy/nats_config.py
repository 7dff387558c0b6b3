"""The configuration that a profile gives to nats-server, on this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from syncdaemon.dev.server import find_binary
from tests.deploy.manifests import containers, named

SECRETS = {
    "LEAFNODE_URL": "nats://site:not-so-secret@127.0.0.1:7422",
    "LEAFNODE_USER": "site",
    "LEAFNODE_PASSWORD": "not-so-secret",
}


def write_config(profile: str, folder: Path, replace: dict[str, str] | None = None) -> Path:
    """Writes the rendered files, with some texts in them replaced; returns the main one."""
    for name, text in named(profile, "ConfigMap", "nats")["data"].items():
        for old, new in (replace or {}).items():
            text = text.replace(old, new)
        (folder / name).write_text(text)
    return folder / "nats.conf"


def server_environment(profile: str, secrets: dict[str, str], **settings: str) -> dict[str, str]:
    """What the pod's server has in its environment: as the manifest says, Secrets and fields filled in.

    `settings` stand in for those of the daemon's ConfigMap.
    """
    (server,) = (it for _, it in containers(profile) if it["name"] == "nats")
    found = {}
    for variable in server["env"]:
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            found[variable["name"]] = "nats-0"
        elif "secretKeyRef" in source:
            found[variable["name"]] = secrets[variable["name"]]
        elif "configMapKeyRef" in source:
            data = {**named(profile, "ConfigMap", "syncdaemon")["data"], **settings}
            found[variable["name"]] = data[source["configMapKeyRef"]["key"]]
        else:
            found[variable["name"]] = variable["value"]
    return found


def check_config(path: Path, profile: str) -> None:
    """nats-server's own check."""
    command = [str(find_binary()), "-t", "-c", str(path)]
    environment = {**os.environ, **server_environment(profile, SECRETS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
