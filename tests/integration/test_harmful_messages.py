"""Messages that are made to do harm to the worker that receives them: nothing is commanded, and the rest goes on."""

from __future__ import annotations

import base64
import json
import os

import pytest
from nats.js import JetStreamContext

from syncdaemon.dev.server import NatsServer
from tests.integration.test_receive import CONSUMER
from tests.support.daemon import eventually
from tests.support.receiver import STREAM, MakeReceiver, at_server, headers, make_stream, publish, received
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_an_object_that_cuts_the_link_is_put_aside_and_the_rest_goes_on(
    make_nats_server: MakeNatsServer, make_receiver: MakeReceiver
) -> None:
    """The request for it is longer than this server takes a line, so each attempt ends the connection."""
    server = make_nats_server()
    server.start()
    long, bad_body, good_body = "b" * 220, os.urandom(300_000), os.urandom(300_000)

    async def fill(js: JetStreamContext) -> int:
        await make_stream(js)
        for bucket, name, body in ((long, "bad", bad_body), ("edge_replay", "good", good_body)):
            store = await js.create_object_store(bucket)
            await store.put(name, body)
        bad = await publish(js, headers("bad", bad_body, Edge_Object=f"{long}/bad"), b"")
        await publish(js, headers("good", good_body, Edge_Object="edge_replay/good"), b"")
        for number in range(50):
            data = b"%d" % number
            await publish(js, headers(f"small/{number}", data), data)
        return bad

    bad = at_server(server.url, fill)
    server.stop()
    server.config = "max_control_line: 270"
    server.start()
    receiver = make_receiver(server.url, "--bucket", "edge_replay", "--bucket", long)
    receiver.start()
    eventually(lambda: len(received(receiver.target)) == 51, 90.0, "all others are written")
    rejected = receiver.target / ".rejected"
    eventually(lambda: list(rejected.glob(f"{bad}-*.reason.json")), 90.0, "the message is put aside")
    (sidecar,) = rejected.glob(f"{bad}-*.reason.json")
    assert json.loads(sidecar.read_text())["reason"] == "object_harmful"
    assert received(receiver.target)["edge-1/good"] == good_body
    assert json.loads(receiver.get("/status"))["link"]["reconnects"] <= 8
    eventually(lambda: receiver.logged("message_rejected"), what="the log tells")
    eventually(lambda: receiver.status("/readyz") == 200, 30.0, "the link is steady again")

    async def left(js: JetStreamContext) -> tuple[int | None, int | None]:
        info = await js.consumer_info(STREAM, CONSUMER)
        return info.num_pending, info.num_ack_pending

    eventually(lambda: at_server(server.url, left) == (0, 0), what="nothing is delivered again")
    assert receiver.stop() == 0


NUIDS = {
    "a blank": "a b",
    "a command": "x\r\nPUB $JS.API.STREAM.DELETE.precious 0\r\n\r\n",
    "a tab": "x\ty",
    "a wildcard": "*",
    "all": ">",
    "two tokens": "a.b",
    "nothing": "",
    "65 characters": "n" * 65,
    "no ASCII": "é",
    "a NUL": "a\0",
}


@pytest.mark.parametrize("nuid", NUIDS.values(), ids=NUIDS.keys())
def test_a_nuid_is_never_a_command(nats_server: NatsServer, make_receiver: MakeReceiver, nuid: str) -> None:
    """Whatever an object's meta says: no other stream is touched, no connection is lost, and the next file comes."""

    async def fill(js: JetStreamContext) -> None:
        await make_stream(js)
        await js.add_stream(name="precious", subjects=["precious"])
        await js.publish("precious", b"keep")
        await js.create_object_store("edge_replay")
        meta = {"name": "evil", "bucket": "edge_replay", "nuid": nuid, "size": 4, "chunks": 1}
        subject = "$O.edge_replay.M." + base64.urlsafe_b64encode(b"evil").decode()
        await js.publish(subject, json.dumps(meta).encode())
        await publish(js, headers("evil", b"evil", Edge_Object="edge_replay/evil"), b"")
        await publish(js, headers("next", b"next"), b"next")

    async def kept(js: JetStreamContext) -> int:
        return (await js.stream_info("precious")).state.messages

    at_server(nats_server.url, fill)
    receiver = make_receiver(nats_server.url)
    receiver.start()
    eventually(lambda: "edge-1/next" in received(receiver.target), what="the next file is written")
    eventually(lambda: receiver.logged("messages_put_back"), what="the object is not there")
    assert at_server(nats_server.url, kept) == 1
    assert json.loads(receiver.get("/status"))["link"]["reconnects"] == 0
    assert receiver.stop() == 0


def test_a_message_larger_than_max_payload_is_waited_out(
    make_nats_server: MakeNatsServer, make_receiver: MakeReceiver
) -> None:
    """It was stored before the server's limit was lowered. The pull ends with words, and not the connection."""
    server = make_nats_server(config="max_payload: 8MB")
    server.start()
    large = os.urandom(7 << 20)

    async def fill(js: JetStreamContext) -> None:
        await make_stream(js)
        await publish(js, headers("small", b"1"), b"1")
        await publish(js, headers("large", large), large)

    at_server(server.url, fill)
    server.stop()
    server.config = "max_payload: 64KB"
    server.start()
    receiver = make_receiver(server.url)
    receiver.start()
    eventually(lambda: "edge-1/small" in received(receiver.target), what="the small one is written")
    eventually(
        lambda: "max_payload" in json.loads(receiver.get("/status"))["paused"], what="the status names the limit"
    )
    assert json.loads(receiver.get("/status"))["link"]["reconnects"] == 0
    server.stop()
    server.config = "max_payload: 8MB"
    server.start()
    eventually(lambda: received(receiver.target).get("edge-1/large") == large, 60.0, "the large one is written")
    assert receiver.stop() == 0
