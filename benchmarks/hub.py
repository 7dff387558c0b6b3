"""Section: a hub of many sites, half of which are behind leaf nodes: its configuration, a reload for one more, memory.

And what its stream costs by the number of digests: `digests`.

The accounts are in a file, or JWTs. The hub's own streams are made for the sites that publish; landing accounts are
empty, and no leaf node is connected. While the server reads its configuration again, one site that connects directly
publishes messages of 4 KiB, one after another.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import nats
from nats.aio.client import Client

from benchmarks import digests
from benchmarks.measure import BenchmarkFailed, Memory
from benchmarks.plan import Plan
from benchmarks.process import environment, place, say
from benchmarks.report import megabytes, table
from syncdaemon.dev.server import NatsServer
from tests.support.client import connect

BUCKET = "edge_replay_{site}"

_PROGRAM = Path(sys.executable).with_name("syncdaemon")
_PASSWORD = "of-the-hub"
_BODY = b"x" * 4096
_AFTER_SECONDS = 3.0


class Measured(NamedTuple):
    """Bytes, seconds, and messages a second. `gap`: the longest time between two acknowledgements in the reload."""

    size: int
    printed: float
    started: float
    reloaded: float
    memory: int
    before: float
    during: float
    gap: float


class Hub:
    """A server for so many sites, and one more later."""

    def __init__(self, folder: Path, *, jwt: bool) -> None:
        self.folder, self.jwt = folder, jwt
        (folder / "users").mkdir()
        (folder / "users" / "hub-password.conf").write_text(f'HUB_PASSWORD: "{_PASSWORD}"\n')
        (folder / "jetstream.conf").write_text(f'store_dir: "{folder}/store"\nmax_file_store: 100TB\ndomain: hub\n')
        self.server = NatsServer(folder, jetstream=None, config='include "accounts.conf"\n', ready_within=120)

    def list(self, sites: int) -> tuple[int, float]:
        """Size of the configuration, and how long it took to print it."""
        lines = [f"site-{number}{' leaf' if number % 2 else ''}" for number in range(sites)]
        (self.folder / "sites").write_text("\n".join(lines))
        for party in ("worker", "auditor", *(f"site-{line.split()[0]}" for line in lines)):
            path = self.folder / "users" / f"{party}.conf"
            path.write_text(f'users: [{{user: "{party}", password: "{party}"}}]\n')
        how = ["--jwt", str(self.folder / "secrets")] if self.jwt else []
        began = time.monotonic()
        text = self.run("permissions", "--role", "hub", "--sites", str(self.folder / "sites"), *how)
        (self.folder / "accounts.conf").write_text(text)
        return len(text), time.monotonic() - began

    def reloads(self) -> int:
        """How often the server has read its configuration again."""
        return self.server.log_path.read_text().count("Reloaded server configuration")

    def wait_for_reload(self, before: int) -> None:
        """Until the server has read it once more than so often."""
        while self.reloads() == before:
            time.sleep(0.01)

    def run(self, *arguments: str) -> str:
        """What a command prints."""
        command = [str(_PROGRAM), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=environment(SYNC_BUCKET=BUCKET), capture_output=True, text=True, timeout=600
        )
        if done.returncode:
            raise BenchmarkFailed(f"{' '.join(arguments[:3])}: {done.stderr}")
        return done.stdout

    def login(self, user: str) -> dict[str, Any]:
        """For a client of this user."""
        if self.jwt:
            return {"user_credentials": str(self.folder / "secrets" / "creds" / f"{user}.creds")}
        return {"user": user, "password": _PASSWORD if user == "hub" else user}

    def url(self, user: str) -> str:
        """Where this user logs in, with its password; of a hub whose accounts are in a file."""
        return self.server.url.replace("//", f"//{user}:{self.login(user)['password']}@")

    async def connect(self, user: str) -> Client:
        """A client that is logged in."""
        return await connect(self.server.url, connect_timeout=60, error_cb=_ignore, **self.login(user))


async def _ignore(error: Exception) -> None:
    """A new site is refused until the server knows it."""


def measure(sites: int, *, jwt: bool) -> Measured:
    """One server of its own."""
    with place() as folder:
        hub = Hub(folder, jwt=jwt)
        size, printed = hub.list(sites)
        began = time.monotonic()
        with hub.server as running:
            started = time.monotonic() - began
            reloaded, acks, asked = asyncio.run(_reload(hub, sites))
            memory = Memory.of(running.pid).now
    during = [at for at in acks if asked <= at <= asked + reloaded]
    earlier = [at for at in acks if at < asked]
    gaps = [later - at for at, later in pairwise(acks) if later >= asked and at <= asked + reloaded]
    say(f"hub: {sites} sites, {'JWTs' if jwt else 'in a file'}: reloaded in {reloaded:.2f} s")
    before = len(earlier) / (asked - acks[0])
    return Measured(size, printed, started, reloaded, memory, before, len(during) / reloaded, max(gaps))


async def _reload(hub: Hub, sites: int) -> tuple[float, list[float], float]:
    """How long until a new site gets an answer; when each message was acknowledged; when the reload was asked for."""
    admin = await hub.connect("hub")
    await admin.jetstream(timeout=60).add_stream(
        name="swarm_jobs", subjects=["edge.replay.site-0.>"], allow_direct=True
    )
    await admin.close()
    site = await hub.connect("site-site-0")
    acks: list[float] = []
    ending = asyncio.Event()

    async def publish() -> None:
        while not ending.is_set():
            await site.request(f"edge.replay.site-0.{len(acks)}", _BODY, 60)
            acks.append(time.monotonic())

    publishing = asyncio.create_task(publish())
    await asyncio.sleep(_AFTER_SECONDS)
    await asyncio.to_thread(hub.list, sites + 2)
    asked = time.monotonic()
    await _known(hub, f"site-site-{sites}")
    reloaded = time.monotonic() - asked
    await asyncio.sleep(_AFTER_SECONDS)
    ending.set()
    await publishing
    await site.close()
    return reloaded, acks, asked


async def _known(hub: Hub, user: str) -> None:
    """Has the configuration read again until the new site gets an answer from the hub's stream."""
    for _ in range(1 if hub.jwt else 2):
        before = hub.reloads()
        os.kill(hub.server.pid, signal.SIGHUP)
        await asyncio.to_thread(hub.wait_for_reload, before)
    client = await hub.connect(user)
    await client.request(f"$JS.API.DIRECT.GET.swarm_jobs.edge.replay.{user.removeprefix('site-')}.1", b"", 60)
    await client.close()


