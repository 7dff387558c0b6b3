"""A server that only forwards: a leaf node without JetStream, whose files are stored in the hub's domain."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from syncdaemon.dev.server import HOST, NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import held, messages
from tests.support.ports import own_port
from tests.support.receiver import MakeReceiver
from tests.support.server import MakeNatsServer
from tests.support.shell import Shell

pytestmark = pytest.mark.integration


class Pair:
    """A hub with the domain `hub`, and a leaf node of its account. `jetstream`: of the leaf node, or none."""

    def __init__(self, make: MakeNatsServer, jetstream: str | None) -> None:
        port = own_port()
        self.hub: NatsServer = make(jetstream="domain: hub", config=f'leafnodes {{ listen: "{HOST}:{port}" }}')
        remote = f'leafnodes {{ remotes: [ {{ url: "nats-leaf://{HOST}:{port}" }} ] }}'
        self.leaf: NatsServer = make(jetstream=jetstream, config=remote)
        self.hub.start()
        self.leaf.start()


@pytest.fixture
def forwarding(make_nats_server: MakeNatsServer) -> Pair:
    """The leaf node has no JetStream."""
    return Pair(make_nats_server, None)


def test_every_command_works_over_a_server_that_only_forwards(
    forwarding: Pair, make_daemon: MakeDaemon, shell: Shell
) -> None:
    """With NATS_JS_DOMAIN: small and large files, a restart of both, and all that looks at them."""
    hub, leaf = forwarding.hub, forwarding.leaf
    daemon = make_daemon(leaf.url, NATS_JS_DOMAIN="hub")
    daemon.start()
    large = os.urandom(3 << 20)
    for number in range(200):
        daemon.drop(f"{number}.bin", b"%d" % number)
    daemon.drop("large.bin", large)
    eventually(lambda: len(daemon.rows_so_far("published")) == 201, 60, "all is delivered")
    daemon.drop("again.bin", b"7")
    eventually(lambda: len(daemon.rows_so_far("duplicate")) == 1, 30, "it was there")
    daemon.kill()
    leaf.kill()
    leaf.start()
    daemon.drop("later.bin", b"later")
    daemon.start()
    eventually(lambda: len(daemon.rows_so_far("published")) == 202, 60, "and after the outage")
    health = json.loads(daemon.page("/healthz")[1])
    assert health["ok"], health
    daemon.stop()

    assert asyncio.run(held(hub.url, "swarm_jobs")).messages == 202
    at = {"NATS_URL": leaf.url, "NATS_JS_DOMAIN": "hub", "SYNC_LEDGER_DIR": str(daemon.ledger)}
    verified = shell("verify", "--stream", "--content", **at)
    assert verified.code == 0, verified
    found = {one["check"]: one["level"] for one in json.loads(shell("doctor", "--json", **at).out)}
    checks = ("connection", "stream", "may_publish", "may_read", "may_consume", "bucket")
    assert {found[check] for check in checks} == {"ok"}
    assert "one_stream" not in found
    (daemon.replay / "drained").write_bytes(b"drained")
    drained = shell("drain", **at, SYNC_REPLAY_DIR=str(daemon.replay))
    assert drained.code == 0, drained
    assert asyncio.run(held(hub.url, "swarm_jobs")).messages == 203


def test_receive_over_a_server_that_only_forwards(
    forwarding: Pair, make_daemon: MakeDaemon, make_receiver: MakeReceiver
) -> None:
    """Its consumer, the messages, the chunks and the acknowledgements go by the hub's domain too."""
    daemon = make_daemon(forwarding.leaf.url, NATS_JS_DOMAIN="hub")
    daemon.start()
    large = os.urandom(3 << 20)
    daemon.drop("small.bin", b"small")
    daemon.drop("large.bin", large)
    eventually(lambda: len(daemon.rows_so_far("published")) == 2, 60, "both are delivered")
    receiver = make_receiver(forwarding.leaf.url, NATS_JS_DOMAIN="hub")
    receiver.start()
    eventually(lambda: (receiver.target / "test-site" / "large.bin").exists(), 30, "the large one came")
    eventually(lambda: (receiver.target / "test-site" / "small.bin").exists(), 30, "the small one came")
    assert (receiver.target / "test-site" / "large.bin").read_bytes() == large


def test_without_it_the_doctor_names_the_setting(forwarding: Pair, shell: Shell) -> None:
    """The server itself has no JetStream."""
    found = {one["check"]: one for one in json.loads(shell("doctor", "--json", NATS_URL=forwarding.leaf.url).out)}
    assert "NATS_JS_DOMAIN" in found["stream"]["remedy"]


def delivers(daemon: DaemonProcess) -> None:
    """Its file has its receipt."""
    eventually(lambda: bool(daemon.rows("published")), 60, "there is a receipt")


def test_two_streams_on_one_subject_are_told(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, shell: Shell
) -> None:
    """A hub and a leaf node in one account have the stream each: start and doctor say so, and only ours counts."""
    pair = Pair(make_nats_server, "domain: leaf")
    for server in (pair.hub, pair.leaf):
        daemon = make_daemon(server.url, folder=f"at-{server.port}")
        daemon.start()
        daemon.drop("first", b"%d" % server.port)
        delivers(daemon)
    (line,) = daemon.logged("several_streams", at_least=1)
    assert line["streams"] == 2
    found = {one["check"]: one for one in json.loads(shell("doctor", "--json", NATS_URL=pair.leaf.url).out)}
    assert found["one_stream"]["level"] == "warning"
    last = asyncio.run(messages(pair.leaf.url, "swarm_jobs"))[-1]
    assert daemon.rows("published")[-1]["stream_seq"] == last.seq
