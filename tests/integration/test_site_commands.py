"""Every command of a site under the rights that `permissions` and `hub init` give, directly and behind a leaf node."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from hashlib import sha256
from typing import NamedTuple

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.client import connect
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.hub import PASSWORD, Hub, MakeHub
from tests.support.relay import MakeRelay
from tests.support.shell import Shell

pytestmark = pytest.mark.integration

SITES = "a\nb\nc leaf\n"


class Place(NamedTuple):
    """Where a site connects to. `env`: its name and its login."""

    hub: Hub
    server: NatsServer
    env: dict[str, str]

    @property
    def site(self) -> str:
        """Its name."""
        return self.env["SITE"]

    def messages(self, bucket: bool = False) -> int:
        """Of this site at the hub, in the stream or in its bucket."""
        return asyncio.run(self._messages(bucket))

    def in_batches(self) -> int:
        """Messages of the site's stream, as its daemon sees it, that came in an atomic batch."""
        return asyncio.run(self._in_batches())

    async def _in_batches(self) -> int:
        client = await (connect(self.server.url) if self.site == "c" else self.hub.connect("hub"))
        found = 0
        try:
            for number in range(1, 1_000):
                ask = json.dumps({"seq": number}).encode()
                message = json.loads((await client.request("$JS.API.STREAM.MSG.GET.swarm_jobs", ask, 10)).data)
                if "error" in message:
                    return found
                found += b"Nats-Batch-Id" in base64.b64decode(message["message"].get("hdrs", ""))
            return found
        finally:
            await client.close()

    async def _messages(self, bucket: bool) -> int:
        login = "in-c" if self.site == "c" else "hub"
        client = await self.hub.connect(login)
        stream, wanted = (
            (f"OBJ_edge_replay_{self.site}", ">") if bucket else ("swarm_jobs", f"edge.replay.{self.site}.>")
        )
        try:
            answer = await client.request(
                f"$JS.API.STREAM.INFO.{stream}", json.dumps({"subjects_filter": wanted}).encode(), 10
            )
            return sum((json.loads(answer.data)["state"].get("subjects") or {}).values())
        finally:
            await client.close()


@pytest.fixture(params=["direct", pytest.param("leaf", marks=pytest.mark.lengthy)])
def place(request: pytest.FixtureRequest, make_hub: MakeHub) -> Place:
    """A site of three: one that connects to the hub, or one that has a leaf node."""
    hub = make_hub(SITES)
    hub.start()
    if request.param == "leaf":
        return Place(hub, hub.leaves["c"], {"SITE": "c", "NATS_URL": hub.leaves["c"].url})
    login = {"NATS_USER": "site-a", "NATS_PASSWORD": "site-a"}
    return Place(hub, hub.server, {"SITE": "a", "NATS_URL": hub.server.url, **login})


def started(place: Place, make_daemon: MakeDaemon, **settings: str) -> DaemonProcess:
    """The site's daemon, with the settings of a site alone."""
    daemon = make_daemon(place.server.url, **place.env, **settings)
    daemon.start()
    return daemon


def delivered(daemon: DaemonProcess, count: int) -> None:
    """Waits until so many files have their receipts."""
    eventually(lambda: len(daemon.rows_so_far("published", "duplicate")) == count, 60, f"{count} receipts")


def squat(place: Place, data: bytes) -> None:
    """A neighbour stores garbage under the id of this content, and tries to do so on the site's own subject."""

    async def publish() -> None:
        client = await place.hub.connect("site-b")
        digest = sha256(data).hexdigest()
        try:
            headers = {"Nats-Msg-Id": digest, "Edge-Sha256": digest, "Nats-Rollup": "all"}
            await client.publish(f"edge.replay.{place.site}.{digest}", b"garbage", headers=headers)
            await client.request(f"edge.replay.b.{digest}", b"garbage", 10, headers={"Nats-Msg-Id": digest})
            await client.flush()
        finally:
            await client.close()

    asyncio.run(publish())


def test_what_is_dropped_is_delivered_and_every_command_says_so(
    place: Place, make_daemon: MakeDaemon, shell: Shell
) -> None:
    """Small and large files, again, beside a neighbour's garbage; then all commands that only look."""
    squat(place, b"evidence")
    daemon = started(place, make_daemon, SYNC_HOLD_SECONDS="0")
    large = os.urandom(3 << 20)
    daemon.drop("evidence", b"evidence")
    for number in range(200):
        daemon.drop(f"{number}.bin", b"%d" % number)
    daemon.drop("large.bin", large)
    delivered(daemon, 202)
    daemon.drop("again.bin", b"7")
    daemon.drop("large-again.bin", large)
    delivered(daemon, 204)

    assert {row["path"] for row in daemon.rows("duplicate")} == {"again.bin", "large-again.bin"}
    assert {row["object"] for row in daemon.rows("published") if "object" in row} == {
        f"edge_replay_{place.site}/{sha256(large).hexdigest()}"
    }
    eventually(lambda: place.messages() == 202, 30, "all of it is at the hub, once")
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0
    assert not daemon.logged("shared_bucket")
    at = {**place.env, "SYNC_LEDGER_DIR": str(daemon.ledger), "SYNC_HTTP_ADDR": daemon.env["SYNC_HTTP_ADDR"]}
    status = shell("status", "--json", **at)
    assert status.code == 0, status
    for deep in ((), ("--content",)):
        verified = shell("verify", "--stream", *deep, **at)
        assert verified.code == 0, verified
    assert shell("verify", **at).code == 0
    hub = {"NATS_URL": place.hub.server.url, "NATS_USER": "hub", "NATS_PASSWORD": PASSWORD}
    eventually(lambda: place.messages(bucket=True) >= 4, 30, "and its large file")
    at_the_hub = shell("verify", "--stream", "--content", **{**at, **hub})
    assert at_the_hub.code == 0, at_the_hub
    examined = shell("doctor", "--json", **at)
    failures = [one for one in json.loads(examined.out) if one["level"] == "failure"]
    assert failures == []
    levels = {one["check"]: one["level"] for one in json.loads(examined.out)}
    assert levels["may_publish"] == levels["may_read"] == levels["bucket"] == "ok"


