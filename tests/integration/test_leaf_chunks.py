"""How often a hub's bucket takes a chunk of a site behind a real leaf node, and what `deny_exports` is for."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError

from syncdaemon.dev.server import HOST, NatsServer
from tests.support.client import connect
from tests.support.daemon import MakeDaemon, eventually
from tests.support.hub import PROGRAM, Hub, MakeHub
from tests.support.jetstream import held
from tests.support.ports import own_port
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

SETTLED = 2.0  # in seconds: after so long nothing more comes
BUCKET = "edge_replay_c"
STREAM = f"OBJ_{BUCKET}"
LARGE = os.urandom(39 * (128 << 10))  # 39 chunks of the daemon's largest size: with the meta, 40 messages


def without_deny_exports(text: str) -> str:
    """The leaf node's configuration as it is set up by hand."""
    kept = [line for line in text.splitlines() if "deny_exports" not in line]
    assert len(kept) == len(text.splitlines()) - 1
    return "\n".join(kept)


async def ask(client: Client, subject: str, payload: dict[str, Any]) -> dict[str, Any]:
    """One call of JetStream's API; it has to succeed."""
    found: dict[str, Any] = json.loads((await client.request(subject, json.dumps(payload).encode(), 10)).data)
    assert "error" not in found, found
    return found


async def make_bucket(url: str, **more: Any) -> None:
    """A bucket, whose messages are those of `subjects` or `sources`."""
    client = await connect(url)
    config = {"name": STREAM, "storage": "file", "discard": "new", "allow_direct": True, "allow_rollup_hdrs": True}
    await ask(client, f"$JS.API.STREAM.CREATE.{STREAM}", config | more)
    await client.close()


def by_hand(make: MakeNatsServer, *, deny_exports: bool, subjects: bool) -> tuple[NatsServer, NatsServer]:
    """A hub and a leaf node that have one account each, and a bucket at both, which the hub sources.

    `subjects`: the hub's bucket has subjects of its own as well, as every bucket that a client makes.
    """
    port = own_port()
    hub = make(jetstream="domain: hub", config=f'leafnodes {{ listen: "{HOST}:{port}" }}')
    hub.start()
    leaf = make(jetstream=None, config='include "leaf.conf"\n')
    text = subprocess.check_output([PROGRAM, "permissions", "--role", "leaf", "--site", "c"], text=True)
    (leaf.folder / "leaf.conf").write_text(text if deny_exports else without_deny_exports(text))
    (leaf.folder / "jetstream.conf").write_text(f'store_dir: "{leaf.folder}/store"\n')
    (leaf.folder / "hub.conf").write_text(f'url: "nats-leaf://{HOST}:{port}"\n')
    leaf.start()
    own = {"subjects": [f"$O.{BUCKET}.C.>", f"$O.{BUCKET}.M.>"]}
    asyncio.run(make_bucket(leaf.url, **own))
    eventually(lambda: asyncio.run(answers(hub.url, "$JS.c.API.INFO")), 30, "the leaf node is connected")
    source = {"name": STREAM, "external": {"api": "$JS.c.API", "deliver": "JSD.c"}}
    asyncio.run(make_bucket(hub.url, sources=[source], **(own if subjects else {})))
    return hub, leaf


async def answers(url: str, subject: str) -> bool:
    """Whether somebody takes requests on this subject."""
    client = await connect(url)
    try:
        await client.request(subject, b"", 5)
    except NoRespondersError:
        return False
    finally:
        await client.close()
    return True


async def store_object(url: str) -> None:
    """39 chunks and their meta, as ADR-20 has them."""
    client = await connect(url)
    for number in range(39):
        await client.request(f"$O.{BUCKET}.C.x", b"%d" % number, 10)
    await client.request(f"$O.{BUCKET}.M.eA==", b"{}", 10, headers={"Nats-Rollup": "sub"})
    await client.close()


@pytest.mark.parametrize(
    ("deny_exports", "subjects", "messages"),
    [
        pytest.param(False, True, 79, id="both ways", marks=pytest.mark.lengthy),
        pytest.param(True, True, 40, id="denied", marks=pytest.mark.lengthy),
        pytest.param(False, False, 40, id="sources alone"),
    ],
)
def test_a_bucket_with_subjects_of_its_own_takes_each_chunk_twice_unless_the_leaf_denies_the_export(
    make_nats_server: MakeNatsServer, deny_exports: bool, subjects: bool, messages: int
) -> None:
    """Once over the connection at once, and once by its source. A bucket that has sources alone needs no denial."""
    hub, leaf = by_hand(make_nats_server, deny_exports=deny_exports, subjects=subjects)
    asyncio.run(store_object(leaf.url))
    assert asyncio.run(held(leaf.url, STREAM)).messages == 40
    eventually(lambda: asyncio.run(held(hub.url, STREAM)).messages >= messages, 60, "the hub has them")
    time.sleep(SETTLED)
    assert asyncio.run(held(hub.url, STREAM)).messages == messages


@pytest.mark.lengthy
def test_the_hubs_own_bucket_takes_each_chunk_of_a_daemon_once_whatever_the_leaf_exports(
    make_hub: MakeHub, make_daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `hub init` makes it, it has sources alone, in an account that takes nothing else from the leaf node."""
    print_role = Hub.run
    monkeypatch.setattr(
        Hub,
        "run",
        lambda hub, *words: (
            without_deny_exports(print_role(hub, *words)) if "leaf" in words else print_role(hub, *words)
        ),
    )
    hub = make_hub("a\nc leaf\n")
    hub.start()
    assert "deny_exports" not in (hub.leaves["c"].folder / "leaf.conf").read_text()
    daemon = make_daemon(hub.leaves["c"].url, SITE="c")
    daemon.start()
    daemon.drop("large.bin", LARGE)
    eventually(lambda: len(daemon.rows_so_far("published")) == 1, 30, "it is stored at the site")
    here = asyncio.run(held(hub.leaves["c"].url, STREAM))
    assert here.messages == 40
    there = hub.server.url.replace("://", f"://in-c:{hub.password('in-c')}@")
    eventually(lambda: asyncio.run(held(there, STREAM)).messages >= 40, 120, "the hub has fetched it")
    time.sleep(SETTLED)
    assert asyncio.run(held(there, STREAM)).subjects == here.subjects
