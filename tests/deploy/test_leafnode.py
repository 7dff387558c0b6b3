"""A site whose server is a leaf node of a hub, and the hub that fetches its stream: two real servers, as rendered."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.errors import Error as NatsError

from syncdaemon.devserver import find_binary, free_port
from tests.deploy.manifests import K8S, named
from tests.deploy.nats_config import SECRETS, server_environment, write_config
from tests.support.daemon import MakeDaemon, eventually
from tests.support.jetstream import messages

pytestmark = [pytest.mark.manifests, pytest.mark.integration]

STREAM = json.loads((K8S / "components/leafnode/hub/stream.json").read_text(encoding="utf-8"))


class Server:
    """nats-server with the configuration of a profile; ports and store are this test's."""

    def __init__(self, profile: str, folder: Path, leaf_port: int) -> None:
        self.folder = folder
        self.port = free_port()
        self._config = write_config(
            profile, folder, {"port: 7422": f"listen: 127.0.0.1:{leaf_port}", "/lib/nats": str(folder)}
        )
        secrets = {**SECRETS, "LEAFNODE_URL": SECRETS["LEAFNODE_URL"].replace("7422", str(leaf_port))}
        self._environment = {**os.environ, **server_environment(profile, secrets)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        flags = ["-a", "127.0.0.1", "-p", str(self.port), "-m", str(free_port())]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(find_binary()), "-c", str(self._config), *flags], env=self._environment, stdout=log, stderr=log
            )
        eventually(lambda: self.ask("$JS.API.INFO"), 30, (self.folder / "log").read_text())

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def ask(self, subject: str, request: Any = "") -> dict[str, Any]:
        """A call of JetStream's API; empty while nobody answers."""
        return asyncio.run(self._ask(subject, json.dumps(request).encode() if request else b""))

    async def _ask(self, subject: str, request: bytes) -> dict[str, Any]:
        try:
            client = await nats.connect(self.url, allow_reconnect=False, connect_timeout=1)
        except (NatsError, OSError):
            return {}
        try:
            found: dict[str, Any] = json.loads((await client.request(subject, request, timeout=5)).data)
            return found
        except NatsError:
            return {}
        finally:
            await client.close()

    def stored(self) -> int:
        state = self.ask("$JS.API.STREAM.INFO.swarm_jobs").get("state", {})
        return int(state.get("messages", -1))


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    leaf_port = free_port()
    made = []
    for profile in ("edge-leafnode", "staging-leafnode"):
        (tmp_path / profile).mkdir()
        made.append(Server(profile, tmp_path / profile, leaf_port))
    try:
        yield made[0], made[1]
    finally:
        for server in made:
            server.kill()


def test_the_hub_fetches_what_the_site_has_stored_also_after_an_outage(
    servers: tuple[Server, Server], make_daemon: MakeDaemon
) -> None:
    edge, hub = servers
    edge.start()
    hub.start()
    created = hub.ask("$JS.API.STREAM.CREATE.swarm_jobs", STREAM)
    assert "error" not in created, created

    settings = named("edge-leafnode", "ConfigMap", "syncdaemon")["data"]
    daemon = make_daemon(edge.url, **{name: value for name, value in settings.items() if name != "NATS_URL"})
    daemon.start()
    for number in range(50):
        daemon.drop(f"before-{number}", b"before %d" % number)
    eventually(lambda: hub.stored() == 50, 60, f"the hub has it all; its log: {(hub.folder / 'log').read_text()}")

    hub.kill()
    for number in range(50):
        daemon.drop(f"meanwhile-{number}", b"meanwhile %d" % number)
    eventually(lambda: edge.stored() == 100, 60, "the site goes on by itself")
    hub.start()
    eventually(lambda: hub.stored() == 100, 90, f"the hub catches up; its log: {(hub.folder / 'log').read_text()}")

    there = asyncio.run(messages(edge.url, "swarm_jobs"))
    here = asyncio.run(messages(hub.url, "swarm_jobs"))
    assert [(it.subject, it.data) for it in here] == [(it.subject, it.data) for it in there]
    assert [it.headers["Edge-Path"] for it in here] == [it.headers["Edge-Path"] for it in there]
    assert len({it.subject for it in here}) == 100
    assert daemon.rows("duplicate") == []
