"""A hub and sites that do not trust each other, in containers: one site behind a leaf node, and one that is direct."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import nats
import pytest
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from tests.deploy import secrets
from tests.deploy.containers import Engine, beside
from tests.deploy.manifests import Document, documents
from tests.deploy.playable import playable
from tests.deploy.played import playing, run_to_the_end
from tests.deploy.site import Site, files_in
from tests.support.daemon import eventually

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]

SITES = "edge-1 leaf\nwest\nneighbour\n"
MIB = 1 << 20


class Fleet(NamedTuple):
    """The hub, a site behind a leaf node, a site that connects directly, and the network of that one."""

    hub: Site
    behind: Site
    direct: Site
    at_direct: Engine


def with_sites(rendered: list[Document]) -> list[Document]:
    """The hub's list of sites, as an overlay says it."""
    found = deepcopy(rendered)
    for document in found:
        if document["metadata"]["name"].startswith("hub-sites"):
            document["data"] = {"sites.txt": SITES}
    return found


def direct(rendered: list[Document]) -> list[Document]:
    """A site without a server of its own: the daemon alone, which finds the hub."""
    settings = {"SITE": "west", "NATS_URL": "tls://hub.example.net:4222", "SYNC_STREAM_CREATE": "false"}
    found = [it for it in deepcopy(rendered) if it["kind"] != "StatefulSet"]
    for document in found:
        if document["kind"] == "ConfigMap" and "SITE" in document["data"]:
            document["data"] |= settings
    return found


@pytest.fixture
def fleet(podman: Engine, tmp_path: Path) -> Iterator[Fleet]:
    """All of them playing, with the Secrets of the page and logins for the other two sites."""
    at_hub = secrets.with_sites(secrets.of("staging-leafnode"), "west", "neighbour")
    site = secrets.of("edge-leafnode")
    login = {"NATS_USER": b"site-west", "NATS_PASSWORD": b"of-west"}
    at_west = {**site, "nats-tls": {"ca.crt": at_hub["nats-tls"]["ca.crt"]}, "nats-login": login}
    with ExitStack() as ending:
        folders = {name: tmp_path / name for name in ("hub", "edge-1", "west")}
        for folder in folders.values():
            folder.mkdir()
        engines = [ending.enter_context(beside(podman, n, folders[name])) for n, name in ((1, "edge-1"), (2, "west"))]
        hub = playing(
            podman, "staging-leafnode", "nats-worker", folders["hub"], given=at_hub, change=with_sites, prefix="hub-"
        )
        found = [ending.enter_context(hub)]
        for engine, name, given, change in (
            (engines[0], "edge-1", site, deepcopy),
            (engines[1], "west", at_west, direct),
        ):
            played = playing(
                engine, "edge-leafnode", "syncdaemon", folders[name], given=given, change=change, prefix=f"{name}-"
            )
            found.append(ending.enter_context(played))
        yield Fleet(found[0], found[1], found[2], engines[1])


def test_files_of_both_kinds_of_sites_arrive_and_a_neighbour_is_refused(
    podman: Engine, fleet: Fleet, tmp_path: Path
) -> None:
    wanted = {}
    for name, site in (("edge-1", fleet.behind), ("west", fleet.direct)):
        eventually(site.ready, 60, f"the daemon of {name} is ready")
        wanted[name] = {"small": f"small of {name}".encode(), "large": name.encode() * MIB}
        site.drop_all(wanted[name])
    received = fleet.hub.volume("received")
    for name, files in wanted.items():
        eventually(lambda n=name, f=files: files_in(received / n) == f, 240, f"all of {name} arrives")  # type: ignore[misc]

    at_hub = fleet.at_direct.network
    for login in ("", "site-neighbour:wrong@", "client:x@"):
        with pytest.raises((NatsError, OSError)):
            at_hub.call(asyncio.run, refused(login, "edge.replay.neighbour.1"))
    mine = "site-neighbour:of-neighbour@"
    assert not at_hub.call(asyncio.run, refused(mine, "edge.replay.neighbour.1"))
    for other in wanted:
        for subject in (
            f"edge.replay.{other}.1",
            f"$O.edge_replay_{other}.C.1",
            f"$JS.API.DIRECT.GET.OBJ_edge_replay_{other}",
            f"$JS.API.STREAM.PURGE.OBJ_edge_replay_{other}",
            f"$JS.{other}.API.STREAM.DELETE.swarm_jobs",
        ):
            assert at_hub.call(asyncio.run, refused(mine, subject)), subject
    assert at_hub.call(asyncio.run, refused(mine, "$JS.API.STREAM.DELETE.swarm_jobs"))

    given = secrets.with_sites(secrets.of("staging-leafnode"), "west", "neighbour")
    parts = playable(with_sites(documents("staging-leafnode")), given, tmp_path / "hub/claims", "hub-")
    (job,) = parts.jobs
    said = run_to_the_end(podman, tmp_path / "hub", parts.referred, job).splitlines()
    assert said
    assert all(line.endswith(": is there") for line in said), "a second run changes nothing"


async def refused(login: str, subject: str) -> bool:
    """Whether nobody answers this client on this subject. Raises what keeps it from connecting."""
    tls = ssl.create_default_context(cadata=secrets.of("staging")["nats-tls"]["ca.crt"].decode())
    url = f"tls://{login}10.77.2.1:4222"
    client = await nats.connect(url, tls=tls, tls_hostname="hub.example.net", allow_reconnect=False)
    try:
        await client.request(subject, b"", timeout=5)
    except NoRespondersError:
        return True
    finally:
        await client.close()
    return False
