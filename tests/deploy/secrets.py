"""The Secrets of a hub and a site, made by the very commands of docs/DEPLOYMENT.md."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import yaml

from tests.deploy.manifests import ROOT, kubectl
from tests.support import needs

Secrets = dict[str, dict[str, bytes]]


def commands(title: str) -> str:
    """The commands of the section with this title."""
    page = (ROOT / "docs/DEPLOYMENT.md").read_text(encoding="utf-8")
    section = page.split(f"\n### {title}\n", 1)[1].split("\n#", 1)[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return str(block)


def make(folder: Path, title: str) -> Secrets:
    """Runs a section's commands in a folder; what they would create, by the name of the Secret. No cluster is asked."""
    needs.program("openssl")
    (folder / "bin").mkdir(exist_ok=True)
    asked = folder / "bin/kubectl"
    asked.write_text(f'#!/bin/sh\necho ---\nexec {kubectl()} "$@" --dry-run=client -o yaml\n')
    asked.chmod(0o755)
    environment = {**os.environ, "PATH": f"{asked.parent}:{os.environ['PATH']}"}
    command = ["bash", "-eu", "-c", commands(title)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = [it for it in yaml.safe_load_all(done.stdout) if it]
    return {it["metadata"]["name"]: {key: base64.b64decode(text) for key, text in it["data"].items()} for it in made}


@cache
def of_everybody() -> tuple[Secrets, Secrets]:
    """Those of the hub, and of the site `edge-1`; the same for every test of this process."""
    folder = Path(tempfile.mkdtemp(prefix="secrets-"))
    try:
        for name in ("hub", "site"):
            (folder / name).mkdir()
        hub = make(folder / "hub", "At the hub")
        shutil.copy(folder / "hub/edge-1.url", folder / "site/edge-1.url")
        shutil.copy(folder / "hub/ca.crt", folder / "site/hub-ca.crt")
        return hub, make(folder / "site", "At a site")
    finally:
        shutil.rmtree(folder)


def of(profile: str) -> Secrets:
    """Those that a profile's namespace has."""
    hub, site = of_everybody()
    return site if profile.startswith("edge") else hub


def password(secrets: Secrets, user: str) -> str:
    """Of a user of this NATS: at a site `client` or `admin`, at the hub its own users and the parties."""
    if "nats-auth" in secrets:
        name, text = f"{user.upper()}_PASSWORD", secrets["nats-auth"]["auth.conf"]
    elif user in ("hub", "records") or user.startswith("in-"):
        name, text = "HUB_PASSWORD", secrets["nats-users"]["hub-password.conf"]
    else:
        name, text = "password", secrets["nats-users"][f"{user}.conf"]
    found = re.search(rf'\b{name}: "([\w-]+)"', text.decode())
    assert found
    return found[1]


def owner(secrets: Secrets) -> str:
    """The user of people: at a site `admin`, at the hub `hub`."""
    return "admin" if "nats-auth" in secrets else "hub"


def with_sites(hub: Secrets, *sites: str) -> Secrets:
    """Those of a hub, with a login for each of these sites too."""
    files = {f"site-{site}.conf": _user_file(f"site-{site}", f"of-{site}") for site in sites}
    return {**hub, "nats-users": {**hub["nats-users"], **files}}


def of_site(site: str) -> Secrets:
    """Those of a site behind a leaf node, which `with_sites` lets in."""
    given = of("edge-leafnode")
    url = f"tls://site-{site}:of-{site}@hub.example.net:7422".encode()
    return {**given, "nats-leafnode": {**given["nats-leafnode"], "url": url}}


def _user_file(user: str, password: str) -> bytes:
    """As the page's commands make it."""
    return f'users: [{{user: "{user}", password: "{password}"}}]\n'.encode()
