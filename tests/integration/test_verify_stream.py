"""`verify --stream` against real servers: a ledger and a stream that were made to disagree in every way."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import subprocess
import threading
from hashlib import sha256
from typing import Any

import pytest
import zstandard
from nats.aio.client import Client
from nats.js import JetStreamContext

from syncdaemon.dev.server import NatsServer
from syncdaemon.ledger import Ledger
from tests.support.client import connect
from tests.support.daemon import MakeDaemon, eventually
from tests.support.process import PROGRAM
from tests.support.server import MakeNatsServer
from tests.support.shell import Ended, Shell, one_line

pytestmark = [pytest.mark.integration, pytest.mark.lengthy]

SITE, STREAM = "test-site", "swarm_jobs"
PLAIN = {"SYNC_SUBJECT": "edge.replay.{site}"}
NO_CONSUMERS = """
authorization { users: [
    { user: admin, password: admin }
    { user: auditor, password: auditor, permissions: { publish: { deny: ["$JS.API.CONSUMER.>"] } } }
    { user: blind, password: blind, permissions: { publish: { deny: ["$JS.API.CONSUMER.>", "$JS.API.STREAM.MSG.>"] } } }
] }
"""


def digest(data: bytes) -> str:
    """As headers and rows tell it."""
    return sha256(data).hexdigest()


class Books:
    """A stream and a ledger that are written by hand, each as the daemon would, or not.

    `put` stores a message, `receipt` writes the row that belongs to it.
    """

    def __init__(self, client: Client, ledger: Ledger) -> None:
        self.js: JetStreamContext = client.jetstream()
        self.client = client
        self._ledger = ledger

    async def stream(self, **config: Any) -> None:
        """The stream; one that takes the same message again, if it is asked to."""
        given = {"name": STREAM, "subjects": ["edge.replay.>"], "storage": "file", "duplicate_window": 10**8} | config
        answer = await self.client.request(f"$JS.API.STREAM.CREATE.{STREAM}", json.dumps(given).encode())
        assert "error" not in json.loads(answer.data), answer.data

    async def put(self, name: str, data: bytes, site: str = SITE, body: bytes | None = None, **headers: str) -> int:
        """A message; its sequence. `body`: another than the content."""
        told = {
            "Nats-Msg-Id": digest(data),
            "Edge-Site": site,
            "Edge-Path": name,
            "Edge-Sha256": digest(data),
            "Edge-Size": str(len(data)),
            "Edge-Mtime-Ns": "1",
            **{header.replace("_", "-"): text for header, text in headers.items()},
        }
        subject = f"edge.replay.{site}.{digest(data)}"
        while True:
            ack = await self.js.publish(subject, data if body is None else body, headers=told)
            if not ack.duplicate:
                return ack.seq

    async def receipt(self, name: str, data: bytes, seq: int, event: str = "published", **more: Any) -> None:
        """The row of a receipt."""
        row: dict[str, int | str | bool] = {
            "path": name,
            "size": len(data),
            "sha256": digest(data),
            "msg_id": digest(data),
            "subject": f"edge.replay.{SITE}.{digest(data)}",
            "stream": STREAM,
            "stream_seq": seq,
            "mtime_ns": 1,
            "attempts": 1,
        }
        await self._ledger.record([(event, row | more)])

    async def file(self, name: str, data: bytes, body: bytes | None = None, **headers: str) -> int:
        """Message and receipt."""
        seq = await self.put(name, data, body=body, **headers)
        elsewhere = {"object": headers["Edge_Object"]} if "Edge_Object" in headers else {}
        await self.receipt(name, data, seq, **elsewhere)
        return seq


def written(shell: Shell, url: str, write: Any, **config: Any) -> None:
    """Makes stream and ledger, and lets `write` fill them."""

    async def make() -> None:
        ledger = Ledger(shell.ledger, SITE)
        ledger.open()
        client = await connect(url)
        books = Books(client, ledger)
        await books.stream(**config)
        await write(books)
        await client.close()
        await ledger.close()

    asyncio.run(make())


def problems(ended: Ended) -> list[tuple[str, int, str]]:
    """What is listed: what, sequence, path."""
    lines = [line.split() for line in ended.out.splitlines() if not line.startswith((SITE, " ", "stream"))]
    return [(what, int(seq), path.rstrip(":")) for what, _, seq, path, *_ in lines]


def verified(shell: Shell, url: str, code: int, *arguments: str, **settings: str) -> Ended:
    """`verify --stream`, and its exit code."""
    ended = shell("verify", "--stream", *arguments, NATS_URL=url, **settings)
    assert ended.code == code, ended
    assert ended.err == ""
    return ended


@pytest.mark.parametrize("settings", [{}, PLAIN, {"SYNC_MSG_ID": "path"}])
def test_what_a_daemon_delivered_is_all_there(shell: Shell, nats_server: NatsServer, settings: dict[str, str]) -> None:
    """With its duplicates, of two sites, of which each is looked at by itself.

    Nothing is held: what one site holds would be looked for on the subjects of the other.
    """
    for site in ("test-site", "other-site"):
        for number in range(30):
            (shell.replay / f"{site}{number}").write_bytes(b"%d" % (number // 2))
        assert shell("drain", NATS_URL=nats_server.url, SITE=site, SYNC_HOLD_SECONDS="0", **settings).code == 0
    for site in ("test-site", "other-site"):
        for arguments in ([], ["--content"]):
            ended = verified(shell, nats_server.url, 0, *arguments, SITE=site, **settings)
            assert f"stream {STREAM}: ok, 30 receipts, " in ended.out
            assert "0 lost, 0 altered, 0 doubled, 0 unknown" in ended.out

    del shell.env["SITE"]
    assert verified(shell, nats_server.url, 0, **settings).out.count("stream swarm_jobs: ok") == 2


def test_a_daemon_that_delivers_meanwhile_is_no_disagreement(
    shell: Shell, nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """What is stored and not yet recorded when it begins is recorded when it ends."""
    daemon = make_daemon(nats_server.url, str(shell.folder), SYNC_SETTLE_SECONDS="0")
    daemon.start()
    enough = threading.Event()

    def produce() -> None:
        number = 0
        while not enough.wait(0.001):  # as fast as it is verified again and again, not faster
            daemon.drop(f"{number}", b"%d" % number)
            number += 1

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        eventually(lambda: len(daemon.rows_so_far("published")) > 20, what="it delivers")
        for _ in range(3):
            verified(shell, nats_server.url, 0)
    finally:
        enough.set()
        producer.join()


async def with_every_flaw(books: Books) -> None:
    """One of each."""
    await books.file("first", b"first")
    lost = await books.file("2026/lost", b"lost")
    await books.js.delete_msg(STREAM, lost)
    await books.receipt("lost%20too", b"beyond", 99)
    seq = await books.file("shorter", b"content", body=b"conten")
    await books.file("changed", b"content of changed", body=b"CONTENT OF CHANGED")
    seq = await books.put("digest", b"digest", Edge_Sha256=digest(b"another"))
    await books.receipt("digest", b"digest", seq)
    seq = await books.put("other", b"other")
    await books.receipt("replaced", b"replaced", seq)
    await books.file("doubled", b"doubled")
    await books.put("doubled", b"doubled")
    await books.put("unknown", b"unknown")
    await books.put("not-ours", b"not ours", site="elsewhere")
    await books.file("last", b"last")


def test_every_disagreement_is_listed(shell: Shell, nats_server: NatsServer) -> None:
    """With path, sequence and what it is. A changed body that is as long as it was is seen with --content only."""
    written(shell, nats_server.url, with_every_flaw)
    found = [
        ("lost", 2, "2026/lost"),
        ("lost", 99, "lost%20too"),
        ("altered", 3, "shorter"),
        ("altered", 5, "digest"),
        ("lost", 6, "replaced"),
        ("unknown", 6, "other"),
        ("doubled", 8, "doubled"),
        ("unknown", 9, "unknown"),
    ]
    ended = verified(shell, nats_server.url, 1)
    assert sorted(problems(ended)) == sorted(found)
    assert f"stream {STREAM}: not ok, 9 receipts, 9 messages" in ended.out
    assert "3 lost, 2 altered, 1 doubled, 2 unknown" in ended.out
    assert "message 6 is another one" in ended.out
    assert "a second copy of message 7" in ended.out

    ended = verified(shell, nats_server.url, 1, "--content")
    assert sorted(problems(ended)) == sorted([*found, ("altered", 4, "changed")])
    assert f"its content is {digest(b'CONTENT OF CHANGED')}" in ended.out


async def with_old_ones(books: Books) -> None:
    """The first of three is purged."""
    for name in ("a", "b", "c"):
        await books.file(name, name.encode())
    await books.js.purge_stream(STREAM, seq=3)


def test_what_is_older_than_the_stream_is_not_lost(shell: Shell, nats_server: NatsServer) -> None:
    """It is counted apart."""
    written(shell, nats_server.url, with_old_ones)
    ended = verified(shell, nats_server.url, 0)

    assert "ok, 3 receipts, 2 older than the stream, 1 messages" in ended.out


async def with_a_lost_one(books: Books) -> None:
    """What the server had lost was sent again, and recorded so."""
    await books.file("a", b"a")
    seq = await books.file("b", b"b")
    await books.receipt("copy-of-b", b"b", seq, "duplicate")
    await books.js.delete_msg(STREAM, seq)
    await books.receipt("b", b"b", seq, "held_lost")
    await books.file("b", b"b")


def test_a_receipt_of_what_the_server_had_lost_is_void(shell: Shell, nats_server: NatsServer) -> None:
    """The newer one counts."""
    written(shell, nats_server.url, with_a_lost_one)
    ended = verified(shell, nats_server.url, 0)

    assert "ok, 4 receipts, 2 void, 2 messages" in ended.out


async def with_a_strangers_message(books: Books) -> None:
    """A duplicate of another site's message, and of another program's."""
    await books.file("own", b"own")
    seq = await books.put("theirs", b"theirs", site="elsewhere")
    subject = f"edge.replay.elsewhere.{digest(b'theirs')}"
    await books.receipt("same", b"theirs", seq, "duplicate", subject=subject)
    ack = await books.js.publish("edge.replay.program", b"program")
    await books.receipt("same-too", b"program", ack.seq, "duplicate", subject="edge.replay.program")
    await books.receipt("not-the-same", b"another", ack.seq, "duplicate", subject="edge.replay.program")


def test_a_duplicate_may_point_at_anybodys_message(shell: Shell, nats_server: NatsServer) -> None:
    """With the same content."""
    written(shell, nats_server.url, with_a_strangers_message)

    assert problems(verified(shell, nats_server.url, 1)) == [("lost", 3, "not-the-same")]


async def with_other_bodies(books: Books) -> None:
    """Compressed ones, and objects: each a good one, and one that is not."""
    pack = zstandard.ZstdCompressor().compress
    await books.file("good.zst", b"z" * 9_000, body=pack(b"z" * 9_000), Content_Encoding="zstd")
    await books.file("bad.zst", b"y" * 9_000, body=pack(b"Y" * 9_000), Content_Encoding="zstd")
    await books.file("broken.zst", b"x" * 9_000, body=pack(b"x" * 9_000)[:-4], Content_Encoding="zstd")
    store = await books.js.create_object_store("edge_replay")
    large = os.urandom(300_000)
    for name, data in (("good", large), ("bad", large[::-1]), ("holed", large[1:])):
        await store.put(name, io.BytesIO(data))
        content = large if name == "bad" else data
        wanted = content + name.encode() if name == "bad" else content
        await books.file(name, wanted, body=b"", Edge_Object=f"edge_replay/{name}")
    await books.file("gone", b"gone", body=b"", Edge_Object="edge_replay/gone")
    seq = await books.put("elsewhere", b"elsewhere", body=b"", Edge_Object="edge_replay/good")
    await books.receipt("elsewhere", b"elsewhere", seq, object="edge_replay/another")
    info = await store.get_info("holed")
    chunk = await books.js.get_last_msg("OBJ_edge_replay", f"$O.edge_replay.C.{info.nuid}")
    await books.js.delete_msg("OBJ_edge_replay", chunk.seq or 0)


def test_compressed_contents_and_objects_are_what_they_stand_for(shell: Shell, nats_server: NatsServer) -> None:
    """Decoded, and fetched; without --content their headers count."""
    written(shell, nats_server.url, with_other_bodies)
    assert problems(verified(shell, nats_server.url, 1)) == [("altered", 8, "elsewhere")]

    ended = verified(shell, nats_server.url, 1, "--content")
    assert sorted(problems(ended)) == [
        ("altered", 2, "bad.zst"),
        ("altered", 3, "broken.zst"),
        ("altered", 5, "bad"),
        ("altered", 8, "elsewhere"),
        ("lost", 6, "holed"),
        ("lost", 7, "gone"),
    ]


async def with_a_neighbour_s_object(books: Books) -> None:
    """A message and its receipt name an object that lies in another site's bucket."""
    store = await books.js.create_object_store("edge_replay_another")
    await store.put("x", io.BytesIO(b"content"))
    seq = await books.put("stolen", b"content", body=b"", Edge_Object="edge_replay_another/x")
    await books.receipt("stolen", b"content", seq, object="edge_replay_another/x")


