"""The commands of docs/FLEET.md, run as they stand there."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from syncdaemon.dev.server import find_binary
from tests.support import needs
from tests.support.client import connect
from tests.support.hub import PASSWORD, PROGRAM, Hub, MakeHub

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PAGE = Path(__file__).parents[2] / "docs" / "FLEET.md"


def commands() -> list[str]:
    """The two blocks: with the accounts in a file, and with JWTs."""
    chapter = PAGE.read_text(encoding="utf-8").partition("## A new site in one minute\n")[2]
    found = re.findall(r"^```sh\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)
    assert len(found) == 2
    return found


@pytest.mark.parametrize(
    "leaf", [pytest.param(False, id="direct"), pytest.param(True, id="behind a leaf node", marks=pytest.mark.lengthy)]
)
@pytest.mark.parametrize("jwt", [False, True], ids=["accounts in a file", "JWTs"])
def test_a_new_site_gets_in_by_the_commands_of_the_page(make_hub: MakeHub, jwt: bool, leaf: bool) -> None:
    needs.program("openssl")  # the page makes a password with it
    hub: Hub = make_hub("a\n", jwt=jwt)
    hub.start()
    here = hub.server.folder
    shutil.copy(hub.sites, here / "sites.txt")
    (here / "nats.pid").write_text(str(hub.server.pid))
    login = {"NATS_USER": "hub", "NATS_PASSWORD": PASSWORD}
    if hub.secrets:
        (here / "secrets").symlink_to(hub.secrets)
        login = {"NATS_CREDS": "secrets/creds/hub.creds"}
    path = f"{PROGRAM.parent}:{find_binary().parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", commands()[jwt].replace('"west"', '"west leaf"') if leaf else commands()[jwt]],
        cwd=here,
        env={"PATH": path, "HOME": str(here), "NATS_URL": hub.server.url, **login},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    password = "" if jwt else re.findall(r'password: "(.*?)"', (here / "users" / "site-west.conf").read_text())[0]
    if leaf:
        hub.start_leaves(["west"], password)
    asyncio.run(publish_and_arrive(hub, password))


async def publish_and_arrive(hub: Hub, password: str) -> None:
    """A message of the new site is acknowledged where it publishes, and comes to the hub's stream."""
    if leaf := hub.leaves.get("west"):
        client = await connect(leaf.url)
    else:
        client = await hub.connect("site-west", password)
    assert (await client.jetstream().publish("edge.replay.west.1", b"evidence")).stream == "swarm_jobs"
    await client.close()
    admin = await hub.connect("hub")
    for _ in range(300):
        if (await admin.request("$JS.API.DIRECT.GET.swarm_jobs.edge.replay.west.1")).data == b"evidence":
            break
        await asyncio.sleep(0.3)
    else:
        raise AssertionError("it never came to the hub")
    await admin.close()
