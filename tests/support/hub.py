"""A hub of many sites for a test: configured by the output of `syncdaemon permissions` and `hub init` alone."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
import pytest
from nats.aio.client import Client

from syncdaemon.dev.server import HOST, NatsServer
from tests.support.client import connect
from tests.support.ports import own_port
from tests.support.server import new_server

PROGRAM = Path(sys.executable).with_name("syncdaemon")
PASSWORD = "of-the-hub"


class Hub:
    """A hub's server, and a leaf node for each site that is one. `sites`: the lines of the list of sites.

    `jwt`: its accounts are JWTs; else they are in a file, and each user's password is its name.
    """

    def __init__(self, folder: Path, sites: str, *, jwt: bool = False) -> None:
        self.folder = folder
        self.secrets = folder / "secrets" if jwt else None
        self.sites = folder / "sites"
        self.leaf_port = own_port()
        self.server = new_server(folder / "hub", jetstream=None, config=self._config())
        self.leaves: dict[str, NatsServer] = {}
        (self.server.folder / "users").mkdir(parents=True)
        self._write("users/hub-password.conf", f'HUB_PASSWORD: "{PASSWORD}"\n')
        self._write("jetstream.conf", f'store_dir: "{self.server.folder}/store"\nmax_file_store: 100GB\ndomain: hub\n')
        for party in ("worker", "auditor"):
            self.login(party)
        self.list(sites)

    def _config(self) -> str:
        return f'leafnodes {{ listen: "{HOST}:{self.leaf_port}" }}\ninclude "accounts.conf"\n'

    def _write(self, name: str, text: str) -> None:
        (self.server.folder / name).write_text(text)

    def login(self, party: str) -> None:
        """A user of this name, whose password is the name."""
        self._write(f"users/{party}.conf", f'users: [{{user: "{party}", password: "{party}"}}]\n')

    def list(self, sites: str) -> None:
        """These are the sites from here on: their logins and the hub's accounts are written."""
        self.sites.write_text(sites)
        for line in sites.split("\n"):
            if line:
                self.login(f"site-{line.split()[0]}")
        how = ("--jwt", str(self.secrets)) if self.secrets else ()
        self._write("accounts.conf", self.run("permissions", "--role", "hub", "--sites", str(self.sites), *how))

    def run(self, *arguments: str) -> str:
        """What a command of the product prints; it has to succeed."""
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=60, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Starts the hub and the leaf nodes, and makes the hub's streams."""
        self.server.start()
        self.start_leaves([line.split()[0] for line in self.sites.read_text().splitlines() if line.endswith(" leaf")])
        self.init()

    def start_leaves(self, names: Iterable[str], password: str = "") -> None:
        """Starts the leaf nodes of these sites that are not there yet, each with the stream that its daemon makes."""
        for name in names:
            if name not in self.leaves:
                self.leaves[name] = self._leaf(name, password or f"site-{name}")
                self.leaves[name].start()
                asyncio.run(_make_stream(self.leaves[name].url))

    def reload(self) -> None:
        """Has the hub's server read its configuration again, twice as docs/FLEET.md says."""
        for _ in range(2):
            os.kill(self.server.pid, signal.SIGHUP)
            time.sleep(1)

    def init(self) -> str:
        """Makes the streams of all sites; what the command says."""
        return self.run("hub", "init", "--sites", str(self.sites), *self.at("hub"))

    def at(self, user: str) -> tuple[str, ...]:
        """The flags with which a command of the product logs in to the hub."""
        if self.secrets:
            return "--nats-url", self.server.url, "--nats-creds", str(self._creds(user))
        return "--nats-url", self.server.url, "--nats-user", user, "--nats-password", self.password(user)

    async def connect(self, user: str, password: str = "") -> Client:
        """Another client, logged in to the hub."""
        login: dict[str, Any] = {"user": user, "password": password or self.password(user)}
        if self.secrets:
            login = {"user_credentials": str(self._creds(user))}
        return await connect(self.server.url, error_cb=_ignore, **login)

    def leaf_login(self, user: str, nonce: str) -> dict[str, str]:
        """What a leaf node says in its CONNECT."""
        if self.secrets is None:
            return {"user": user, "pass": self.password(user)}
        jwt, seed = (part.split("\n")[1] for part in self._creds(user).read_text().split("-----BEGIN")[1:])
        signature = nkeys.from_seed(bytearray(seed.encode())).sign(nonce.encode())
        return {"jwt": jwt, "sig": base64.urlsafe_b64encode(signature).decode().rstrip("=")}

    def password(self, user: str) -> str:
        """Of this user, where the accounts are in a file."""
        return PASSWORD if user in ("hub", "records") or user.startswith("in-") else user

    def _creds(self, user: str) -> Path:
        assert self.secrets
        return self.secrets / "creds" / f"{user}.creds"

    def _leaf(self, site: str, password: str) -> NatsServer:
        folder = self.folder / f"leaf-{site}"
        folder.mkdir()
        (folder / "jetstream.conf").write_text(f'store_dir: "{folder}/store"\nmax_file_store: 10GB\n')
        login = "" if self.secrets else f"site-{site}:{password}@"
        text = f'url: "nats-leaf://{login}{HOST}:{self.leaf_port}"\n'
        if self.secrets:
            text += f'credentials: "{self._creds(f"site-{site}")}"\n'
        (folder / "hub.conf").write_text(text)
        (folder / "leaf.conf").write_text(self.run("permissions", "--role", "leaf", "--site", site))
        return new_server(folder, jetstream=None, config='include "leaf.conf"\n')

    def stop(self) -> None:
        """Ends all servers."""
        for server in (*self.leaves.values(), self.server):
            server.stop()


async def _ignore(error: Exception) -> None:
    """A client may ask for what it is refused."""


async def _make_stream(url: str) -> None:
    limits = {"max_msgs_per_subject": 1, "discard": "new", "discard_new_per_subject": True}
    rights = {"deny_delete": True, "allow_direct": True, "allow_atomic": True}
    config = {"name": "swarm_jobs", "subjects": ["edge.replay.*.*"], "storage": "file", **limits, **rights}
    client = await connect(url)
    await client.request("$JS.API.STREAM.CREATE.swarm_jobs", json.dumps(config).encode(), 10)
    await client.close()


MakeHub = Callable[..., Hub]
"""Takes the arguments of `Hub` but the folder; the hub is not running yet."""


@pytest.fixture
def make_hub(tmp_path: Path) -> Iterator[MakeHub]:
    """For a hub and its leaf nodes, which end with the test."""
    with ExitStack() as ending:

        def make(sites: str, **how: Any) -> Hub:
            folder = tmp_path / "fleet"
            folder.mkdir()
            hub = Hub(folder, sites, **how)
            ending.callback(hub.stop)
            return hub

        yield make
