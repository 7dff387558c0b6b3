"""A hub of sites that do not trust each other: direct ones, and some behind leaf nodes."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Awaitable
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError

from tests.support.client import connect
from tests.support.daemon import eventually
from tests.support.hub import Hub, MakeHub
from tests.support.ports import own_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

SITES = "a\nb\nc leaf\nd leaf\n"


@pytest.fixture(params=["accounts in a file", "JWTs"])
def hub(make_hub: MakeHub, request: pytest.FixtureRequest) -> Hub:
    """Two sites that connect directly, and two behind leaf nodes of their own."""
    hub = make_hub(SITES, jwt=request.param == "JWTs")
    hub.start()
    return hub


async def ask(client: Client, subject: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
    """One call of JetStream's API."""
    found: dict[str, Any] = json.loads((await client.request(subject, json.dumps(payload or {}).encode(), 5)).data)
    return found


async def stored(hub: Hub) -> dict[str, int]:
    """How many messages the hub's stream has on each subject."""
    client = await hub.connect("hub")
    try:
        found = await ask(client, "$JS.API.STREAM.INFO.swarm_jobs", {"subjects_filter": ">"})
    finally:
        await client.close()
    return found["state"].get("subjects") or {}


def test_what_each_site_publishes_reaches_the_hub(hub: Hub) -> None:
    """Over imports from the sites that connect directly, and by way of the landing accounts from the leaf nodes."""

    async def publish(login: Awaitable[Client], subject: str) -> None:
        client = await login
        await client.jetstream().publish(subject, b"evidence")
        await client.close()

    for site in "ab":
        asyncio.run(publish(hub.connect(f"site-{site}"), f"edge.replay.{site}.1"))
    for site in "cd":
        asyncio.run(publish(connect(hub.leaves[site].url), f"edge.replay.{site}.1"))
    wanted = {f"edge.replay.{site}.1": 1 for site in "abcd"}
    eventually(lambda: asyncio.run(stored(hub)) == wanted, 90, "the hub has all four")


def test_a_site_reads_nothing_of_another(hub: Hub) -> None:
    """What it has no import for, no server takes."""

    async def look() -> None:
        client = await hub.connect("site-b")
        for subject in (
            "edge.replay.a.1",
            "$JS.API.STREAM.INFO.swarm_jobs",
            "$JS.API.STREAM.MSG.GET.swarm_jobs",
            "$JS.API.DIRECT.GET.swarm_jobs.edge.replay.a.1",
            "$JS.API.STREAM.PURGE.swarm_jobs",
            "$JS.API.STREAM.INFO.OBJ_edge_replay_a",
            "$JS.API.STREAM.NAMES",
            "$JS.API.STREAM.CREATE.mine",
            "$JS.API.CONSUMER.CREATE.swarm_jobs",
            "$JS.API.CONSUMER.MSG.NEXT.swarm_jobs.worker-staging",
            "edge.cosigned.a.20261130",
        ):
            with pytest.raises(NoRespondersError):
                await client.request(subject, b"{}", 5)
        await client.close()

    asyncio.run(look())


def test_init_a_second_time_changes_nothing_and_a_new_site_is_added(hub: Hub) -> None:
    """The same command for the first day and for every later one."""
    assert {line.rpartition(": ")[2] for line in hub.init().splitlines()} == {"is there"}
    hub.list(SITES + "e\n")
    hub.reload()
    assert "hub: stream swarm_jobs: has other subjects now" in hub.init().splitlines()
    hub.list(SITES.replace("b\n", ""))
    hub.reload()
    said = hub.init().splitlines()
    assert (
        "hub: stream swarm_jobs: has other subjects now, and takes edge.replay.b.> and edge.replay.e.> no more" in said
    )


def test_the_first_leaf_node_ends_what_a_stream_with_sources_must_not_have(make_hub: MakeHub) -> None:
    """A window of message ids, with which one site holds up another; and a refusal at which a source stalls."""
    hub = make_hub("a\nb\n")
    hub.start()
    first = config(hub)
    assert (first["discard_new_per_subject"], first["duplicate_window"]) == (True, 120_000_000_000)
    hub.list("a\nb\nc leaf\n")
    hub.reload()
    hub.init()
    later = config(hub)
    assert (later.get("discard_new_per_subject", False), later.get("duplicate_window", 0)) == (False, 0)
    assert {line.rpartition(": ")[2] for line in hub.init().splitlines()} == {"is there"}


def alter(hub: Hub, **changes: Any) -> None:
    """Somebody has changed the hub's stream by hand."""

    async def update() -> None:
        client = await hub.connect("hub")
        found = await ask(client, "$JS.API.STREAM.INFO.swarm_jobs")
        changed = await ask(client, "$JS.API.STREAM.UPDATE.swarm_jobs", found["config"] | changes)
        assert "error" not in changed, changed
        await client.close()

    asyncio.run(update())


def test_what_is_there_otherwise_is_said_and_stays_and_what_harms_others_is_refused(make_hub: MakeHub) -> None:
    """The stream was made by hand, or with other settings: `is there` alone would hide it."""
    hub = make_hub("a\n")
    hub.start()
    alter(hub, max_age=86_400_000_000_000)
    assert "hub: stream swarm_jobs: is there; it keeps max_age 86400000000000, not 0" in hub.init().splitlines()
    assert config(hub)["max_age"] == 86_400_000_000_000
    alter(hub, allow_rollup_hdrs=True)  # one site's message with a roll-up removes those of all others
    with pytest.raises(AssertionError, match="the stream swarm_jobs is there with allow_rollup_hdrs"):
        hub.init()


def test_a_site_behind_a_leaf_node_is_not_named_as_the_domain_of_the_hub(make_hub: MakeHub) -> None:
    """Its messages would be acknowledged by its own server, and never come to the hub."""
    hub = make_hub("a\nhub leaf\n")
    hub.server.start()
    with pytest.raises(AssertionError, match="hub leaf: this is the domain of the hub itself"):
        hub.init()


def test_all_accounts_are_read_before_the_first_login(make_hub: MakeHub) -> None:
    """A login that waits for 1,000 JWTs is taken for one that is done, and a second one gets half an account."""
    hub = make_hub(SITES, jwt=True)
    hub.server.monitor_port = own_port()
    hub.server.start()
    with urllib.request.urlopen(f"{hub.server.monitor_url}/accountz", timeout=10) as answer:
        known = set(json.load(answer)["accounts"])
    lines = (hub.server.folder / "accounts.conf").read_text().splitlines()
    keys = {line.split("# ")[1]: line.split(":")[0].strip() for line in lines if "# " in line and "eyJ" in line}
    wanted = {"SYS", "HUB", "RECORDS", "NOBODY", "IN_C", "IN_D", "LEAF_C", "LEAF_D"}
    assert {keys[name] for name in wanted} <= known


def config(hub: Hub) -> dict[str, Any]:
    """Of the hub's stream."""

    async def look() -> dict[str, Any]:
        client = await hub.connect("hub")
        found = await ask(client, "$JS.API.STREAM.INFO.swarm_jobs")
        await client.close()
        made: dict[str, Any] = found["config"]
        return made

    return asyncio.run(look())