def test_no_bucket_of_another_site_is_read(shell: Shell, nats_server: NatsServer) -> None:
    """Whatever the message says of itself."""
    written(shell, nats_server.url, with_a_neighbour_s_object)
    ended = verified(shell, nats_server.url, 1, "--content", "--bucket", "*")
    assert problems(ended) == [("lost", 1, "stolen")]
    assert "belongs to the site another" in ended.out


async def with_consumed_ones(books: Books) -> None:
    """One is taken by its worker."""
    for name in ("a", "b", "c"):
        await books.file(name, name.encode())
    await books.put("unknown", b"unknown")
    await books.receipt("beyond", b"beyond", 9)
    worker = await books.js.pull_subscribe("edge.replay.>", "worker", stream=STREAM)
    (message,) = await worker.fetch(1)
    await message.ack_sync()
    await worker.unsubscribe()


def test_from_a_work_queue_nothing_is_taken(shell: Shell, nats_server: NatsServer) -> None:
    """Its messages go to their workers; what is gone was consumed, but for what lies beyond its end."""
    written(shell, nats_server.url, with_consumed_ones, retention="workqueue")
    for _ in range(2):
        ended = verified(shell, nats_server.url, 1)
        assert sorted(problems(ended)) == [("lost", 9, "beyond"), ("unknown", 4, "unknown")]
        assert "ok, 4 receipts, 1 older than the stream, 3 messages" in ended.out


