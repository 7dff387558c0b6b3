"""A site tells the hub how it is: with and without a stream for that, a right, a hub; and nothing waits for it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.client import connect
from tests.support.daemon import MakeDaemon, eventually
from tests.support.hub import Hub, MakeHub
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def _word(url: str, site: str, **login: Any) -> dict[str, Any] | None:
    client = await connect(url, **login)
    try:
        answer = await client.request(f"$JS.API.DIRECT.GET.edge_fleet.edge.status.{site}", timeout=10)
        return json.loads(answer.data) if answer.data else None
    except Exception:
        return None
    finally:
        await client.close()


def word(url: str, site: str = "test-site", **login: Any) -> dict[str, Any]:
    """The newest word of a site; empty before there is one."""
    return asyncio.run(_word(url, site, **login)) or {}


def test_on_a_server_of_its_own_the_daemon_makes_the_stream(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """And tells at once what has changed, as far as its pace allows; after an outage too."""
    daemon = make_daemon(nats_server.url, SYNC_STATUS_SECONDS="1")
    daemon.start()
    for name in "ab":
        daemon.drop(name, name.encode())
    eventually(lambda: word(nats_server.url).get("published_files") == 2, 60, "the hub knows of both files")
    found = word(nats_server.url)
    assert (found["v"], found["site"], found["link_status"], found["next_within"]) == (1, "test-site", 1, 10)
    assert found["row"] >= 3
    nats_server.stop()
    daemon.drop("c", b"c")
    nats_server.start()
    eventually(lambda: word(nats_server.url).get("published_files") == 3, 60, "the hub knows after the outage")
    assert daemon.stop() == 0


def test_a_standby_tells_it_too_and_zero_seconds_tell_nothing(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    standby = make_daemon(nats_server.url, "standby", SITE="spare", EDGE_MODE="false", SYNC_STATUS_SECONDS="1")
    silent = make_daemon(nats_server.url, "silent", SITE="silent", SYNC_STATUS_SECONDS="0")
    standby.start()
    silent.start()
    silent.drop("a", b"a")
    silent.next_receipt()
    eventually(lambda: word(nats_server.url, "spare").get("standby") is True, 60, "the hub knows")
    assert word(nats_server.url, "silent") == {}


@pytest.mark.parametrize("rights", ['"edge.status.>"', '"$JS.API.STREAM.CREATE.edge_fleet"'])
def test_without_the_right_it_delivers_all_the_same(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, rights: str
) -> None:
    """Neither a word that may not be sent, nor a stream that may not be made, is waited for; the link stays up."""
    config = (
        f"""authorization {{ users: [{{user: a, password: a, permissions: {{publish: {{deny: [{rights}]}}}}}}] }}"""
    )
    server = make_nats_server(config=config)
    server.start()
    daemon = make_daemon(server.url, NATS_USER="a", NATS_PASSWORD="a", SYNC_STATUS_SECONDS="0.5")
    daemon.start()
    daemon.drop("a", b"a")
    eventually(lambda: "hub_not_told" in daemon.log(), 30, "the log says so")
    daemon.drop("b", b"b")
    eventually(lambda: not daemon.waiting(), 30, "both are delivered")
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0


@pytest.mark.parametrize("leaf", [False, pytest.param(True, marks=pytest.mark.lengthy)], ids=["direct", "leaf"])
@pytest.mark.parametrize("jwt", [False, pytest.param(True, marks=pytest.mark.lengthy)], ids=["file", "JWTs"])
def test_the_rights_that_are_printed_are_enough(
    make_hub: MakeHub, make_daemon: MakeDaemon, leaf: bool, jwt: bool
) -> None:
    """Of a site that connects directly, and of one behind a leaf node, whose own server never gets such a stream."""
    hub: Hub = make_hub("a leaf\n" if leaf else "a\n", jwt=jwt)
    hub.start()
    settings = {"SITE": "a", "SYNC_STATUS_SECONDS": "0.5", "SYNC_STREAM_CREATE": str(leaf).lower()}
    if leaf:
        daemon = make_daemon(hub.leaves["a"].url, NATS_HUB_DOMAIN="hub", **settings)
    elif hub.secrets:
        daemon = make_daemon(hub.server.url, NATS_CREDS=str(hub.secrets / "creds/site-a.creds"), **settings)
    else:
        daemon = make_daemon(hub.server.url, NATS_USER="site-a", NATS_PASSWORD="site-a", **settings)
    daemon.start()
    daemon.drop("a", b"a")

    async def told() -> int:
        client = await hub.connect("records")
        try:
            answer = await client.request("$JS.API.DIRECT.GET.edge_fleet.edge.status.a", timeout=10)
            return int(json.loads(answer.data or b"{}").get("published_files", 0))
        finally:
            await client.close()

    eventually(lambda: asyncio.run(told()) == 1, 90, "it lies in the hub's own account")
    if leaf:
        assert word(hub.leaves["a"].url, "a") == {}