def test_kills_and_an_outage_double_nothing(place: Place, make_daemon: MakeDaemon, shell: Shell) -> None:
    """The daemon is killed in the middle of batches and an upload, its server restarts, and `drain` does the rest."""
    daemon = started(place, make_daemon, SYNC_BWLIMIT="2M")
    large = os.urandom(8 << 20)
    daemon.drop("large.bin", large)
    for number in range(2_000):
        daemon.drop(f"{number}.bin", b"%d" % number)
    eventually(lambda: len(daemon.rows_so_far("published")) > 100, 60, "some are stored")
    eventually(lambda: place.messages(bucket=True) > 8, 60, "and a part of the large file")
    daemon.kill()
    place.server.kill()
    daemon.env.pop("SYNC_BWLIMIT")
    daemon.start()
    daemon.drop("meanwhile.bin", b"meanwhile")
    place.server.start()
    delivered(daemon, 2_002)
    daemon.stop()

    assert not daemon.logged("upload_begun_again")
    assert not daemon.rows("held_lost", "refused")
    eventually(lambda: place.messages() == 2_002, 60, "all of it is at the hub, once")
    at = {**place.env, "SYNC_LEDGER_DIR": str(daemon.ledger), "SYNC_REPLAY_DIR": str(daemon.replay)}
    daemon.drop("drained.bin", b"drained")
    drained = shell("drain", **at)
    assert drained.code == 0, drained
    verified = shell("verify", "--stream", "--content", **at)
    assert verified.code == 0, verified


@pytest.mark.parametrize("cut", ["stored", pytest.param("not stored", marks=pytest.mark.lengthy)])
def test_a_batch_in_doubt_after_the_link_was_cut_is_stored_once(
    place: Place, make_daemon: MakeDaemon, make_relay: MakeRelay, shell: Shell, cut: str
) -> None:
    """The cut comes behind a commit that the server has taken, or in the middle of a batch that it never commits."""
    relay = make_relay(place.server)
    daemon = make_daemon(relay.url, **{**place.env, "NATS_URL": relay.url})
    daemon.start()
    daemon.drop("first", b"first")
    delivered(daemon, 1)
    if cut == "stored":
        relay.mute_after = b"Nats-Batch-Commit"
    else:
        relay.hold_after(20_000)
    for number in range(500):
        daemon.drop(f"{number}.bin", b"%d" % number)
    if cut == "stored":
        eventually(lambda: place.in_batches() > 0, 60, "a batch is stored")
        assert not relay.to_client.is_set()
    else:
        eventually(lambda: relay.held, 60, "a batch is on its way")
    before = len(daemon.rows_so_far("published"))
    relay.mute_after = b""
    relay.reset()
    relay.restore()
    delivered(daemon, 501)

    assert before < 501
    assert daemon.metric("syncdaemon_link_reconnects_total") == 1
    assert not daemon.rows("held_lost", "refused")
    eventually(lambda: place.messages() == 501, 60, "all of it is at the hub, once")
    at = {**place.env, "SYNC_LEDGER_DIR": str(daemon.ledger)}
    verified = shell("verify", "--stream", "--content", **at)
    assert verified.code == 0, verified


async def hold_all_batches(hub: Hub) -> None:
    """A neighbour opens as many atomic batches as the stream may have, and ends none. They stay open for 10 s."""
    client = await hub.connect("site-b")
    for number in range(60):
        headers = {"Nats-Batch-Id": f"held-{number}", "Nats-Batch-Sequence": "1"}
        await client.publish(f"edge.replay.b.{number}", b"held", headers=headers)
    await client.flush()
    await client.close()


@pytest.mark.lengthy
def test_a_neighbour_that_holds_all_batches_stops_nothing(make_hub: MakeHub, make_daemon: MakeDaemon) -> None:
    """What can't go in a batch goes as singles, and a metric says so."""
    hub = make_hub("a\nb\n")
    hub.start()
    site = Place(hub, hub.server, {"SITE": "a", "NATS_USER": "site-a", "NATS_PASSWORD": "site-a"})
    daemon = started(site, make_daemon)
    daemon.drop("first", b"first")
    delivered(daemon, 1)
    asyncio.run(hold_all_batches(hub))
    for number in range(300):
        daemon.drop(f"{number}.bin", b"%d" % number)
    delivered(daemon, 301)
    assert any(
        "publish_errors_total" in name and "batch_slots" in name for name, count in daemon.metrics().items() if count
    )
    assert not daemon.rows("refused")
