"""A site of an earlier version, whose large files lie in the bucket of all sites: it goes on, and doubles nothing."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from hashlib import sha256
from typing import Any

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.client import connect
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import Held, held, read_object
from tests.support.shell import Shell

pytestmark = pytest.mark.integration

FORMER, OWN = "edge_replay", "edge_replay_test-site"


def api(url: str, call: str, **ask: Any) -> dict[str, Any]:
    """What JetStream answers."""

    async def asked() -> dict[str, Any]:
        client = await connect(url)
        try:
            answer = await client.request(f"$JS.API.{call}", json.dumps(ask).encode() if ask else b"", 10)
            found: dict[str, Any] = json.loads(answer.data)
            return found
        finally:
            await client.close()

    return asyncio.run(asked())


def make_bucket(url: str, bucket: str) -> None:
    """As an operator does."""
    subjects = [f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"]
    config = {"subjects": subjects, "discard": "new", "allow_rollup_hdrs": True, "allow_direct": True}
    assert "error" not in api(url, f"STREAM.CREATE.OBJ_{bucket}", name=f"OBJ_{bucket}", **config)


def stored(url: str, bucket: str) -> Held:
    """What a bucket holds; nothing where there is none."""
    return asyncio.run(held(url, f"OBJ_{bucket}"))


def has_bucket(url: str, bucket: str) -> bool:
    """Whether it is there."""
    return "error" not in api(url, f"STREAM.INFO.OBJ_{bucket}")


def delivered(daemon: DaemonProcess, count: int) -> list[dict[str, Any]]:
    """The receipts, when there are so many."""
    eventually(lambda: len(daemon.rows_so_far("published", "duplicate")) == count, 60, f"{count} receipts")
    return daemon.rows("published", "duplicate")


@pytest.fixture
def large() -> bytes:
    """Too large for a message."""
    return os.urandom(3 << 20)


def of_before(server: NatsServer, make_daemon: MakeDaemon, data: bytes) -> DaemonProcess:
    """A daemon that has delivered this file as earlier versions do; it is stopped."""
    daemon = make_daemon(server.url, SYNC_BUCKET=FORMER, SYNC_HOLD_SECONDS="0")
    daemon.start()
    daemon.drop("before.bin", data)
    delivered(daemon, 1)
    daemon.stop()
    daemon.env.pop("SYNC_BUCKET")
    return daemon


def test_a_site_goes_on_with_the_bucket_that_is_there(
    nats_server: NatsServer, make_daemon: MakeDaemon, shell: Shell, large: bytes
) -> None:
    """The start and the doctor say so; no other bucket is made, and what is there is known again."""
    daemon = of_before(nats_server, make_daemon, large)
    daemon.start()
    (line,) = daemon.logged("shared_bucket", at_least=1)
    assert (line["bucket"], line["missing"]) == (FORMER, OWN)
    daemon.drop("again.bin", large)
    new = os.urandom(2 << 20)
    daemon.drop("new.bin", new)
    rows = {row["path"]: row for row in delivered(daemon, 3)}

    assert rows["again.bin"]["event"] == "duplicate"
    assert rows["again.bin"]["object"] == f"{FORMER}/{sha256(large).hexdigest()}"
    assert rows["new.bin"]["object"] == f"{FORMER}/{sha256(new).hexdigest()}"
    assert not has_bucket(nats_server.url, OWN)
    found = shell("doctor", "--json", NATS_URL=nats_server.url, SITE="test-site")
    said = {one["check"]: (one["level"], one["said"], one["remedy"]) for one in json.loads(found.out)}["bucket"]
    assert said[0] == "warning"
    assert OWN in said[2]
    verified = shell(
        *("verify", "--stream", "--content"),
        NATS_URL=nats_server.url,
        SYNC_LEDGER_DIR=str(daemon.ledger),
        SITE="test-site",
    )
    assert verified.code == 0, verified


def test_with_a_bucket_of_its_own_beside_it_nothing_lies_in_both(
    nats_server: NatsServer, make_daemon: MakeDaemon, large: bytes
) -> None:
    """An upload that was cut goes on where it was begun; what is whole there is known again; new files go to ours."""
    daemon = of_before(nats_server, make_daemon, large)
    daemon.env |= {"SYNC_BUCKET": FORMER, "SYNC_BWLIMIT": "1M"}
    daemon.start()
    cut = os.urandom(6 << 20)
    daemon.drop("cut.bin", cut)
    before = stored(nats_server.url, FORMER).messages
    eventually(lambda: stored(nats_server.url, FORMER).messages > before + 8, 30, "some chunks are stored")
    daemon.kill()
    some = Counter(stored(nats_server.url, FORMER).subjects)
    make_bucket(nats_server.url, OWN)
    for setting in ("SYNC_BUCKET", "SYNC_BWLIMIT"):
        daemon.env.pop(setting)
    daemon.start()
    daemon.drop("again.bin", large)
    new = os.urandom(2 << 20)
    daemon.drop("new.bin", new)
    rows = {row["path"]: row for row in delivered(daemon, 4)}

    assert rows["cut.bin"]["object"] == f"{FORMER}/{sha256(cut).hexdigest()}"
    assert (rows["again.bin"]["event"], rows["again.bin"]["object"]) == (
        "duplicate",
        f"{FORMER}/{sha256(large).hexdigest()}",
    )
    assert rows["new.bin"]["object"] == f"{OWN}/{sha256(new).hexdigest()}"
    assert not daemon.logged("upload_begun_again")
    assert asyncio.run(read_object(nats_server.url, FORMER, sha256(cut).hexdigest())) == sha256(cut).hexdigest()
    assert some.keys() <= Counter(stored(nats_server.url, FORMER).subjects).keys()
    assert len({subject for subject in stored(nats_server.url, OWN).subjects if ".C." in subject}) == 1


def test_an_object_that_was_lost_is_made_whole_where_its_message_names_it(
    nats_server: NatsServer, make_daemon: MakeDaemon, large: bytes
) -> None:
    """The message on our subject stays for ever, so its object has to be there, and in no other bucket."""
    daemon = of_before(nats_server, make_daemon, large)
    make_bucket(nats_server.url, OWN)
    api(nats_server.url, f"STREAM.PURGE.OBJ_{FORMER}")
    daemon.start()
    daemon.drop("again.bin", large)
    row = delivered(daemon, 2)[-1]

    name = sha256(large).hexdigest()
    assert (row["event"], row["object"]) == ("duplicate", f"{FORMER}/{name}")
    assert asyncio.run(read_object(nats_server.url, FORMER, name)) == name


def test_where_that_bucket_is_gone_the_file_is_set_aside(
    nats_server: NatsServer, make_daemon: MakeDaemon, large: bytes
) -> None:
    """Its subject is taken by a message without content. Nothing else waits for it."""
    daemon = of_before(nats_server, make_daemon, large)
    api(nats_server.url, f"STREAM.DELETE.OBJ_{FORMER}")
    daemon.start()
    daemon.drop("again.bin", large)
    daemon.drop("new.bin", os.urandom(2 << 20))
    delivered(daemon, 2)
    eventually(lambda: bool(daemon.rows("refused")), 30, "it is refused")
    assert daemon.rows("refused")[0]["reason"] == "subject_taken"
    assert not has_bucket(nats_server.url, FORMER)


def test_an_object_of_a_bucket_that_the_settings_named_before_counts(
    nats_server: NatsServer, make_daemon: MakeDaemon, large: bytes
) -> None:
    """It is read, and has our bytes."""
    daemon = make_daemon(nats_server.url, SYNC_BUCKET="evidence", SYNC_HOLD_SECONDS="0")
    daemon.start()
    daemon.drop("before.bin", large)
    delivered(daemon, 1)
    daemon.stop()
    daemon.env.pop("SYNC_BUCKET")
    daemon.start()
    daemon.drop("again.bin", large)
    row = delivered(daemon, 2)[-1]
    assert (row["event"], row["object"]) == ("duplicate", f"evidence/{sha256(large).hexdigest()}")
