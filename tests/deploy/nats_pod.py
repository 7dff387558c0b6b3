"""nats-server as a profile configures it, with the Secrets that the page's commands make, seen from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import nats
from nats.errors import Error as NatsError

from syncdaemon.dev.server import find_binary
from tests.deploy import secrets
from tests.deploy.commands import attempt
from tests.deploy.manifests import containers, named
from tests.deploy.nats_config import environment_of, replaced, server_environment, write_config
from tests.support.daemon import eventually
from tests.support.ports import own_port


class Server:
    """nats-server with the configuration of a profile; ports and store are this test's.

    `given` are Secrets that stand in for those of the page, `sites` is a list of sites in place of the profile's. The
    hub's outside name is `localhost` here.
    """

    def __init__(
        self,
        profile: str,
        folder: Path,
        leaf_port: int,
        *,
        given: secrets.Secrets | None = None,
        **settings: str,
    ) -> None:
        self.profile, self.folder = profile, folder
        self.port, self.leaf_port = own_port(), leaf_port
        self.secrets = secrets.of(profile) if given is None else given
        listen = {"port: 7422": f"listen: 127.0.0.1:{leaf_port}", "/lib/nats": str(folder)}
        self._config = write_config(profile, folder, listen, self.secrets, **settings)
        filled = server_environment(profile, self.secrets, **settings)
        if "LEAFNODE_URL" in filled:
            outside = "@hub.example.net:7422"
            assert outside in filled["LEAFNODE_URL"]
            filled["LEAFNODE_URL"] = filled["LEAFNODE_URL"].replace(outside, f"@localhost:{leaf_port}")
        self._environment = {**os.environ, **filled}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def ca(self) -> Path:
        """The authority that clients of this server have."""
        path = self.folder / "ca.crt"
        path.write_bytes(self.secrets["nats-tls"]["ca.crt"])
        return path

    @property
    def url(self) -> str:
        """With the login of whoever runs this server, for those who trust the authority; see `trusted`."""
        return self.url_of(secrets.owner(self.secrets))

    def url_of(self, user: str) -> str:
        """With this user's login."""
        return f"tls://{user}:{secrets.password(self.secrets, user)}@localhost:{self.port}"

    def settings(self, workload: str, **more: str) -> dict[str, str]:
        """What the daemon or the workers have in their environment, as rendered, but for the ports of the test."""
        found = {**named(self.profile, "ConfigMap", workload)["data"]}
        assert found.pop("NATS_URL") == "tls://nats:4222"
        assert found.pop("SYNC_HTTP_ADDR") == "0.0.0.0:8080"
        assert found["NATS_TLS_CA"] == "/etc/syncdaemon/ca/ca.crt"
        login = {name: value.decode() for name, value in self.secrets["nats-login"].items()}
        return {**found, "NATS_TLS_CA": str(self.ca), **login, **more}

    @property
    def client_url(self) -> str:
        """Without a login."""
        return f"tls://localhost:{self.port}"

    def launch(self) -> None:
        """Starts it, and waits for nothing."""
        flags = ["-a", "127.0.0.1", "-p", str(self.port), "-m", str(own_port())]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(find_binary()), "-c", str(self._config), *flags], env=self._environment, stdout=log, stderr=log
            )

    def start(self) -> None:
        """Starts it, and waits until JetStream answers."""
        self.launch()
        eventually(lambda: self.ask("$JS.API.INFO"), 30, self.log())

    def ended(self) -> int | None:
        """The exit code; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """All that it has said."""
        return (self.folder / "log").read_text()

    def ask(self, subject: str, request: Any = "") -> dict[str, Any]:
        """A call of JetStream's API; empty while nobody answers."""
        return asyncio.run(self._ask(subject, json.dumps(request).encode() if request else b""))

    async def _ask(self, subject: str, request: bytes) -> dict[str, Any]:
        context = ssl.create_default_context(cafile=str(self.ca))
        try:
            client = await nats.connect(self.url, tls=context, allow_reconnect=False, connect_timeout=1)
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

    def init(self) -> str:
        """What the Job says that makes the hub's streams: its command, as rendered, but for the paths of the test."""
        (job,) = (it for _, it in containers(self.profile) if it["name"] == "hub-init")
        paths = {"/etc/syncdaemon/sites": f"{self.folder}/nats-sites", "/etc/syncdaemon/ca/ca.crt": str(self.ca)}
        command = [str(Path(sys.executable).with_name("syncdaemon")), *(replaced(word, paths) for word in job["args"])]
        given = {name: replaced(text, paths) for name, text in environment_of(self.profile, job).items()}
        assert given.pop("NATS_URL") == "tls://nats:4222"
        (reference,) = (it["secretRef"]["name"] for it in job["envFrom"] if "secretRef" in it)
        login = {name: value.decode() for name, value in self.secrets[reference].items()}
        return attempt(*command, environment={**given, **login, "NATS_URL": self.client_url}).check().out


def trusted(folder: Path, *servers: Server) -> Path:
    """A file of the authorities of these servers, for SSL_CERT_FILE: so an audit by URL alone reaches all of them."""
    path = folder / "authorities.pem"
    path.write_bytes(b"".join({server.secrets["nats-tls"]["ca.crt"] for server in servers}))
    return path
