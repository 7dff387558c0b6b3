"""The other end against a real server: files whole and once, whoever is killed, frozen, full, slow or wrong."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from nats.js import JetStreamContext
from nats.js.api import ObjectStoreConfig

from syncdaemon.dev.server import HOST, NatsServer
from tests.support import needs
from tests.support.daemon import MakeDaemon, eventually
from tests.support.proxy import Proxy
from tests.support.receiver import (
    STREAM,
    MakeReceiver,
    Receiver,
    at_server,
    drafts,
    headers,
    make_stream,
    publish,
    received,
)
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.lengthy]

CONSUMER = "worker-staging"
QUICK = {"durable_name": CONSUMER, "name": CONSUMER, "ack_policy": "explicit", "deliver_policy": "all"}


def feed(url: str, messages: list[tuple[dict[str, str], bytes]]) -> None:
    """Publishes these, into the stream as the daemon makes it."""

    async def work(js: JetStreamContext) -> None:
        await make_stream(js)
        for start in range(0, len(messages), 200):
            await asyncio.gather(*(publish(js, *message) for message in messages[start : start + 200]))

    at_server(url, work)


def files(count: int, size: int = 100, site: str = "edge-1") -> dict[str, bytes]:
    """Different contents by path."""
    return {f"d{at % 10}/f{at:05}": f"{site} {at} ".encode() + os.urandom(size) for at in range(count)}


def messages_of(files: dict[str, bytes], site: str = "edge-1") -> list[tuple[dict[str, str], bytes]]:
    return [(headers(path, data, site), data) for path, data in files.items()]


def expected(files: dict[str, bytes], site: str = "edge-1") -> dict[str, bytes]:
    return {f"{site}/{path}": data for path, data in files.items()}


def make_consumer(url: str, **config: Any) -> None:
    """The consumer, made by somebody else before."""

    async def work(js: JetStreamContext) -> None:
        request = {"stream_name": STREAM, "config": QUICK | config}
        answer = await js._nc.request(f"$JS.API.CONSUMER.CREATE.{STREAM}.{CONSUMER}", json.dumps(request).encode())
        assert "error" not in json.loads(answer.data), answer.data

    at_server(url, work)


def consumer(url: str) -> dict[str, Any]:
    """What the server says of the consumer."""

    async def work(js: JetStreamContext) -> dict[str, Any]:
        answer = await js._nc.request(f"$JS.API.CONSUMER.INFO.{STREAM}.{CONSUMER}", b"")
        found: dict[str, Any] = json.loads(answer.data)
        return found

    result: dict[str, Any] = at_server(url, work)
    return result


def drained(url: str) -> bool:
    """Nothing is left, and nothing is being worked on."""
    found = consumer(url)
    return "error" not in found and found["num_pending"] == found["num_ack_pending"] == 0


def rejected(receiver: Receiver) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """By reason: the body of a message that was set aside, and its sidecar."""
    folder = receiver.target / ".rejected"
    sidecars = {path: json.loads(path.read_text()) for path in folder.glob("*.reason.json")}
    return {
        told["reason"]: (path.with_name(path.name.removesuffix(".reason.json")).read_bytes(), told)
        for path, told in sidecars.items()
    }


# Every day.


def test_messages_become_files_and_are_acknowledged(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """Whatever their names; the numbers add up, and the consumer that was made is as documented."""
    names: list[str | bytes] = ["plain", "a b/ä", b"\xff\xfe/\x01\n", "~", "...", "x" * 255, "/".join(["deep"] * 60)]
    messages = [(headers(name, data := os.urandom(50)), data) for name in names]
    messages.append((headers("empty", b""), b""))
    feed(nats_server.url, messages)
    receiver = make_receiver(nats_server.url)
    receiver.start()
    eventually(lambda: drained(nats_server.url), what="all is acknowledged")
    assert len(received(receiver.target)) == len(messages)
    for name, (_, data) in zip(names, messages, strict=False):
        assert (receiver.target / "edge-1" / os.fsdecode(name)).read_bytes() == data
    assert (receiver.target / "edge-1/plain").stat().st_mtime_ns == 1_700_000_000_000_000_000

    eventually(lambda: receiver.metric("nats_worker_processed_total") == len(messages), what="all are counted")
    assert receiver.metric("nats_worker_processed_bytes_total") == sum(len(data) for _, data in messages)
    assert receiver.metric("nats_worker_redelivered_total") == 0
    assert receiver.metric("nats_worker_link_status") == 1
    assert receiver.metric("nats_worker_in_flight") == 0
    assert receiver.metric("nats_worker_processing_seconds_count") == len(messages)
    assert [receiver.status(page) for page in ("/livez", "/readyz", "/healthz")] == [200, 200, 200]
    assert json.loads(receiver.get("/status"))["processed"] == len(messages)

    config = consumer(nats_server.url)["config"]
    assert config["ack_policy"] == "explicit"
    assert config["ack_wait"] == 60_000_000_000
    assert config["max_ack_pending"] == 4096
    assert config.get("max_deliver", -1) == -1
    assert receiver.stop() == 0
    assert drafts(receiver.target) == []
    assert "Traceback" not in receiver.log()
    assert "never retrieved" not in receiver.log()


def test_it_starts_before_server_and_stream(make_nats_server: MakeNatsServer, make_receiver: MakeReceiver) -> None:
    """And is live and ready all the while: what it waits for is not its own."""
    server = make_nats_server()
    receiver = make_receiver(server.url)
    receiver.start()
    assert receiver.metric("nats_worker_link_status") == 0
    assert [receiver.status(page) for page in ("/livez", "/readyz", "/healthz")] == [200, 200, 503]
    server.start()
    eventually(lambda: "no stream" in json.loads(receiver.get("/status"))["paused"], what="it says what is missing")
    wanted = files(20)
    feed(server.url, messages_of(wanted))
    eventually(lambda: received(receiver.target) == expected(wanted), what="the files are there")
    assert receiver.stop() == 0


def test_a_filter_takes_only_its_subjects(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    one, two = files(10, site="one"), files(10, site="two")
    feed(nats_server.url, messages_of(one, "one") + messages_of(two, "two"))
    receiver = make_receiver(nats_server.url, "--filter", "edge.replay.two.*")
    receiver.start()
    eventually(lambda: drained(nats_server.url), what="all is acknowledged")
    assert received(receiver.target) == expected(two, "two")


def test_an_existing_consumer_is_used_and_never_altered(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    wanted = files(300)
    feed(nats_server.url, messages_of(wanted))
    limits = {"max_ack_pending": 5, "max_batch": 3, "max_bytes": 4_000, "max_expires": 2_000_000_000}
    make_consumer(nats_server.url, ack_wait=7_000_000_000, description="theirs", **limits)
    before = consumer(nats_server.url)
    receiver = make_receiver(nats_server.url)
    receiver.start()
    eventually(lambda: drained(nats_server.url), what="all is acknowledged")
    assert received(receiver.target) == expected(wanted)
    assert not receiver.logged("pulling_paused")
    after = consumer(nats_server.url)
    assert (after["config"], after["created"]) == (before["config"], before["created"])


@pytest.mark.parametrize(
    ("config", "arguments", "said"),
    [
        ({"deliver_subject": "elsewhere"}, (), "it pushes its messages"),
        ({"ack_policy": "all"}, (), "its ack_policy is all"),
        ({"filter_subject": "edge.replay.one.*"}, ("--filter", "edge.replay.two.*"), "not --filter edge.replay.two.*"),
        ({}, ("--filter", "edge.replay.two.*"), "it has no filter, not --filter"),
    ],
)
def test_a_consumer_that_can_t_be_used_ends_it_with_one_line(
    nats_server: NatsServer, make_receiver: MakeReceiver, config: dict[str, Any], arguments: tuple[str, ...], said: str
) -> None:
    at_server(nats_server.url, make_stream)
    make_consumer(nats_server.url, **config)
    receiver = make_receiver(nats_server.url, *arguments)
    receiver.launch()
    assert receiver.ended(30) == 2
    lines = [line for line in receiver.log().splitlines() if not line.startswith("{")]
    assert len(lines) == 1
    assert lines[0].startswith(f"syncdaemon: --consumer: {CONSUMER} on {STREAM} is there already, and ")
    assert said in lines[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--consumer", "a.b"), "--consumer: 'a.b' is no name"),
        (("--filter", "a b"), "--filter: 'a b' is no subject"),
        (("--filter", "a..b"), "--filter: 'a..b' is no subject"),
        (("--sync-http-addr", "256.0.0.1:1"), "SYNC_HTTP_ADDR"),
    ],
)
def test_wrong_usage_is_said_in_one_line(make_receiver: MakeReceiver, arguments: tuple[str, ...], said: str) -> None:
    receiver = make_receiver(f"nats://{HOST}:1", *arguments)
    receiver.launch()
    assert receiver.ended(30) == 2
    (line,) = receiver.log().splitlines()
    assert line.startswith(f"syncdaemon: {said}")


def test_a_directory_that_is_a_file_is_said_in_one_line(make_receiver: MakeReceiver, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    receiver = make_receiver(f"nats://{HOST}:1", target=tmp_path / "file")
    receiver.launch()
    assert receiver.ended(30) == 2
    (line,) = receiver.log().splitlines()
    assert line.startswith("syncdaemon: DIR: can't write to ")


def test_permissions_that_are_missing_are_said(make_nats_server: MakeNatsServer, make_receiver: MakeReceiver) -> None:
    """Exit 2 where it may not pull; and where it may not look at the consumer it works all the same."""
    users = (
        "authorization { users: [{user: admin, password: p}, {user: blind, password: p, permissions: "
        '{publish: {deny: ["$JS.API.CONSUMER.INFO.>"]}}}, {user: dumb, password: p, permissions: '
        '{publish: {deny: ["$JS.API.CONSUMER.MSG.>"]}}}] }'
    )
    server = make_nats_server(config=users)
    server.start()
    admin = server.url.replace("://", "://admin:p@")
    wanted = files(5)
    feed(admin, messages_of(wanted))
    make_consumer(admin)
    dumb = make_receiver(server.url.replace("://", "://dumb:p@"))
    dumb.launch()
    assert dumb.ended(30) == 2
    assert "syncdaemon: --consumer: these credentials may not pull from it" in dumb.log()
    blind = make_receiver(server.url.replace("://", "://blind:p@"))
    blind.start()
    eventually(lambda: received(blind.target) == expected(wanted), what="the files are there")
    assert blind.logged("consumer_unseen", at_least=1)


def test_the_permissions_on_the_page_are_enough(make_nats_server: MakeNatsServer, make_receiver: MakeReceiver) -> None:
    """To make the consumer, and for small and large files; none is refused."""
    page = (Path(__file__).parents[2] / "docs/RECEIVE.md").read_text()
    allowed = re.findall(r"`(\$JS\.[^`]+)`", page)
    assert len(allowed) == 5
    permissions = f"{{publish: {{allow: {json.dumps(allowed)}}}, subscribe: {{allow: ['_INBOX.>']}}}}"
    users = f"{{user: admin, password: p}}, {{user: worker, password: p, permissions: {permissions}}}"
    server = make_nats_server(config=f"authorization {{ users: [{users}] }}")
    server.start()
    admin = server.url.replace("://", "://admin:p@")
    wanted, data = files(5), os.urandom(3 << 20)
    put(admin, "large", data)
    feed(admin, [*messages_of(wanted), object_message("large.bin", data, "large")])
    worker = make_receiver(server.url.replace("://", "://worker:p@"))
    worker.start()
    eventually(lambda: received(worker.target) == expected(wanted | {"large.bin": data}), what="all is there")
    eventually(lambda: consumer(admin).get("num_ack_pending") == 0, what="all is acknowledged")
    assert "iolation" not in server.log_path.read_text() + worker.log()


# Several, and again.


def test_several_workers_share_the_work(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """On one directory: each file once."""
    wanted = files(3_000)
    at_server(nats_server.url, make_stream)
    workers = [make_receiver(nats_server.url) for _ in range(3)]
    for worker in workers:
        worker.start()
    eventually(lambda: consumer(nats_server.url).get("num_waiting") == 3, what="all three are pulling")
    feed(nats_server.url, messages_of(wanted))
    eventually(lambda: drained(nats_server.url), 60, "all is acknowledged")
    assert received(workers[0].target) == expected(wanted)
    counts = [worker.metric("nats_worker_processed_total") for worker in workers]
    assert sum(counts) == len(wanted)
    assert all(counts)
    assert [worker.stop() for worker in workers] == [0, 0, 0]
    assert drafts(workers[0].target) == []


def test_a_worker_that_is_killed_between_write_and_acknowledgement(
    nats_server: NatsServer, make_receiver: MakeReceiver
) -> None:
    """The file is there, the message comes again to another worker, which changes nothing and acknowledges it."""
    wanted = files(30)
    feed(nats_server.url, messages_of(wanted))
    make_consumer(nats_server.url, ack_wait=2_000_000_000)
    with Proxy(nats_server.port, stop_at=b"+ACK") as proxy:
        dying = make_receiver(proxy.url)
        dying.start()
        assert proxy.stopped.wait(30)
        eventually(lambda: received(dying.target) and not drafts(dying.target), what="files are written")
        dying.kill()
    before = {path: path.stat() for path in dying.target.rglob("f0*")}
    assert before, "those that had come when the first acknowledgement left"
    assert consumer(nats_server.url)["num_ack_pending"] >= len(before)
    other = make_receiver(nats_server.url)
    other.start()
    eventually(lambda: drained(nats_server.url), 30, "all is acknowledged")
    eventually(lambda: other.metric("nats_worker_unchanged_total") == len(before), what="they are recognised")
    assert other.metric("nats_worker_redelivered_total") >= len(before)
    assert received(other.target) == expected(wanted)
    after = {path: path.stat() for path in before}
    assert all(
        (after[path].st_ino, after[path].st_mtime_ns, after[path].st_ctime_ns, after[path].st_nlink)
        == (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, 1)
        for path, found in before.items()
    )
    assert drafts(other.target) == []


def test_a_consumer_that_is_deleted_is_made_again_and_all_is_recognised(
    nats_server: NatsServer, make_receiver: MakeReceiver
) -> None:
    wanted = files(50)
    feed(nats_server.url, messages_of(wanted))
    receiver = make_receiver(nats_server.url)
    receiver.start()
    eventually(lambda: drained(nats_server.url), what="all is acknowledged")

    async def delete(js: JetStreamContext) -> None:
        await js.delete_consumer(STREAM, CONSUMER)

    at_server(nats_server.url, delete)
    eventually(lambda: receiver.metric("nats_worker_unchanged_total") == len(wanted), 30, "all came again")
    assert received(receiver.target) == expected(wanted)


def test_a_name_that_is_used_again_keeps_both(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    feed(nats_server.url, [(headers("a", b"one"), b"one")])
    receiver = make_receiver(nats_server.url)
    receiver.start()
    eventually(lambda: received(receiver.target), what="the first")
    feed(nats_server.url, [(headers("a", b"two"), b"two"), (headers("a/b", b"below"), b"below")])
    eventually(lambda: len(received(receiver.target)) == 3, what="all three")
    short = {data: hashlib.sha256(data).hexdigest()[:16] for data in (b"two", b"below")}
    assert received(receiver.target) == {
        "edge-1/a": b"one",
        f"edge-1/a~{short[b'two']}": b"two",
        f"edge-1/a~{short[b'below']}/b": b"below",
    }
    eventually(lambda: receiver.metric("nats_worker_beside_total") == 2, what="both are counted")
    assert len(receiver.logged("kept_beside", at_least=2)) == 2


# Bad messages.


def test_bad_messages_are_terminated_and_kept_aside(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """With the reason in the sidecar, in the metric and in the server's advisory; the good ones go on."""
    bad = {
        "digest_wrong": (headers("w", b"right"), b"wrong"),
        "too_long": (headers("l", b"abc"), b"abcd"),
        "too_short": (headers("s", b"abc"), b"ab"),
        "header_missing": (headers("h", b"abc", Edge_Sha256=None), b"abc"),
        "bad_header": (headers("b", b"abc", Edge_Size="many"), b"abc"),
        "bad_path": (headers("p", b"abc", Edge_Path="../../etc/passwd"), b"abc"),
        "path_too_long": (headers("x" * 256, b"abc"), b"abc"),
        "unknown_encoding": (headers("e", b"abc", Content_Encoding="br"), b"abc"),
        "undecodable": (headers("u", b"abc", Content_Encoding="zstd"), b"abc"),
    }
    good = files(20)
    terminated: list[dict[str, Any]] = []

    async def work(js: JetStreamContext) -> None:
        subject = f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{STREAM}.{CONSUMER}"
        advisories = await js._nc.subscribe(subject)
        await make_stream(js)
        for fields, body in [*bad.values(), *messages_of(good)]:
            await publish(js, {name: value for name, value in fields.items() if name != "Nats-Msg-Id"}, body)
        await js._nc.publish("edge.replay.x.y", b"no header at all")
        await asyncio.to_thread(receiver.start)
        while len(terminated) < len(bad) + 1:
            terminated.append(json.loads((await advisories.next_msg(30)).data))

    receiver = make_receiver(nats_server.url)
    at_server(nats_server.url, work)
    eventually(lambda: drained(nats_server.url), what="nothing is left")
    assert received(receiver.target) == expected(good)
    assert not (receiver.target.parent / "etc").exists()

    found = rejected(receiver)
    assert set(found) == set(bad)  # the one without headers is a second header_missing
    for reason, (body, told) in found.items():
        assert body in (bad[reason][1], b"no header at all")
        assert told["sha256"] == hashlib.sha256(body).hexdigest()
        assert told["stream"] == STREAM
        assert told["error"]
    assert found["bad_path"][1]["headers"]["Edge-Path"] == "../../etc/passwd"
    assert len(list((receiver.target / ".rejected").glob("*.reason.json"))) == len(bad) + 1
    reasons = sorted(advisory["reason"].partition(":")[0] for advisory in terminated)
    assert reasons == sorted([*bad, "header_missing"])
    for reason in bad:
        eventually(
            lambda reason=reason: receiver.metric("nats_worker_failed_total", reason=reason) >= 1,  # type: ignore[misc]
            what=f"{reason} is counted",
        )
    assert len(receiver.logged("message_rejected", len(bad) + 1)) == len(bad) + 1


