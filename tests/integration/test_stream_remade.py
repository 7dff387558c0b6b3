"""The stream is deleted and made anew, or set otherwise, while the connection of a running daemon stays up."""

from __future__ import annotations

import asyncio

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.audit import File, audit
from tests.support.client import connect
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import messages, read_object
from tests.support.owner import call

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STREAM = "swarm_jobs"
BUCKET = "edge_replay_test-site"
FILES = [(f"f{number:02}", b"evidence %d" % number) for number in range(50)]
LARGE = [(f"large{number}", bytes([number]) * (2 << 20)) for number in range(3)]
LATER = [(f"later{number}", b"evidence of later %d" % number) for number in range(2)]


async def remake(url: str, name: str = STREAM, others: int = 0) -> None:
    """Deletes the stream and makes it as it was; so many messages of another site come first."""
    config = (await call(url, f"STREAM.INFO.{name}"))["config"]
    stays = {"name": "stays", "subjects": ["stays"]}
    await call(url, "STREAM.CREATE.stays", stays)  # without it the server removes the folder of all streams
    await call(url, f"STREAM.DELETE.{name}")
    await call(url, f"STREAM.CREATE.{name}", config)
    client = await connect(url)
    try:
        for number in range(others):
            await client.jetstream().publish(f"edge.replay.other.{number}", b"of another site")
    finally:
        await client.close()


def deliver(daemon: DaemonProcess, files: list[tuple[str, bytes]]) -> None:
    """Drops them and waits until they are gone."""
    for name, data in files:
        daemon.drop(name, data)
    eventually(lambda: not daemon.waiting(), 60, "all is delivered")


def all_there(url: str) -> bool:
    """Whether the stream has the content of each file."""
    found = {one.data for one in asyncio.run(messages(url, STREAM))}
    return {data for _, data in FILES} <= found


def test_sequences_that_go_back_are_evidence(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """49, 50, 1, 2: the hold is checked, and the 50 contents come again."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    deliver(daemon, FILES)
    asyncio.run(remake(nats_server.url))

    deliver(daemon, LATER)
    eventually(lambda: all_there(nats_server.url), 30, "what was lost is there again")
    eventually(lambda: not daemon.waiting(), 30, "all is delivered")
    assert daemon.logged("sequence_went_back", at_least=1)
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0
    assert len(daemon.rows("held_lost")) == 50
    assert daemon.stop() == 0
    files = [File.of(name.encode(), data) for name, data in [*FILES, *LATER]]
    assert audit(nats_server.url, STREAM, daemon.replay, daemon.ledger, files).problems == []


def test_nothing_held_is_deleted_before_the_stream_is_looked_at(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """Sequences go on, because another site was quicker; nothing more is delivered; only the creation time tells."""
    daemon = make_daemon(nats_server.url, SYNC_HOLD_SECONDS="4")
    daemon.start()
    deliver(daemon, FILES)
    asyncio.run(remake(nats_server.url, others=60))

    eventually(lambda: len(daemon.rows_so_far("held_lost")) == 50, 30, "the hold is checked before it is emptied")
    eventually(lambda: all_there(nats_server.url), 30, "what was lost is there again")
    eventually(lambda: daemon.metric("syncdaemon_held_files") == 0, 30, "and then the hold is emptied")
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0
    assert daemon.stop() == 0
    assert all_there(nats_server.url)


@pytest.mark.parametrize("anew", [True, False], ids=["made-anew", "gone"])
def test_objects_of_a_bucket_that_was_deleted_come_again(
    nats_server: NatsServer, make_daemon: MakeDaemon, anew: bool
) -> None:
    """No large file comes after it, and the hold would be emptied in seconds: each time the bucket is looked at first.

    The messages are there all the time. Only the objects that they name are gone, and come again from the hold.
    """
    daemon = make_daemon(nats_server.url, SYNC_HOLD_SECONDS="6")
    daemon.start()
    deliver(daemon, LARGE)
    if anew:
        asyncio.run(remake(nats_server.url, f"OBJ_{BUCKET}"))
    else:
        asyncio.run(call(nats_server.url, f"STREAM.DELETE.OBJ_{BUCKET}"))

    eventually(lambda: len(daemon.rows_so_far("held_lost")) == 3, 30, "the hold is checked before it is emptied")
    eventually(lambda: len(daemon.rows_so_far("published")) == 6, 60, "the objects are there again")
    eventually(lambda: daemon.metric("syncdaemon_held_files") == 0, 30, "and then the hold is emptied")
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0
    assert daemon.stop() == 0
    assert daemon.logged("bucket_changed", at_least=1)
    for message in asyncio.run(messages(nats_server.url, STREAM)):
        bucket, _, name = message.headers["Edge-Object"].partition("/")
        assert asyncio.run(read_object(nats_server.url, bucket, name)) == name


def test_a_bucket_that_is_made_anew_between_two_large_files(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """The next large file finds the bucket gone and makes it: what went with the old one comes again, too."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    deliver(daemon, LARGE[:2])
    asyncio.run(call(nats_server.url, f"STREAM.DELETE.OBJ_{BUCKET}"))
    deliver(daemon, LARGE[2:])

    eventually(lambda: len(daemon.rows_so_far("published")) == 5, 60, "all three are there, two of them again")
    assert daemon.stop() == 0
    assert len(daemon.rows("held_lost")) == 2
    for message in asyncio.run(messages(nats_server.url, STREAM)):
        bucket, _, name = message.headers["Edge-Object"].partition("/")
        assert asyncio.run(read_object(nats_server.url, bucket, name)) == name