def section(plan: Plan) -> str:
    """The section in Markdown."""
    rows = []
    for sites in plan.sites:
        for jwt in (False, True):
            try:
                found = measure(sites, jwt=jwt)
            except (nats.errors.Error, TimeoutError) as error:
                say(f"hub: {sites} sites, {'JWTs' if jwt else 'in a file'}: {error or 'no answer'}")
                rows.append([f"{sites:,}", "JWTs" if jwt else "in a file", *["no answer"] * 8])
                continue
            rows.append(
                [
                    *(f"{sites:,}", "JWTs" if jwt else "in a file", megabytes(found.size), f"{found.printed:.1f}"),
                    *(f"{found.started:.1f}", megabytes(found.memory), f"{found.reloaded:.2f}"),
                    *(f"{found.before:,.0f}", f"{found.during:,.0f}", f"{found.gap * 1000:.0f}"),
                ]
            )
    heads = ["sites", "accounts", "MB", "printed s", "start s", "RSS MB", "reload s"]
    return "\n\n".join(
        [
            "## A hub of many sites",
            "Half of the sites are behind leaf nodes. A reload lasts from the signal until the hub's stream answers a "
            "new site; the server reads a file twice for that. One site publishes messages of 4 KiB meanwhile, each "
            "after the acknowledgement of the one before.",
            table([*heads, "messages/s before", "in the reload", "longest gap ms"], rows),
            digests.section(plan),
        ]
    )