def test_compressed_messages_are_decoded_and_bombs_are_not(
    nats_server: NatsServer, make_receiver: MakeReceiver
) -> None:
    """A gigabyte of nothing in 32 KiB: it costs neither memory nor disk."""
    data = b"evidence " * 100_000
    packed = zstandard.compress(data)
    bomb = zstandard.compress(b"\0" * (1 << 30))
    receiver = make_receiver(nats_server.url)
    receiver.start()
    before = memory(receiver)
    feed(
        nats_server.url,
        [
            (headers("good", data, Content_Encoding="zstd"), packed),
            (headers("bomb", b"small", Content_Encoding="zstd"), bomb),
        ],
    )
    eventually(lambda: drained(nats_server.url), what="nothing is left")
    assert received(receiver.target) == {"edge-1/good": data}
    assert rejected(receiver)["too_long"][0] == bomb
    assert memory(receiver) - before < 32 << 20


def memory(receiver: Receiver, field: str = "VmHWM") -> int:
    """The most memory that the process has ever had, in bytes."""
    lines = Path(f"/proc/{receiver.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


# Large files.


def put(url: str, name: str, data: bytes, bucket: str = "edge_replay") -> None:
    """Into the object store, as nats-py does it."""

    async def work(js: JetStreamContext) -> None:
        store = await js.create_object_store(bucket, config=ObjectStoreConfig(bucket=bucket))
        await store.put(name, data)

    at_server(url, work)


def object_message(path: str, data: bytes, name: str, **changes: str | None) -> tuple[dict[str, str], bytes]:
    return headers(path, data, "edge-1", Edge_Object=f"edge_replay/{name}", **changes), b""


def test_large_files_are_fetched_in_constant_memory(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """Ten times the size costs no more; an object may be empty, compressed, or have a name with blanks."""
    receiver = make_receiver(nats_server.url)
    receiver.start()
    small, large = os.urandom(20 << 20), os.urandom(200 << 20)
    put(nats_server.url, "small", small)
    feed(nats_server.url, [object_message("small.bin", small, "small")])
    eventually(lambda: drained(nats_server.url), 60, "the small one is there")
    before = memory(receiver)
    put(nats_server.url, "large", large)
    feed(nats_server.url, [object_message("large.bin", large, "large")])
    eventually(lambda: drained(nats_server.url), 90, "the large one is there")
    assert memory(receiver) - before < 24 << 20
    target = receiver.target / "edge-1"
    assert (target / "small.bin").read_bytes() == small
    assert (target / "large.bin").read_bytes() == large

    packed = zstandard.compress(text := b"evidence " * 1_000_000)
    put(nats_server.url, "with a blank", packed)
    put(nats_server.url, "empty", b"")
    feed(
        nats_server.url,
        [
            object_message("text", text, "with a blank", Content_Encoding="zstd"),
            object_message("none", b"", "empty"),
        ],
    )
    eventually(lambda: drained(nats_server.url), 30, "both are there")
    assert (target / "text").read_bytes() == text
    assert (target / "none").read_bytes() == b""
    assert receiver.stop() == 0
    assert drafts(receiver.target) == []
    left = at_server(nats_server.url, lambda js: js.consumers_info("OBJ_edge_replay"))
    assert left == [], "its consumers are gone"


def test_an_object_that_comes_later_than_its_message(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """It is asked for again; meanwhile everything else goes on."""
    data = os.urandom(3 << 20)
    other = files(5)
    feed(nats_server.url, [object_message("late.bin", data, "late"), *messages_of(other)])
    receiver = make_receiver(nats_server.url)
    receiver.start()
    eventually(lambda: received(receiver.target) == expected(other), what="the others are there")
    eventually(lambda: receiver.metric("nats_worker_failed_total", reason="object_missing") == 1, what="it is put back")
    put(nats_server.url, "late", data)
    eventually(lambda: drained(nats_server.url), 40, "it came")
    assert received(receiver.target) == expected(other | {"late.bin": data})


def test_objects_that_are_wrong_are_kept_aside(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """What was fetched of them too."""
    put(nats_server.url, "other", b"not this" * 100_000)
    feed(nats_server.url, [object_message("wrong", b"but this" * 100_000, "other"), object_message("s", b"x", "other")])
    receiver = make_receiver(nats_server.url)
    receiver.start()
    eventually(lambda: drained(nats_server.url), what="both are terminated")
    found = rejected(receiver)
    assert set(found) == {"digest_wrong", "too_long"}
    assert found["digest_wrong"][0] == b"not this" * 100_000
    assert received(receiver.target) == {}


def test_chunks_that_are_missing_do_not_hang_it(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """Whether all of them or a few; nor does an object that was deleted."""
    objects = {name: os.urandom(2 << 20) for name in ("headless", "torn", "deleted")}
    for name, data in objects.items():
        put(nats_server.url, name, data)

    async def damage(js: JetStreamContext) -> None:
        store = await js.object_store("edge_replay")
        nuids = {name: (await store.get_info(name)).nuid for name in ("headless", "torn")}
        await js.purge_stream("OBJ_edge_replay", subject=f"$O.edge_replay.C.{nuids['headless']}")
        last = await js.get_last_msg("OBJ_edge_replay", f"$O.edge_replay.C.{nuids['torn']}")
        assert last.seq is not None
        await js.delete_msg("OBJ_edge_replay", last.seq)
        await store.delete("deleted")

    at_server(nats_server.url, damage)
    feed(nats_server.url, [object_message(name, data, name) for name, data in objects.items()])
    receiver = make_receiver(nats_server.url)
    receiver.start()
    eventually(
        lambda: receiver.metric("nats_worker_failed_total", reason="object_missing") >= 3, 60, "all are put back"
    )
    details = [event["detail"] for event in receiver.logged("messages_put_back", at_least=1)]  # one a minute and reason
    assert any(f"{missing} of 16 chunks" in detail for detail in details for missing in (0, 15))
    assert drafts(receiver.target) == []
    wanted = files(5)
    feed(nats_server.url, messages_of(wanted))
    eventually(lambda: received(receiver.target) == expected(wanted), what="others go on")


def put_meta(url: str, name: str, pieces: list[bytes], **changes: Any) -> None:
    """An object that somebody made by hand: these chunks, and a meta that says what it likes."""

    async def work(js: JetStreamContext) -> None:
        await js.create_object_store("edge_replay", config=ObjectStoreConfig(bucket="edge_replay"))
        nuid = hashlib.sha256(name.encode()).hexdigest()[:22]
        for piece in pieces:
            await js.publish(f"$O.edge_replay.C.{nuid}", piece)
        meta = {
            "name": name,
            "bucket": "edge_replay",
            "nuid": nuid,
            "size": sum(map(len, pieces)),
            "chunks": len(pieces),
        }
        subject = f"$O.edge_replay.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
        await js.publish(subject, json.dumps(meta | changes).encode())

    at_server(url, work)


def test_a_size_that_can_not_be_keeps_nothing_waiting(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """A message or an object of 8 EiB, or of more chunks than there are: it is rejected, or waits alone.

    It never counts as a full disk, for which all other messages would wait.
    """
    huge = str(2**63 - 1)
    put_meta(nats_server.url, "lies", [b"abc"], size=2**63 - 1)
    put_meta(nats_server.url, "lies little", [b"abc"], size=4)
    put_meta(nats_server.url, "many", [b"abc"], size=2**63 - 1, chunks=2**62)
    put_meta(nats_server.url, "dust", [b""] * 50, size=3)
    data = b"abc"
    messages = [
        (headers("body", data, Edge_Size=huge), data),
        (headers("packed", data, Edge_Size=huge, Content_Encoding="zstd"), zstandard.compress(data)),
        object_message("lies", data, "lies", Edge_Size=huge),
        object_message("little", data, "lies little"),
        object_message("dust", data, "dust"),
        *(object_message(f"many{at}", data, "many", Edge_Size=huge) for at in range(20)),
    ]
    for fields, _ in messages:
        del fields["Nats-Msg-Id"]  # they have one content
    feed(nats_server.url, messages)
    receiver = make_receiver(nats_server.url)
    receiver.start()
    others = files(300)
    feed(nats_server.url, messages_of(others))
    eventually(lambda: received(receiver.target) == expected(others), what="the others are there")
    eventually(lambda: receiver.metric("nats_worker_failed_total", reason="object_missing") >= 21, what="many wait")
    eventually(lambda: len(list((receiver.target / ".rejected").glob("*.json"))) == 4, what="the rest is rejected")
    assert set(rejected(receiver)) == {"too_short", "too_long", "object_wrong"}
    for reason in ("disk_full", "no_room"):
        assert receiver.metric("nats_worker_failed_total", reason=reason) == 0
    assert receiver.logged("pulling_paused") == []
    assert receiver.status("/readyz") == 200
    assert drafts(receiver.target) == []


def test_chunks_that_the_site_took_out_and_sent_anew_are_told_by_their_ids(
    nats_server: NatsServer, make_receiver: MakeReceiver
) -> None:
    """A hub that sources a site's bucket keeps both: of an upload begun again, and of chunks behind a gap.

    And one that a dead connection brings after all is done.
    """
    pieces = [os.urandom(50_000) for _ in range(6)]
    data = b"".join(pieces)
    subject, nuid = "$O.edge_replay.C.", "A" * 22

    async def upload(js: JetStreamContext) -> None:
        await js.create_object_store("edge_replay")
        for generation, numbers in enumerate([(0, 1, 3), (0, 1, 2, 4, 5), (3, 4, 5)]):
            for number in numbers:
                so_far = hashlib.sha256(b"".join(pieces[: number + 1])).hexdigest()[:32]
                fields = {"Nats-Msg-Id": f"{nuid}.{number}.{generation}.{so_far}"}
                await js.publish(subject + nuid, pieces[number], headers=fields)
        sha256 = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
        meta = {"name": "it", "bucket": "edge_replay", "nuid": nuid, "size": len(data), "chunks": len(pieces)}
        name = base64.urlsafe_b64encode(b"it").decode()
        await js.publish(f"$O.edge_replay.M.{name}", json.dumps({**meta, "digest": f"SHA-256={sha256}"}).encode())
        await js.publish(subject + nuid, pieces[2], headers={"Nats-Msg-Id": f"{nuid}.2.3.{'0' * 32}"})

    at_server(nats_server.url, upload)
    feed(nats_server.url, [object_message("it.bin", data, "it")])
    receiver = make_receiver(nats_server.url)
    receiver.start()
    eventually(lambda: received(receiver.target) == {"edge-1/it.bin": data}, what="it is whole")
    assert rejected(receiver) == {}


def test_a_large_file_survives_the_server_being_killed(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """It goes on with the chunk after the last one that came, on a connection that is slow enough to be cut."""
    data = os.urandom(24 << 20)
    put(nats_server.url, "big", data)
    feed(nats_server.url, [object_message("big.bin", data, "big")])
    with Proxy(nats_server.port, rate=6 << 20) as proxy:
        receiver = make_receiver(proxy.url)
        receiver.start()
        eventually(lambda: sum(path.stat().st_size for path in drafts(receiver.target)) > 4 << 20, 30, "some came")
        nats_server.kill()
        nats_server.start()
        eventually(lambda: drained(nats_server.url), 60, "it is there")
    assert received(receiver.target) == {"edge-1/big.bin": data}
    assert receiver.metric("nats_worker_link_reconnects_total") >= 1
    assert drafts(receiver.target) == []


def test_what_takes_long_is_not_delivered_again(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """Several times the consumer's ack_wait: the server is told that it goes on."""
    data = os.urandom(16 << 20)
    put(nats_server.url, "slow", data)
    feed(nats_server.url, [object_message("slow.bin", data, "slow")])
    make_consumer(nats_server.url, ack_wait=2_000_000_000)
    with Proxy(nats_server.port, rate=2 << 20) as proxy:
        receiver = make_receiver(proxy.url)
        receiver.start()
        eventually(lambda: drained(nats_server.url), 60, "it is there")
        assert receiver.metric("nats_worker_redelivered_total") == 0
    assert received(receiver.target) == {"edge-1/slow.bin": data}


@pytest.mark.timeout(200)
def test_a_chunk_that_takes_longer_than_a_silent_server_is_fetched_once(
    nats_server: NatsServer, make_receiver: MakeReceiver
) -> None:
    """While it arrives it is not asked for again, or it would never be there."""
    data = os.urandom(500_000)
    at_server(nats_server.url, lambda js: js.create_object_store("edge_replay"))
    put_meta(nats_server.url, "whole", [data])
    feed(nats_server.url, [object_message("whole.bin", data, "whole")])
    with Proxy(nats_server.port, rate=20_000) as proxy:
        receiver = make_receiver(proxy.url)
        receiver.start()
        began = time.monotonic()
        eventually(lambda: drained(nats_server.url), 90, "it is there")
        assert time.monotonic() - began < 60, "once takes 25 s"
        assert receiver.metric("nats_worker_link_reconnects_total") == 0
    assert received(receiver.target) == {"edge-1/whole.bin": data}


# The disk.


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    needs.root()
    folder = tmp_path / "tiny"
    folder.mkdir()
    done = subprocess.run(
        [needs.program("mount"), "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True
    )
    if done.returncode:
        needs.missing(f"can't mount a tmpfs: {done.stderr.strip()}")
    yield folder
    subprocess.run([needs.program("umount"), "-l", folder], check=True)


def test_a_full_disk_loses_nothing(nats_server: NatsServer, make_receiver: MakeReceiver, tiny_disk: Path) -> None:
    """What has no room is put back and not acknowledged; when there is room, it comes."""
    wanted = files(40, size=50_000)
    feed(nats_server.url, messages_of(wanted))
    receiver = make_receiver(nats_server.url, target=tiny_disk, SYNC_MIN_FREE_BYTES="0")
    receiver.start()
    eventually(lambda: receiver.metric("nats_worker_failed_total", reason="disk_full") > 0, what="the disk is full")
    eventually(lambda: receiver.status("/readyz") == 503, what="it is not ready")
    assert "DIR: " in receiver.page("/readyz")[1]
    found = consumer(nats_server.url)
    acknowledged = len(wanted) - found["num_pending"] - found["num_ack_pending"]
    assert acknowledged <= len(received(tiny_disk)) < len(wanted)
    assert received(tiny_disk).items() <= expected(wanted).items()

    subprocess.run([needs.program("mount"), "-o", "remount,size=16m", tiny_disk], check=True)
    eventually(lambda: drained(nats_server.url), 90, "the rest came")
    assert received(tiny_disk) == expected(wanted)
    assert drafts(tiny_disk) == []
    eventually(lambda: receiver.status("/readyz") == 200, what="it is ready again")
    assert receiver.stop() == 0


def test_below_the_reserve_nothing_is_taken(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    feed(nats_server.url, messages_of(files(5)))
    receiver = make_receiver(nats_server.url, SYNC_MIN_FREE_BYTES="8000Ti")
    receiver.start()
    eventually(lambda: receiver.status("/readyz") == 503, what="it is not ready")
    assert "SYNC_MIN_FREE_BYTES is" in receiver.page("/readyz")[1]
    assert consumer(nats_server.url)["num_pending"] == 5
    assert received(receiver.target) == {}
    assert receiver.stop() == 0


# The end, and the link.


def test_sigterm_finishes_what_it_holds(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """In the middle of the work: nothing stays behind as being worked on, and what is acknowledged is there."""
    wanted = files(6_000)
    feed(nats_server.url, messages_of(wanted))
    receiver = make_receiver(nats_server.url)
    receiver.start()
    eventually(lambda: receiver.metric("nats_worker_processed_total") > 300, what="it is at work")
    assert receiver.stop() == 0
    found = consumer(nats_server.url)
    assert found["num_ack_pending"] == 0
    assert found["num_redelivered"] == 0
    there = received(receiver.target)
    assert len(there) == len(wanted) - found["num_pending"]
    assert there.items() <= expected(wanted).items()
    assert drafts(receiver.target) == []
    assert os.listdir(receiver.target / ".incoming") == ["lock"]


def test_sigterm_puts_back_what_can_t_be_finished(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """A large file on a slow link: another worker has it at once, not only after the consumer's minute."""
    data = os.urandom(64 << 20)
    put(nats_server.url, "big", data)
    feed(nats_server.url, [object_message("big.bin", data, "big")])
    with Proxy(nats_server.port, rate=1 << 20) as proxy:
        slow = make_receiver(proxy.url)
        slow.start()
        eventually(lambda: drafts(slow.target), 30, "it has begun")
        assert slow.stop() == 0
    assert drafts(slow.target) == []
    other = make_receiver(nats_server.url)
    other.start()
    eventually(lambda: drained(nats_server.url), 30, "another has it")
    assert received(other.target) == {"edge-1/big.bin": data}


def test_sigterm_without_a_server_ends_it(make_nats_server: MakeNatsServer, make_receiver: MakeReceiver) -> None:
    server = make_nats_server()
    receiver = make_receiver(server.url)
    receiver.start()
    assert receiver.stop() == 0


def test_a_server_that_is_frozen_and_one_that_is_killed(nats_server: NatsServer, make_receiver: MakeReceiver) -> None:
    """The link is noticed to be gone and comes back by itself; each file is there once."""
    wanted = files(6_000)
    feed(nats_server.url, messages_of(wanted))
    make_consumer(nats_server.url, ack_wait=3_000_000_000)
    receiver = make_receiver(nats_server.url)
    receiver.start()
    eventually(lambda: receiver.metric("nats_worker_processed_total") > 300, what="it is at work")
    nats_server.freeze()
    eventually(lambda: receiver.metric("nats_worker_link_status") == 0, 20, "the link is gone")
    assert receiver.status("/livez") == 200
    nats_server.thaw()
    eventually(lambda: receiver.metric("nats_worker_link_status") == 1, 20, "it is back")
    nats_server.kill()
    nats_server.start()
    eventually(lambda: drained(nats_server.url), 60, "all is acknowledged")
    assert received(receiver.target) == expected(wanted)
    assert receiver.metric("nats_worker_link_reconnects_total") >= 1
    assert receiver.metric("nats_worker_failed_total") == 0
    assert drafts(receiver.target) == []


@pytest.mark.lengthy
@pytest.mark.timeout(300)
def test_a_link_so_slow_that_a_message_takes_longer_than_a_dead_one(
    nats_server: NatsServer, make_receiver: MakeReceiver
) -> None:
    """More than the silence after which a link counts as dead: what arrives is a sign of life."""
    wanted = files(4, size=900_000)
    feed(nats_server.url, messages_of(wanted))
    with Proxy(nats_server.port, rate=120_000) as proxy:
        receiver = make_receiver(proxy.url)
        receiver.start()
        eventually(lambda: drained(nats_server.url), 200, "all is acknowledged")
        assert receiver.metric("nats_worker_link_reconnects_total") == 0
        assert receiver.metric("nats_worker_redelivered_total") == 0
    assert received(receiver.target) == expected(wanted)


# From one end to the other.


@pytest.mark.lengthy
@pytest.mark.timeout(600)
def test_ten_thousand_files_of_two_sites_arrive_once_whoever_is_killed(
    nats_server: NatsServer, make_daemon: MakeDaemon, make_receiver: MakeReceiver
) -> None:
    """Two daemons, each with a file for the object store among its own, one stream, three workers on one directory; a
    worker is killed, then the server, on the way."""
    wanted = {site: files(4_999, 300, site) | {"large": os.urandom(3 << 20)} for site in ("harbour", "lighthouse")}
    at_server(nats_server.url, make_stream)
    make_consumer(nats_server.url, ack_wait=5_000_000_000, max_ack_pending=4096)  # a minute would be a minute's test
    workers = [make_receiver(nats_server.url) for _ in range(3)]
    daemons = [make_daemon(nats_server.url, site, SITE=site, SYNC_SETTLE_SECONDS="0") for site in wanted]
    for worker in workers:
        worker.start()
    for daemon in daemons:
        daemon.start()
    target = workers[0].target

    def arrived() -> int:
        return sum(1 for site in wanted for _, _, names in os.walk(target / site) for _ in names)

    for daemon, (_, mine) in zip(daemons, wanted.items(), strict=True):
        for path, data in mine.items():
            daemon.drop(path, data)
    eventually(lambda: arrived() >= 1_000, 60, "it is going on")
    workers[0].kill()
    eventually(lambda: arrived() >= 3_000, 60, "two go on")
    assert arrived() < 10_000, "the server is killed on the way"
    nats_server.kill()
    nats_server.start()
    workers[0].start()
    eventually(lambda: not any(daemon.waiting() for daemon in daemons), 120, "the daemons have delivered all")
    eventually(lambda: drained(nats_server.url), 120, "the workers have received all")

    there = received(target)
    everything = {name: data for site, mine in wanted.items() for name, data in expected(mine, site).items()}
    print(f"| {len(everything)} files | {len(there)} received | {len(there.keys() - everything.keys())} twice |")
    assert there == everything
    assert drafts(target) == []
    assert os.listdir(target / ".rejected") == []
    assert [worker.stop() for worker in workers] == [0, 0, 0]
    assert [daemon.stop() for daemon in daemons] == [0, 0]
    assert os.listdir(target / ".incoming") == ["lock"]