async def with_a_flaw(books: Books) -> None:
    """One is lost, another altered."""
    for name in ("a", "b", "c"):
        await books.file(name, name.encode())
    await books.file("d", b"d", body=b"D")
    await books.js.delete_msg(STREAM, 2)


def test_who_may_make_no_consumer_reads_one_by_one(shell: Shell, make_nats_server: MakeNatsServer) -> None:
    """Slower, and the same; who may not read at all is told so."""
    server = make_nats_server(config=NO_CONSUMERS)
    server.start()
    written(shell, server.url.replace("nats://", "nats://admin:admin@"), with_a_flaw)
    auditor = {"NATS_USER": "auditor", "NATS_PASSWORD": "auditor"}
    assert problems(verified(shell, server.url, 1, **auditor)) == [("lost", 2, "b")]
    ended = verified(shell, server.url, 1, "--content", **auditor)
    assert problems(ended) == [("lost", 2, "b"), ("altered", 4, "d")]

    blind = {"NATS_USER": "blind", "NATS_PASSWORD": "blind"}
    line = one_line(shell("verify", "--stream", NATS_URL=server.url, **blind), 2)
    assert line.startswith(f"SYNC_STREAM: {STREAM} can't be read with these credentials")


def test_of_a_stream_that_is_gone_every_message_is_lost(
    shell: Shell, nats_server: NatsServer, make_nats_server: MakeNatsServer
) -> None:
    """A server that was replaced by an empty one; and one that is not there is no proof of anything."""
    written(shell, nats_server.url, with_a_flaw)
    empty = make_nats_server()
    empty.start()
    assert problems(verified(shell, empty.url, 1)) == [("lost", n, name) for n, name in enumerate("abcd", 1)]

    empty.stop()
    assert one_line(shell("verify", "--stream", NATS_URL=empty.url), 3).startswith("NATS_URL: no connection")


