"""Objects that no message names: listed, taken out when they are forgotten, and never while their message may come."""

from __future__ import annotations

import json
import os
from hashlib import sha256

import pytest
from nats.js import JetStreamContext

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.receiver import STREAM, MakeReceiver, at_server, received
from tests.support.server import MakeNatsServer
from tests.support.shell import Shell, one_line

pytestmark = [pytest.mark.integration, pytest.mark.lengthy]

SITE = "test-site"
BUCKET = f"OBJ_edge_replay_{SITE}"
SMALL = "max_payload: 20000"  # so that a small file is a large one


def in_bucket(url: str) -> int:
    """How many messages the bucket has: chunks and metas."""

    async def work(js: JetStreamContext) -> int:
        return int((await js.stream_info(BUCKET)).state.messages)

    count: int = at_server(url, work)
    return count


def forget(url: str, data: bytes) -> None:
    """The stream forgets the message of this content, as after its `max_age`."""

    async def work(js: JetStreamContext) -> None:
        assert await js.purge_stream(STREAM, subject=f"edge.replay.{SITE}.{sha256(data).hexdigest()}")

    at_server(url, work)


@pytest.fixture
def server(make_nats_server: MakeNatsServer) -> NatsServer:
    made = make_nats_server(config=SMALL)
    made.start()
    return made


def delivered(daemon: DaemonProcess, *files: bytes) -> None:
    """A daemon has delivered these, as objects."""
    daemon.start()
    for number, data in enumerate(files):
        daemon.drop(f"f{number}", data)
    eventually(lambda: objects_of(daemon) == len(files), 30, "they are delivered")


def objects_of(daemon: DaemonProcess) -> int:
    """How many of its receipts name an object."""
    return sum(b'"object":' in row for row in daemon.rows_so_far("published"))


def test_what_no_message_names_is_listed_and_goes_when_it_is_forgotten(
    server: NatsServer, make_daemon: MakeDaemon, shell: Shell
) -> None:
    """By default a message has 28 days to come. What a message names never goes, and a small file's stream is seen."""
    url = server.url
    files = [os.urandom(60_000) for _ in range(3)]
    daemon = make_daemon(url, SYNC_STREAM_CREATE="true")
    daemon.drop("small", b"small")
    delivered(daemon, *files[:2])
    daemon.drop("named", files[2])
    eventually(lambda: len(daemon.rows_so_far("published")) == 4, 30, "they are delivered")
    assert shell("bucket", "orphans", NATS_URL=url).out.endswith(
        "0 objects that no message of swarm_jobs names, 0 bytes\n"
    )
    for data in files[:2]:
        forget(url, data)
    full = in_bucket(url)
    listed = shell("bucket", "orphans", NATS_URL=url)
    assert listed.code == 0
    for data in files[:2]:
        assert f"{sha256(data).hexdigest()}  58.6 KiB  no message names it" in listed.out
    assert sha256(files[2]).hexdigest() not in listed.out
    assert "2 objects that no message of swarm_jobs names, 117.2 KiB" in listed.out
    assert "2 objects of edge_replay_test-site (117.2 KiB) are named by no message" in shell("doctor", NATS_URL=url).out

    young = shell("bucket", "orphans", "--delete", NATS_URL=url)
    assert young.code == 0
    assert "its message may still come" in young.out
    assert young.out.endswith("0 taken out, 2 kept\n")
    assert in_bucket(url) == full
    old = shell("bucket", "orphans", "--delete", "--older-than", "0s", NATS_URL=url)
    assert old.out.endswith("2 taken out, 0 kept\n")
    left = in_bucket(url)
    assert 0 < left < full
    assert shell("bucket", "orphans", "--delete", "--older-than", "0s", NATS_URL=url).out.startswith("edge_replay")
    assert in_bucket(url) == left
    ended = shell("verify", "--stream", "--content", SYNC_LEDGER_DIR=str(daemon.ledger), NATS_URL=url)
    assert "2 lost" in ended.out, "only those whose message was purged"


def test_what_can_not_be_seen_is_not_deleted(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, shell: Shell
) -> None:
    """With a login that may not look into the stream, no object goes, however old."""
    users = (
        "authorization { users: [ { user: admin, password: pw }, { user: site, password: pw, permissions: {"
        f' publish: ["$JS.API.STREAM.INFO.{BUCKET}", "$JS.API.STREAM.MSG.GET.{BUCKET}",'
        f' "$JS.API.STREAM.PURGE.{BUCKET}", "$JS.API.DIRECT.GET.{STREAM}.edge.replay.{SITE}.>"],'
        ' subscribe: ["_INBOX.>"] } } ] }'
    )
    server = make_nats_server(config=f"{SMALL}\n{users}")
    server.start()
    admin = server.url.replace("nats://", "nats://admin:pw@")
    data = os.urandom(60_000)
    delivered(make_daemon(admin), data)
    forget(admin, data)
    full = in_bucket(admin)
    login = {"NATS_USER": "site", "NATS_PASSWORD": "pw", "NATS_URL": server.url}
    ended = shell("bucket", "orphans", "--delete", "--older-than", "0s", **login)
    assert ended.code == 0, ended
    assert "its messages can't be seen" in ended.out
    assert in_bucket(admin) == full


def test_a_bucket_of_all_sites_is_left_alone(server: NatsServer, shell: Shell) -> None:
    line = one_line(shell("bucket", "orphans", NATS_URL=server.url, SYNC_BUCKET="edge_replay"), 2)
    assert line.startswith("SYNC_BUCKET: other sites may use edge_replay")


def test_large_files_that_were_received_leave_the_bucket(
    server: NatsServer, make_daemon: MakeDaemon, make_receiver: MakeReceiver
) -> None:
    """Also those that a killed worker left behind. One that another message names stays until that is received."""
    url = server.url
    own = {"SYNC_STREAM_FREE": "true", "SYNC_TOMBSTONES": "delivered"}
    daemon = make_daemon(url, **own)
    files = [os.urandom(60_000) for _ in range(4)]
    delivered(daemon, *files)
    assert in_bucket(url) > 8
    receiver = make_receiver(url, "--free")
    receiver.start()
    eventually(lambda: in_bucket(url) == 0, 30, "the bucket is empty")
    assert received(receiver.target) == {f"{SITE}/f{number}": data for number, data in enumerate(files)}
    daemon.drop("again", files[0])
    eventually(lambda: daemon.rows_so_far("duplicate"), 30, "it is known")
    eventually(lambda: daemon.metric("replay_queue_depth") == 0, what="nothing waits")
    receiver.kill()
    again = make_receiver(url, "--free", target=receiver.target)
    again.start()
    eventually(lambda: in_bucket(url) == 0, 30, "what the repetition stored is gone, too")
    assert len(received(receiver.target)) == 4


def test_an_object_that_two_messages_name_stays_for_the_second(
    server: NatsServer, make_daemon: MakeDaemon, make_receiver: MakeReceiver
) -> None:
    """Two paths with one content, a message each (SYNC_MSG_ID=path): both files are received whole."""
    url = server.url
    daemon = make_daemon(url, SYNC_STREAM_FREE="true", SYNC_MSG_ID="path")
    data = os.urandom(60_000)
    delivered(daemon, data, data)
    receiver = make_receiver(url, "--free", "--batch", "1")
    receiver.start()
    eventually(lambda: len(received(receiver.target)) == 2, 30, "both are received")
    assert set(received(receiver.target).values()) == {data}
    info = json.loads(receiver.get("/status"))
    assert info["processed"] <= 2
