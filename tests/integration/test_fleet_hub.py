"""`syncdaemon hub`: what it shows of all sites, whoever says what, and what it does while it hears nothing."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from syncdaemon.stream.site_status import SiteStatus
from tests.support.daemon import eventually
from tests.support.fleet import HubProcess, simulated, tell, told
from tests.support.hub import PROGRAM, MakeHub

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

MakeWatch = Callable[..., HubProcess]


@pytest.fixture
def make_watch(tmp_path: Path) -> Iterator[MakeWatch]:
    """Hubs that end with the test."""
    made: list[HubProcess] = []

    def make(url: str, *arguments: str, **settings: str) -> HubProcess:
        made.append(HubProcess(tmp_path, url, *arguments, **settings))
        return made[-1]

    yield make
    for one in made:
        one.kill()


def gauge(hub: HubProcess, name: str, site: str) -> float | None:
    """A sample of this site; None where there is none."""
    found = re.search(rf'^{name}\{{site="{site}"[^}}]*seen_by="hub"\}} (\S+)$', hub.get("/metrics"), re.MULTILINE)
    return float(found[1]) if found else None


def test_it_shows_what_sites_told_before_and_since(
    nats_server: NatsServer, make_watch: MakeWatch, tmp_path: Path
) -> None:
    """An expected site that never said anything counts as down; a site that is silent for too long becomes it."""
    (tmp_path / "expected").write_text("a\nb leaf\nnever\n")
    told(nats_server.url, [SiteStatus("a", "1.2.3", 3600, queue_depth=7, bandwidth_bps=9, quarantined_files=2)])
    hub = make_watch(nats_server.url, "--sites", str(tmp_path / "expected"))
    hub.start()
    eventually(lambda: gauge(hub, "replay_queue_depth", "a") == 7, 30, "the word from before")
    assert gauge(hub, "edge_link_status", "a") == 1
    assert gauge(hub, "edge_link_status", "never") == 0
    assert gauge(hub, "edge_site_quarantined_files", "a") == 2
    assert 'edge_site_info{site="a",version="1.2.3",seen_by="hub"} 1' in hub.get("/metrics")
    told(nats_server.url, [SiteStatus("b", next_within=3600, oldest_file_age=5), SiteStatus("new", next_within=3600)])
    eventually(lambda: gauge(hub, "edge_link_status", "new") == 1, 30, "a site that is on no list")
    shown = hub.sites()
    assert [shown[name]["state"] for name in ("never", "a")] == [2, 4]
    assert json.loads(hub.get("/site?name=a"))["told"]["quarantined_files"] == 2
    assert json.loads(hub.get("/status"))["sites"]["never"] == 1
    assert json.loads(hub.get("/healthz"))["ok"]
    assert hub.stop() == 0


def test_hostile_words_change_nothing_of_others(nats_server: NatsServer, make_watch: MakeWatch) -> None:
    """The subject decides whose word it is; what is no word is counted; names and texts stay text."""
    hub = make_watch(nats_server.url)
    hub.start()
    words = [
        ("liar", b'{"v":1,"site":"victim","queue_depth":9,"next_within":3600}'),
        ("long", b'{"v":1,"paused":"' + b"x" * 100_000 + b'"}'),
        ("none", b"not JSON"),
        ("kinds", b'{"v":1,"queue_depth":"many"}'),
        ("UPPER", b'{"v":1}'),
        ("<img>", b'{"v":1}'),
        ("html", b'{"v":1,"next_within":3600,"version":"<img src=x onerror=alert(1)>\\" } 7\\n"}'),
        ("victim", b'{"v":1,"queue_depth":1,"next_within":3600}'),
    ]
    asyncio.run(tell(nats_server.url, words))
    eventually(lambda: gauge(hub, "replay_queue_depth", "victim") == 1, 30, "the last word is read")
    assert hub.sites().keys() == {"liar", "html", "victim"}
    page = hub.get("/metrics")
    assert "edge_fleet_refused_words_total 5" in page
    assert all(re.fullmatch(r'#.*|\w+(\{(\w+="([^"\\\n]|\\.)*",?)*\})? \S+', line) for line in page.splitlines())


def test_what_the_hub_does_not_hear_makes_no_site_silent(nats_server: NatsServer, make_watch: MakeWatch) -> None:
    """While its own link is down it says so. Afterwards it goes on."""
    told(nats_server.url, [SiteStatus("a", next_within=3600)])
    hub = make_watch(nats_server.url)
    hub.start()
    eventually(lambda: gauge(hub, "edge_link_status", "a") == 1, 30, "the site is there")
    nats_server.stop()
    eventually(lambda: "edge_fleet_link_status 0" in hub.get("/metrics"), 30, "the hub says that it hears nothing")
    assert hub.page("/healthz")[0] == 503
    assert gauge(hub, "edge_link_status", "a") == 1
    nats_server.start()
    told(nats_server.url, [SiteStatus("a", next_within=3600, queue_depth=5)])
    eventually(lambda: gauge(hub, "replay_queue_depth", "a") == 5, 60, "it hears again")


def test_a_site_that_has_gone_is_forgotten(nats_server: NatsServer, make_watch: MakeWatch, tmp_path: Path) -> None:
    """By a hub that runs, within its look; a second time there is nothing to forget."""
    told(nats_server.url, [SiteStatus("a", next_within=3600), SiteStatus("b", next_within=3600)])
    hub = make_watch(nats_server.url)
    hub.start()
    eventually(lambda: len(hub.sites()) == 2, 30, "both are there")

    def forget(site: str) -> int:
        command = [str(PROGRAM), "hub", "forget", site, "--nats-url", nats_server.url]
        return subprocess.run(command, capture_output=True, timeout=60, cwd=tmp_path).returncode

    assert [forget("a"), forget("a"), forget("A B")] == [0, 1, 2]
    eventually(lambda: hub.sites().keys() == {"b"}, 90, "the page has it no more")


def test_the_user_records_is_enough(make_hub: MakeHub, make_watch: MakeWatch) -> None:
    """With the accounts that `permissions` prints, and what `hub init` has made."""
    hub = make_hub("a\n")
    hub.start()

    async def say() -> None:
        client = await hub.connect("site-a")
        await client.request("edge.status.a", b'{"v":1,"next_within":3600,"queue_depth":3}', timeout=10)
        await client.close()

    asyncio.run(say())
    watch = make_watch(hub.server.url, NATS_USER="records", NATS_PASSWORD=hub.password("records"))
    watch.start()
    eventually(lambda: gauge(watch, "replay_queue_depth", "a") == 3, 30, "its word is there")


def test_without_a_stream_it_waits_for_one(nats_server: NatsServer, make_watch: MakeWatch) -> None:
    hub = make_watch(nats_server.url)
    hub.start()
    eventually(lambda: "edge_fleet" in hub.page("/healthz")[1], 30, "health names the stream")
    told(nats_server.url, [simulated(1)])
    eventually(lambda: gauge(hub, "replay_queue_depth", "site-00001") == 1, 60, "it is found when it is there")
