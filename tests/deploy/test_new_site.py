"""A new site at the hub in a cluster, by the very commands of docs/DEPLOYMENT.md. No cluster is asked."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy import secrets
from tests.deploy.manifests import K8S, ROOT, kubectl
from tests.deploy.nats_pod import Server
from tests.deploy.test_hub_login import by_tls
from tests.support.ports import own_port

pytestmark = [pytest.mark.manifests, pytest.mark.integration]

PAGE = (ROOT / "docs/DEPLOYMENT.md").read_text(encoding="utf-8")
# What would change the cluster is kept in files instead.
KUBECTL = """#!/bin/sh
echo "$*" >>calls
case "$*" in
    *"create secret"*) exec {kubectl} "$@" ;;
    "replace -f users.yaml") exec cp users.yaml replaced.yaml ;;
    "apply -k hub") exec {kubectl} kustomize hub >applied.yaml ;;
esac
"""


def test_a_new_site_gets_in_by_the_commands_of_the_page(tmp_path: Path) -> None:
    """Beside the one that is there, whose login stays; in the order in which nothing is refused."""
    here = tmp_path / "folder"
    here.mkdir()
    given = secrets.make(here, "At the hub")
    (here / "hub").mkdir()
    profile = os.path.relpath(K8S / "profiles/staging-leafnode", (here / "hub").resolve())
    (overlay,) = (it for it in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "hub-sites" in it)
    (here / "hub/kustomization.yaml").write_text(overlay.replace("../staging-leafnode", profile))
    (here / "hub/sites.txt").write_text("edge-1 leaf\n")
    (here / "bin/kubectl").write_text(KUBECTL.format(kubectl=kubectl()))

    command = ["bash", "-eu", "-c", secrets.commands("A new site")]
    environment = {**os.environ, "PATH": f"{here}/bin:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    what = [re.findall(r"create|replace|delete|apply", call)[0] for call in (here / "calls").read_text().splitlines()]
    assert what == ["create", "replace", "delete", "apply"]
    assert not (here / "users.yaml").exists(), "passwords are left behind"

    secret = yaml.safe_load((here / "replaced.yaml").read_text())
    assert (secret["metadata"]["name"], secret["metadata"]["namespace"]) == ("nats-users", "agentforge-staging")
    users = {key: base64.b64decode(text) for key, text in secret["data"].items()}
    assert given["nats-users"].items() <= users.items(), "a login that was there has changed"
    (sites,) = (
        it["data"]["sites.txt"]
        for it in yaml.safe_load_all((here / "applied.yaml").read_text())
        if it["metadata"]["name"].startswith("hub-sites")
    )
    assert sites == "edge-1 leaf\nwest leaf\n"

    (tmp_path / "server").mkdir()
    now = {**given, "nats-users": users}
    hub = Server("staging-leafnode", tmp_path / "server", own_port(), given=now, sites=sites)
    try:
        hub.start()
        url = (here / "west.url").read_text()
        login = {"user": "site-west", "pass": secrets.password(now, "site-west")}
        assert url == f"tls://site-west:{login['pass']}@hub.example.net:7422"
        assert b"PONG" in by_tls(hub.leaf_port, hub.ca, **login)
        assert "in-west: stream swarm_jobs: made" in hub.init()
    finally:
        hub.kill()