async def with_another_stream(books: Books) -> None:
    """The site delivered into another one before, which is there, and into one that is not."""
    await books.file("a", b"a")
    await books.client.request(
        "$JS.API.STREAM.CREATE.earlier", json.dumps({"name": "earlier", "subjects": ["earlier.>"]}).encode()
    )
    headers = {"Nats-Msg-Id": digest(b"b"), "Edge-Site": SITE, "Edge-Sha256": digest(b"b"), "Edge-Path": "b"}
    headers |= {"Edge-Size": "1", "Edge-Mtime-Ns": "1"}
    ack = await books.js.publish("earlier.b", b"b", headers=headers)
    await books.receipt("b", b"b", ack.seq, stream="earlier", subject="earlier.b")
    await books.receipt("c", b"c", 1, stream="gone", subject="gone.c")


def test_streams_of_earlier_settings_are_looked_at_too(shell: Shell, nats_server: NatsServer) -> None:
    """Each receipt names its own."""
    written(shell, nats_server.url, with_another_stream)
    ended = verified(shell, nats_server.url, 1)

    assert problems(ended) == [("lost", 1, "c")]
    for told in ("swarm_jobs: ok, 1 receipts", "earlier: ok, 1 receipts", "gone: not ok, 1 receipts"):
        assert f"stream {told}" in ended.out


def test_content_goes_with_the_stream(shell: Shell) -> None:
    """Wrong usage."""
    ended = shell("verify", "--content")
    assert ended.code == 2
    assert "--content goes with --stream" in " ".join(ended.err.split())


def test_on_a_terminal_a_bar_shows_how_far_it_is(shell: Shell, nats_server: NatsServer) -> None:
    """On standard error, so that what is found can go into a file."""
    written(shell, nats_server.url, with_a_flaw)
    controller, terminal = pty.openpty()
    command = [*PROGRAM, "verify", "--stream"]
    env = shell.env | {"NATS_URL": nats_server.url, "TERM": "xterm"}
    done = subprocess.run(command, cwd=shell.folder, env=env, stdout=subprocess.PIPE, stderr=terminal, timeout=40)
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(controller, 65_536):
            shown += piece
    except OSError:  # Linux: the other end is closed
        pass
    os.close(controller)

    assert done.returncode == 1
    assert b"100%" in shown
    assert b"lost" in done.stdout
    assert b"\x1b" not in done.stdout
