"""The configuration that a profile gives to nats-server, on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from syncdaemon.dev.server import find_binary
from tests.deploy import secrets
from tests.deploy.commands import Done, attempt
from tests.deploy.manifests import Document, containers, named, pod_templates


def write_config(
    profile: str,
    folder: Path,
    replace: dict[str, str] | None = None,
    given: secrets.Secrets | None = None,
    **settings: str,
) -> Path:
    """Writes what the pod has below /etc, with some texts replaced; returns the configuration's file.

    What a container writes before the server starts, it writes here too. `given` stands in for the Secrets that the
    commands of the page make, `settings` for those of the ConfigMaps; `sites` is the list of the hub's sites.
    """
    changes = {"/etc/nats-": f"{folder}/nats-", **(replace or {})}
    for name, files in _mounted(profile, secrets.of(profile) if given is None else given).items():
        _write(folder / name, files)
    _write(folder / "nats", {name: text.encode() for name, text in _changed(profile, "nats", changes).items()})
    for container in pod(profile).get("initContainers", []):
        print_config(profile, container, folder, settings).check()
    return folder / "nats/nats.conf"


def print_config(profile: str, container: Document, folder: Path, settings: dict[str, str]) -> Done:
    """Runs the container that writes what the server includes, on the files of this folder."""
    _write(folder / "print", {name: text.encode() for name, text in _changed(profile, "nats-print", {}).items()})
    if "sites" in settings:
        _write(folder / "nats-sites", {"sites.txt": settings["sites"].encode()})
    elif "nats-sites" in {it["name"] for it in pod(profile)["volumes"]}:
        _write(folder / "nats-sites", {k: v.encode() for k, v in _changed(profile, "hub-sites", {}).items()})
    (folder / "nats-printed").mkdir(exist_ok=True)
    here = {"/etc/nats-": f"{folder}/nats-", "/etc/syncdaemon/print": f"{folder}/print"}
    command = [replaced(word, here) for word in [*container["command"], *container["args"]]]
    given = {**environment_of(profile, container), **{k: v for k, v in settings.items() if k != "sites"}}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return attempt(*command, environment={"PATH": path, "HOME": str(folder), **given})


def environment_of(profile: str, container: Document) -> dict[str, str]:
    """What a container has in its environment by ConfigMaps."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            name = re.sub(r"-[a-z0-9]{10}$", "", source["configMapRef"]["name"])
            found |= named(profile, "ConfigMap", name)["data"]
    return found


def pod(profile: str) -> Document:
    """The pod of nats-server."""
    (found,) = (template["spec"] for name, template in pod_templates(profile) if name == "nats")
    return dict(found)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _changed(profile: str, config_map: str, changes: dict[str, str]) -> dict[str, str]:
    """The texts of a ConfigMap, changed."""
    data = named(profile, "ConfigMap", config_map)["data"]
    return {name: replaced(text, changes) for name, text in data.items()}


def replaced(text: str, changes: dict[str, str]) -> str:
    """The text with each of these words in place of the other."""
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


def _mounted(profile: str, given: secrets.Secrets) -> dict[str, dict[str, bytes]]:
    """The files of the Secrets that the server's pod mounts, by the folder below /etc."""
    spec = pod(profile)
    volumes = {it["name"]: it["secret"] for it in spec["volumes"] if "secret" in it}
    mounts = {
        it["name"]: it["mountPath"]
        for container in [*spec.get("initContainers", []), *spec["containers"]]
        for it in container.get("volumeMounts", [])
    }
    return {
        mounts[name].removeprefix("/etc/"): {
            path: given[volume["secretName"]][key] for key, path in keys(volume, given).items()
        }
        for name, volume in volumes.items()
    }


def keys(volume: Document, given: secrets.Secrets) -> dict[str, str]:
    """The keys of a Secret that a volume shows, and the names of their files: all, where it does not say which."""
    if "items" in volume:
        return {item["key"]: item["path"] for item in volume["items"]}
    return {key: key for key in given[volume["secretName"]]}


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
