"""Sites that do not trust each other, at the other end: nothing of one is filed under the name of another."""

from __future__ import annotations

import json
import os

import pytest
from nats.js import JetStreamContext
from nats.js.api import StreamConfig, StreamSource, SubjectTransform
from nats.js.errors import BadRequestError

from syncdaemon.dev.server import NatsServer
from tests.integration.test_receive import CONSUMER
from tests.support.accounts import accounts, login
from tests.support.daemon import eventually
from tests.support.receiver import STREAM, MakeReceiver, Receiver, at_server, headers, make_stream, received
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.lengthy]


def reasons(receiver: Receiver) -> dict[str, tuple[str, str]]:
    """By its path: why a message was set aside, and whose room it takes."""
    sidecars = [json.loads(path.read_text()) for path in (receiver.target / ".rejected").glob("*.reason.json")]
    return {told["headers"]["Edge-Path"]: (told["reason"], told["site"]) for told in sidecars}


def test_a_site_can_not_speak_for_another(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """Not to squat a name, nor to have a neighbour's object, nor to fill the neighbour's room for bad messages."""

    async def fill(js: JetStreamContext) -> None:
        await make_stream(js)
        store = await js.create_object_store("edge_replay_victim")
        await store.put("secret", b"a secret")
        for subject, fields, body in (
            ("edge.replay.evil.1", headers("report", b"forged", site="victim"), b"forged"),
            ("edge.replay.evil.2", headers("bad", b"bad", site="victim", Edge_Size="9"), b"bad"),
            ("edge.replay.evil.3", headers("nasty", b"x", site="victim", Edge_Sha256="no"), b"x"),
            (
                "edge.replay.evil.4",
                headers("stolen", b"a secret", site="evil", Edge_Object="edge_replay_victim/secret"),
                b"",
            ),
            ("edge.replay.victim.5", headers("report", b"genuine", site="victim"), b"genuine"),
        ):
            await js.publish(subject, body, headers=fields)

    at_server(nats_server.url, fill)
    receiver = make_receiver(nats_server.url)
    receiver.start()
    eventually(lambda: len(reasons(receiver)) == 4, what="the attacks are set aside")
    assert reasons(receiver) == {
        "report": ("site_mismatch", "evil"),
        "bad": ("site_mismatch", "evil"),
        "nasty": ("bad_header", "evil"),
        "stolen": ("bucket_refused", "evil"),
    }
    eventually(lambda: received(receiver.target) == {"victim/report": b"genuine"}, what="the genuine one has its name")
    index = (receiver.target / ".rejected/.index").read_text().splitlines()
    assert [line.split()[0] for line in index] == ["evil"] * 4
    count = "nats_worker_failed_total"
    eventually(lambda: receiver.metric(count, reason="site_mismatch") == 2, what="they are counted")
    assert receiver.stop() == 0


def test_what_a_site_s_own_source_brings_is_taken(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """Over two sources, as from a leaf node by its landing account. No client may say itself where it is from."""

    async def fill(js: JetStreamContext) -> None:
        await js.add_stream(StreamConfig(name="leaf", subjects=["edge.replay.*.*"]))
        own = SubjectTransform(src="edge.replay.*.*", dest="edge.replay.good.{{wildcard(2)}}")
        landed = StreamSource(name="leaf", subject_transforms=[own])
        await js.add_stream(StreamConfig(name="landed", sources=[landed]))
        source = StreamSource(name="landed", filter_subject="edge.replay.good.>")
        await js.add_stream(StreamConfig(name=STREAM, sources=[source]))
        await js.publish("edge.replay.good.1", b"good", headers=headers("1", b"good", site="good"))
        await js.publish("edge.replay.evil.2", b"other", headers=headers("2", b"other", site="evil"))
        forged = {"Nats-Stream-Source": "landed 7 edge.replay.evil.> > edge.replay.evil.3"}
        with pytest.raises(BadRequestError, match="source header is not allowed"):
            await js.publish("edge.replay.good.3", b"x", headers=forged)

    at_server(nats_server.url, fill)
    receiver = make_receiver(nats_server.url)
    receiver.start()
    eventually(lambda: received(receiver.target) == {"good/1": b"good"}, what="that of the site is written")
    eventually(lambda: reasons(receiver) == {"2": ("site_mismatch", "good")}, what="that of another is set aside")
    assert receiver.stop() == 0


def test_a_subject_of_another_form_waits_for_the_operator(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """A site may have a SYNC_SUBJECT of its own. Its message is neither lost nor filed until a worker knows it."""

    async def fill(js: JetStreamContext) -> None:
        await js.add_stream(name=STREAM, subjects=["jobs.*.*"])
        await js.publish("jobs.a.1", b"one", headers=headers("1", b"one", site="a"))
        await js.publish("jobs.a.2", b"two", headers=headers("2", b"two", site="b"))

    at_server(nats_server.url, fill)
    receiver = make_receiver(nats_server.url)
    receiver.start()
    put_back = "nats_worker_failed_total"
    eventually(lambda: receiver.metric(put_back, reason="subject_unknown") == 2, what="they are put back")
    assert "--site-token" in receiver.logged("messages_put_back")[0]["detail"]
    assert (received(receiver.target), reasons(receiver)) == ({}, {})
    assert receiver.stop() == 0
    knowing = make_receiver(nats_server.url, "--site-token", "2")
    knowing.start()
    eventually(lambda: received(knowing.target) == {"a/1": b"one"}, 30.0, "that of the site is written")
    eventually(lambda: reasons(knowing) == {"2": ("site_mismatch", "a")}, 30.0, "the other one is set aside")
    assert knowing.stop() == 0


@pytest.mark.parametrize(
    "hidden", [(), (f"$JS.API.CONSUMER.INFO.{STREAM}.{CONSUMER}",)], ids=["as DESIGN lists them", "without INFO"]
)
def test_a_worker_in_an_account_of_its_own(
    make_nats_server: MakeNatsServer, make_receiver: MakeReceiver, hidden: tuple[str, ...]
) -> None:
    """It has three rights at the hub's consumer, and one at each bucket: it sees no stream and makes no consumer."""
    server = make_nats_server(config=accounts(["edge_replay_a", "edge_replay_b"], hidden))
    server.start()
    large = {site: os.urandom(5 << 20) for site in "ab"}

    async def fill(js: JetStreamContext) -> None:
        await make_stream(js)
        await js.add_consumer(STREAM, durable_name=CONSUMER, ack_policy="explicit")
        for site, data in large.items():
            store = await js.create_object_store(f"edge_replay_{site}")
            await store.put("large", data)
            place = f"edge_replay_{site}/large"
            await js.publish(f"edge.replay.{site}.1", site.encode(), headers=headers("small", site.encode(), site=site))
            await js.publish(f"edge.replay.{site}.2", b"", headers=headers("large", data, site=site, Edge_Object=place))
        stolen = headers("stolen", large["b"], site="a", Edge_Object="edge_replay_b/large", Nats_Msg_Id="its own")
        await js.publish("edge.replay.a.3", b"", headers=stolen)

    async def left(js: JetStreamContext) -> tuple[int | None, int | None, list[str]]:
        info = await js.consumer_info(STREAM, CONSUMER)
        streams = ("OBJ_edge_replay_a", "OBJ_edge_replay_b", STREAM)
        consumers = [found.name for stream in streams for found in await js.consumers_info(stream)]
        return info.num_pending, info.num_ack_pending, consumers

    at_server(login(server.url, "hub"), fill)
    worker = make_receiver(login(server.url, "worker"))
    worker.start()
    wanted = {f"{site}/large": data for site, data in large.items()} | {"a/small": b"a", "b/small": b"b"}
    eventually(lambda: received(worker.target) == wanted, 60.0, "the files of both are there")
    eventually(lambda: reasons(worker) == {"stolen": ("bucket_refused", "a")}, what="the bucket of b is b's")
    eventually(lambda: at_server(login(server.url, "hub"), left) == (0, 0, [CONSUMER]), what="all is answered")
    assert bool(worker.logged("consumer_unseen")) == bool(hidden)
    assert worker.metric("nats_worker_link_reconnects_total") == 0
    assert worker.stop() == 0


def test_a_bucket_that_the_worker_may_not_read_is_said(
    make_nats_server: MakeNatsServer, make_receiver: MakeReceiver
) -> None:
    """A missing import looks like a missing bucket. Its message waits; the others go on at once."""
    server = make_nats_server(config=accounts(["edge_replay_a"], ["$JS.API.DIRECT.GET.OBJ_edge_replay_a"]))
    server.start()

    async def fill(js: JetStreamContext) -> None:
        await make_stream(js)
        await js.add_consumer(STREAM, durable_name=CONSUMER, ack_policy="explicit")
        place = "edge_replay_a/large"
        await js.publish("edge.replay.a.1", b"", headers=headers("large", b"abc", site="a", Edge_Object=place))
        await js.publish("edge.replay.a.2", b"small", headers=headers("small", b"small", site="a"))

    at_server(login(server.url, "hub"), fill)
    worker = make_receiver(login(server.url, "worker"))
    worker.start()
    eventually(lambda: received(worker.target) == {"a/small": b"small"}, what="the other one is written")
    eventually(lambda: worker.logged("messages_put_back"), 5.0, "the object is waited for")
    (said,) = {event["detail"] for event in worker.logged("messages_put_back")}
    assert "no right to read it" in said
    assert worker.metric("nats_worker_link_reconnects_total") == 0
    assert worker.stop() == 0
