"""A site whose server is a leaf node of a hub, and the hub that fetches its stream: two real servers, as rendered."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy import secrets
from tests.deploy.nats_pod import Server, trusted
from tests.support.daemon import MakeDaemon, eventually
from tests.support.jetstream import Stored, held, messages
from tests.support.ports import own_port
from tests.support.receiver import MakeReceiver, received

pytestmark = [pytest.mark.manifests, pytest.mark.integration, pytest.mark.timeout(300)]

SITES = ("edge-1", "edge-2")
MIB = 1 << 20


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Server, Server]]:
    """Two sites and a hub."""
    leaf_port = own_port()
    made = []
    for site in SITES:
        (tmp_path / site).mkdir()
        made.append(Server("edge-leafnode", tmp_path / site, leaf_port, given=secrets.of_site(site), SITE=site))
    (tmp_path / "hub").mkdir()
    given = secrets.with_sites(secrets.of("staging-leafnode"), *SITES)
    listed = "".join(f"{site} leaf\n" for site in SITES)
    made.append(Server("staging-leafnode", tmp_path / "hub", leaf_port, given=given, sites=listed))
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted(tmp_path, *made)))
    try:
        yield made[0], made[1], made[2]
    finally:
        for server in made:
            server.kill()


def test_the_hub_fetches_what_the_site_has_stored_also_after_an_outage(
    servers: tuple[Server, Server, Server], make_daemon: MakeDaemon
) -> None:
    edge, _, hub = servers
    edge.start()
    hub.start()
    daemon = make_daemon(edge.client_url, **edge.settings("syncdaemon", SITE="edge-1"))
    daemon.start()
    hub.init()
    for number in range(50):
        daemon.drop(f"before-{number}", b"before %d" % number)
    eventually(lambda: hub.stored() == 50, 60, f"the hub has it all; its log: {hub.log()}")

    hub.kill()
    for number in range(50):
        daemon.drop(f"meanwhile-{number}", b"meanwhile %d" % number)
    eventually(lambda: edge.stored() == 100, 60, "the site goes on by itself")
    hub.start()
    eventually(lambda: hub.stored() == 100, 90, f"the hub catches up; its log: {hub.log()}")

    there = asyncio.run(messages(edge.url, "swarm_jobs"))
    here = asyncio.run(messages(hub.url, "swarm_jobs"))
    assert [(it.subject, it.data) for it in here] == [(it.subject, it.data) for it in there]
    assert [it.headers["Edge-Path"] for it in here] == [it.headers["Edge-Path"] for it in there]
    assert len({it.subject for it in here}) == 100
    assert daemon.rows("duplicate") == []


def test_large_files_of_two_sites_reach_a_worker_at_the_hub(
    servers: tuple[Server, Server, Server], make_daemon: MakeDaemon, make_receiver: MakeReceiver, tmp_path: Path
) -> None:
    """Also one that both have, and those that were dropped while the hub was away: each object is fetched whole."""
    *sites, hub = servers
    for server in servers:
        server.start()
    hub.init()
    worker = make_receiver(hub.client_url, **hub.settings("nats-worker"))
    worker.start()
    both = random.Random(0).randbytes(3 * MIB)
    wanted: dict[str, bytes] = {}
    daemons = [
        make_daemon(server.client_url, f"edge-{n}", **server.settings("syncdaemon", SITE=f"edge-{n}"))
        for n, server in enumerate(sites, 1)
    ]
    for number, daemon in enumerate(daemons, 1):
        daemon.start()
        own = random.Random(number).randbytes(5 * MIB)
        daemon.drop("own.bin", own)
        daemon.drop("both.bin", both)
        wanted |= {f"edge-{number}/own.bin": own, f"edge-{number}/both.bin": both}
    eventually(lambda: received(tmp_path / "received") == wanted, 180, f"all is received; {worker.log()[-2000:]}")

    hub.kill()
    for number, daemon in enumerate(daemons, 1):
        late = random.Random(10 + number).randbytes(4 * MIB)
        daemon.drop("late.bin", late)
        wanted[f"edge-{number}/late.bin"] = late
    eventually(lambda: not any(daemon.waiting() for daemon in daemons), 60, "the sites go on by themselves")
    hub.start()
    eventually(lambda: received(tmp_path / "received") == wanted, 180, f"the rest too; {worker.log()[-2000:]}")
    assert hub.stored() == 6
    assert not list((tmp_path / "received" / ".rejected").glob("*"))
    for site, server in zip(SITES, sites, strict=True):
        bucket, landed = f"OBJ_edge_replay_{site}", hub.url_of(f"in-{site}")
        there, here = (asyncio.run(held(url, bucket)) for url in (server.url, landed))
        assert here.subjects == there.subjects, "each chunk once, by the source alone"
        kept = sorted(data for path, data in wanted.items() if path.startswith(f"{site}/"))
        assert sorted(objects(asyncio.run(messages(landed, bucket)))) == kept


def objects(stored: list[Stored]) -> Iterator[bytes]:
    """What the messages of a bucket are, by its metas (ADR-20): each chunk once, in the order that they have here."""
    for meta in stored:
        if meta.subject.split(".")[2] == "M":
            nuid = json.loads(meta.data)["nuid"]
            yield b"".join(it.data for it in stored if it.subject.split(".")[2:] == ["C", nuid])
