"""A site behind a leaf node knows what its hub lacks: under the rights that `syncdaemon permissions` prints, no others.

The daemon asks seconds after a connection, and then every ten minutes: so these tests start it anew.
"""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest

from tests.support.client import connect
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.hub import Hub, MakeHub

pytestmark = [pytest.mark.integration, pytest.mark.lengthy, pytest.mark.timeout(300)]

SITE = "west"


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    """A hub with one site behind a leaf node."""
    hub = make_hub(f"{SITE} leaf\n")
    hub.start()
    return hub


def lag(daemon: DaemonProcess) -> tuple[float | None, float | None]:
    """Whether the hub answers, and how many messages it lacks."""
    found = daemon.metrics()
    return found.get("syncdaemon_hub_link_status"), found.get("syncdaemon_hub_lag_messages")


def says(daemon: DaemonProcess, *wanted: float) -> None:
    """After a new start, when the hub was asked."""
    assert daemon.stop() == 0
    daemon.start()
    eventually(lambda: lag(daemon) == wanted, 30, f"hub_link_status and hub_lag_messages are {wanted}")


def deliver(daemon: DaemonProcess, *names: str) -> None:
    for name in names:
        daemon.drop(name, f"evidence {name}".encode())
    eventually(lambda: not daemon.waiting(), 60, "all are stored at the site")


def at_the_hub(hub: Hub) -> dict[str, int]:
    """How many messages the hub's stream has on each subject."""

    async def look() -> dict[str, int]:
        client = await hub.connect("hub")
        state = (await client.jetstream().stream_info("swarm_jobs", subjects_filter=f"edge.replay.{SITE}.>")).state
        await client.close()
        return state.subjects or {}

    return asyncio.run(look())


def test_what_the_hub_lacks_is_counted_and_grows_old(hub: Hub, make_daemon: MakeDaemon) -> None:
    """Also over a restart of the daemon while the hub is away, and not with what the hub has had before."""
    daemon = make_daemon(hub.leaves[SITE].url, SITE=SITE, NATS_HUB_DOMAIN="hub")
    daemon.start()
    deliver(daemon, "1", "2")
    eventually(lambda: len(at_the_hub(hub)) == 2, 90, "both are at the hub")
    says(daemon, 1.0, 0.0)
    assert json.loads(daemon.get("/status"))["hub"] == "stored here; all of it is at the hub"

    hub.server.stop()
    deliver(daemon, "3", "4", "5")
    says(daemon, 0.0, 3.0)
    first = daemon.metric("syncdaemon_hub_lag_seconds")
    assert first > 0
    eventually(lambda: daemon.metric("syncdaemon_hub_lag_seconds") > first, what="it grows older between two looks")
    words = json.loads(daemon.get("/status"))["hub"]
    assert words.startswith("stored here; 3 not at the hub yet, the oldest for ")
    assert "the hub does not answer" in words
    assert daemon.ailment("hub") == "", "the stream keeps them for ever"

    hub.server.start()
    eventually(lambda: len(at_the_hub(hub)) == 5, 120, "all are at the hub")
    says(daemon, 1.0, 0.0)


def test_a_site_that_lost_its_store_publishes_again_and_the_hub_has_each_once(
    hub: Hub, make_daemon: MakeDaemon
) -> None:
    """The source goes on, and what the hub has of the lost stream is not taken for what it has of the new one."""
    daemon = make_daemon(hub.leaves[SITE].url, SITE=SITE, NATS_HUB_DOMAIN="hub")
    daemon.start()
    names = [str(number) for number in range(20)]
    deliver(daemon, *names)
    eventually(lambda: len(at_the_hub(hub)) == 20, 90, "all are at the hub")
    says(daemon, 1.0, 0.0)
    assert daemon.stop() == 0

    leaf = hub.leaves[SITE]
    leaf.stop()
    shutil.rmtree(leaf.folder / "store")
    leaf.start()
    asyncio.run(remake(leaf.url))
    daemon.start()
    deliver(daemon, *names, "new-1", "new-2")
    eventually(lambda: len(at_the_hub(hub)) == 22, 120, "the source goes on")
    assert set(at_the_hub(hub).values()) == {1}
    says(daemon, 1.0, 0.0)


async def remake(url: str) -> None:
    """The site's stream, as its daemon makes it."""
    client = await connect(url)
    config = {"name": "swarm_jobs", "subjects": ["edge.replay.*.*"], "max_msgs_per_subject": 1, "discard": "new"}
    await client.request("$JS.API.STREAM.CREATE.swarm_jobs", json.dumps(config).encode(), 10)
    await client.close()
