"""Files as objects, on the server in memory and on a real one: whole, once, and gone on with after anything."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.base import disk
from syncdaemon.base.model import Content, Refusal, Stamp
from syncdaemon.link import Session, Sink
from syncdaemon.link.frame import Buffer
from syncdaemon.publish.objects import Objects, ObjectsSettings, janitor, resume, source, turns
from syncdaemon.publish.objects.bucket_watch import BucketWatch
from syncdaemon.publish.objects.flight import ChunkFlight
from syncdaemon.publish.objects.upload import Upload
from syncdaemon.stream import object_format
from syncdaemon.stream.object_format import BucketNames
from tests.simulate.fake_jetstream import FakeSession
from tests.simulate.test_contract import JetStream, connected

KIB = 1 << 10
STREAM = "OBJ_edge_replay"
BUCKET = BucketNames("edge_replay")


class Heard:
    """What the uploads told: payload that arrived, and troubles."""

    def __init__(self) -> None:
        self.size = 0
        self.failures: list[str] = []

    def answered(self, latencies: Sequence[float], size: int) -> None:
        """Counted."""
        self.size += size

    def failed(self, reason: str, count: int) -> None:
        """Kept."""
        self.failures.append(reason)


class Site:
    """A site with a directory of files; `restart` is a new process of its daemon."""

    def __init__(self, folder: Path, jetstream: JetStream, name: str = "here", **settings: Any) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.jetstream = jetstream
        given = {"site": name, "create": True, "replicas": 1, "bucket": BUCKET}
        self._settings = {**given, **settings}
        self.restart()

    def restart(self) -> None:
        """Nothing is remembered; chunks are of 1 KiB."""
        self.heard = Heard()
        self.suspicions = 0
        self.watch = BucketWatch(self._suspected)
        self.objects = Objects(ObjectsSettings(**self._settings), self.heard, self._open, self.watch.met)
        self.objects.chunk = KIB

    def _suspected(self) -> None:
        self.suspicions += 1

    def _open(self, content: Content) -> int:
        return os.open(self.folder / os.fsdecode(content.path), disk.READ)

    def file(self, data: bytes, name: str = "file") -> Content:
        """A file with this content, as the reader hands it on."""
        (self.folder / name).unlink(missing_ok=True)
        (self.folder / name).write_bytes(data)
        return self.content(name)

    def content(self, name: str = "file") -> Content:
        """The file as it is now."""
        path, found = self.folder / name, (self.folder / name).stat()
        stamp = Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        return Content(name.encode(), name, stamp, None, sha256(path.read_bytes()).hexdigest(), 1)

    async def store(self, content: Content) -> bool | Refusal:
        """Over the connection as it is now; a pause is over."""
        self.objects._resume_at = 0.0
        return await self.objects.store(content, await self.jetstream.session())

    async def stores(self, content: Content) -> None:
        """Until the object is whole."""
        for _ in range(20):
            if await self.store(content) is True:
                return
        pytest.fail(f"it is never whole: {self.heard.failures}")


@pytest.fixture
def site(tmp_path: Path, jetstream: JetStream) -> Site:
    """A site called `here`."""
    return Site(tmp_path, jetstream)


def data_of(count: int, size: int = KIB) -> bytes:
    """So many chunks, the last one not full, no two alike."""
    return b"".join(sha256(b"%d" % n).digest() * (size // 32) for n in range(count))[:-5]


async def messages(jetstream: JetStream) -> list[tuple[int, str, dict[str, str], bytes]]:
    """Every message of the bucket: sequence, subject, headers, body."""
    found = []
    for seq in range(1, (await jetstream.api(f"STREAM.INFO.{STREAM}"))["state"]["last_seq"] + 1):
        if "message" in (answer := await jetstream.api(f"STREAM.MSG.GET.{STREAM}", {"seq": seq})):
            message = answer["message"]
            lines = base64.b64decode(message.get("hdrs", "")).decode().split("\r\n")[1:]
            headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
            found.append((seq, message["subject"], headers, base64.b64decode(message.get("data", ""))))
    return found


async def read_back(jetstream: JetStream, name: str) -> bytes:
    """The object as ADR-20 has it read, by nothing of ours: last meta of the name, then its nuid's chunks in order."""
    found = await messages(jetstream)
    subject = f"$O.edge_replay.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
    (meta,) = [json.loads(data) for _, where, _, data in found if where == subject]
    parts = [data for _, where, _, data in found if where == f"$O.edge_replay.C.{meta['nuid']}"]
    whole = b"".join(parts)
    digest = "SHA-256=" + base64.urlsafe_b64encode(sha256(whole).digest()).decode()
    assert (meta["size"], meta["chunks"], meta["digest"]) == (len(whole), len(parts), digest)
    assert not meta.get("deleted")
    return whole


async def chunk_count(jetstream: JetStream) -> int:
    """The chunks of all uploads that are there."""
    return sum(subject.startswith("$O.edge_replay.C.") for _, subject, _, _ in await messages(jetstream))


async def stored_in_all(jetstream: JetStream) -> int:
    """Messages that the bucket ever stored, whatever became of them."""
    state = (await jetstream.api(f"STREAM.INFO.{STREAM}"))["state"]
    return int(state["last_seq"])


class Cutting:
    """In the place of a sink: hears so many answers of chunks in all; then the connection breaks."""

    left = 0

    def __init__(self, session: Session, sink: Sink) -> None:
        self._session, self._sink = session, sink

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        """Handed on, or never heard."""
        Cutting.left -= 1
        if Cutting.left >= 0:
            self._sink.answered(key, data, headers, latency)
        elif not self._session.lost.done():
            self._session.fail("cut")
            self._sink.lost("cut")

    def lost(self, reason: str) -> None:
        """Handed on."""
        self._sink.lost(reason)


async def cut_after(jetstream: JetStream, chunks_heard: int) -> Session:
    """The connection, which from here on breaks when so many chunks were answered."""
    session = await jetstream.session()
    expect = session.expect
    wrapped: dict[int, Cutting] = {}

    def cutting(sink: Sink, key: int, size: int = 0) -> bytes:
        if isinstance(sink, ChunkFlight):
            sink = wrapped.setdefault(id(sink), Cutting(session, sink))
        return expect(sink, key, size)

    Cutting.left = chunks_heard
    session.expect = cutting  # type: ignore[method-assign]
    return session


async def after(session: Session, jetstream: JetStream) -> None:
    """The next connection is there."""
    await asyncio.wait_for(jetstream.next_session(session), 20)


async def under_way(site: Site) -> None:
    """Until a part of a file is stored."""
    for _ in range(100_000):
        if site.objects.progress is not None and site.objects.progress.stored:
            return
        await asyncio.sleep(0)
    pytest.fail("nothing is stored")


class TestTurns:
    """Several files at the same time: each goes on for a while, and then after the others."""

    async def test_a_file_does_not_wait_until_a_much_larger_one_is_stored(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is whole long before that; and no chunk of either is stored twice."""
        monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
        huge, late = site.file(data_of(3_000), "huge"), site.file(b"late" * 2 * KIB, "late")
        storing = asyncio.create_task(site.store(huge))
        await under_way(site)
        assert await site.store(late) is True
        assert not storing.done()
        assert await storing is True
        assert site.objects.progress is None
        for content in (huge, late):
            assert sha256(await read_back(site.jetstream, content.sha256)).hexdigest() == content.sha256
        assert await stored_in_all(site.jetstream) == 3_000 + 8 + 2, "nothing was sent again for the turns"
        assert site.heard.failures == []

    async def test_a_file_alone_has_all_the_time(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """No turn ends while no other file waits."""
        monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
        assert await site.store(site.file(data_of(100))) is True
        assert site.heard.failures == []

    async def test_who_stops_waiting_for_a_turn_leaves_nothing(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The upload that is on goes on."""
        monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
        storing = asyncio.create_task(site.store(site.file(data_of(500), "huge")))
        await under_way(site)
        waiting = asyncio.create_task(site.store(site.file(b"late", "late")))
        await asyncio.sleep(0)
        waiting.cancel()
        assert await storing is True


class TestTheObject:
    """What is in the bucket, as any client finds it."""

    @pytest.mark.parametrize("size", [1, KIB - 1, KIB, KIB + 1, 40 * KIB, 200 * KIB + 7])
    async def test_it_reads_back_as_the_file(self, site: Site, size: int) -> None:
        """Whatever its size: its name is its digest."""
        content = site.file(data_of(size // KIB + 1)[:size].ljust(size, b"x"))

        assert await site.store(content) is True
        assert await read_back(site.jetstream, content.sha256) == (site.folder / "file").read_bytes()
        assert site.heard.size == size
        assert site.objects.progress is None

    async def test_an_empty_file_is_an_object_too(self, site: Site) -> None:
        """Without chunks."""
        assert await site.store(site.file(b"")) is True
        assert await read_back(site.jetstream, sha256(b"").hexdigest()) == b""

    async def test_its_parts_are_the_contracts(self, site: Site) -> None:
        """Subjects, ids and headers; the first chunk alone carries what is expected before it, and so does the meta."""
        content = site.file(data_of(3))
        await site.store(content)
        found = await messages(site.jetstream)

        nuid = object_format.nuid_of(content.sha256, KIB, "here")
        assert [subject for _, subject, _, _ in found[:3]] == [f"$O.edge_replay.C.{nuid}"] * 3
        data = (site.folder / "file").read_bytes()
        for number, (_, _, headers, _) in enumerate(found[:3]):
            so_far = sha256(data[: (number + 1) * KIB]).hexdigest()[:32]
            assert headers["Nats-Msg-Id"] == f"{nuid}.{number}.0.{so_far}"
            assert headers["Nats-Expected-Stream"] == STREAM
            assert headers["Edge-Object"] == f"edge_replay/{content.sha256}"
        assert found[0][2]["Nats-Expected-Last-Subject-Sequence"] == "0"
        assert found[3][2]["Nats-Rollup"] == "sub"
        assert found[3][2]["Nats-Expected-Last-Subject-Sequence"] == "0"
        assert "mtime" not in json.loads(found[3][3])

    async def test_what_is_there_is_not_sent_again(self, site: Site) -> None:
        """Nor by a process that knows nothing of it, nor by another site."""
        content = site.file(data_of(5))
        await site.store(content)
        before = await stored_in_all(site.jetstream)

        assert await site.store(content) is True
        site.restart()
        assert await site.store(content) is True
        other = Site(site.folder.parent, site.jetstream, "there")
        assert await other.store(other.file(data_of(5))) is True
        assert await stored_in_all(site.jetstream) == before

    async def test_two_sites_that_upload_the_same_at_once_leave_one_object(self, site: Site) -> None:
        """Neither touches what the other sends; who is second takes out its own."""
        other = Site(site.folder.parent, site.jetstream, "there")
        await asyncio.gather(site.stores(site.file(data_of(60))), other.stores(other.file(data_of(60))))

        assert await read_back(site.jetstream, sha256(data_of(60)).hexdigest()) == data_of(60)
        assert await chunk_count(site.jetstream) == 60
        assert not site.heard.failures
        assert not other.heard.failures


class TestHowItGoesOn:
    """After a cut, a crash, or what others did to the bucket."""

    @pytest.mark.parametrize("heard", [0, 1, 2, 17, 40, 59])
    @pytest.mark.parametrize("crash", [False, True])
    async def test_after_a_cut_it_goes_on_behind_the_last_chunk(self, site: Site, heard: int, crash: bool) -> None:
        """Every chunk is stored once, by the same process or another."""
        content = site.file(data_of(60))
        session = await cut_after(site.jetstream, heard)
        assert await site.store(content) is False
        assert site.heard.failures == ["link_down"]
        await after(session, site.jetstream)

        if crash:
            site.restart()
        await site.stores(content)
        assert await read_back(site.jetstream, content.sha256) == data_of(60)
        assert await stored_in_all(site.jetstream) == 61

    async def test_many_cuts_in_a_row_all_make_progress(self, site: Site) -> None:
        """A link that never lives for long."""
        content, cuts = site.file(data_of(60)), 0
        while True:
            session = await cut_after(site.jetstream, 9)
            if await site.store(content) is True:
                break
            cuts += 1
            await after(session, site.jetstream)
        assert 1 <= cuts <= 7
        assert await read_back(site.jetstream, content.sha256) == data_of(60)
        assert await stored_in_all(site.jetstream) == 61

    async def test_it_does_not_take_the_digest_of_the_beginning_again(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a cut in the same process; a new process has to."""
        content = site.file(data_of(200))
        session = await cut_after(site.jetstream, 40)
        assert await site.store(content) is False
        await after(session, site.jetstream)
        read: list[int] = []
        pread = os.pread

        def reading(fd: int, size: int, offset: int) -> bytes:
            read.append(offset)
            return pread(fd, size, offset)

        monkeypatch.setattr(os, "pread", reading)
        await site.stores(content)
        assert min(read) >= 40 * KIB

    async def test_all_chunks_but_no_meta(self, site: Site) -> None:
        """A crash right before the end: nothing but the meta is sent."""
        content = site.file(data_of(8))
        await site.store(content)
        await site.jetstream.api(f"STREAM.PURGE.{STREAM}", {"filter": "$O.edge_replay.M.>"})
        site.restart()

        await site.stores(content)
        assert site.heard.size == 0
        assert await read_back(site.jetstream, content.sha256) == data_of(8)

    @pytest.mark.parametrize("missing", [1, 5, 19])
    @pytest.mark.parametrize("meta", [True, False])
    async def test_with_a_hole_it_is_begun_again(self, site: Site, missing: int, meta: bool) -> None:
        """Also where the server still knows the ids of what was taken out, and where it looked whole already."""
        content = site.file(data_of(20))
        await site.store(content)
        await site.jetstream.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": missing})
        if not meta:
            await site.jetstream.api(f"STREAM.PURGE.{STREAM}", {"filter": "$O.edge_replay.M.>"})
        site.restart()

        await site.stores(content)
        assert await read_back(site.jetstream, content.sha256) == data_of(20)
        assert await chunk_count(site.jetstream) == 20

    async def test_chunks_that_vanish_under_way_are_missed_before_the_end(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every one was acknowledged, and yet there must be no object of those that are left."""
        check = Upload._check
        done: list[object] = []

        async def late(upload: Upload) -> None:
            if not done:
                done.append(await site.jetstream.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": 7}))
            await check(upload)

        monkeypatch.setattr(Upload, "_check", late)
        content = site.file(data_of(20))
        await site.stores(content)
        assert await read_back(site.jetstream, content.sha256) == data_of(20)
        assert await chunk_count(site.jetstream) == 20

    async def test_an_object_whose_last_chunks_the_server_lost_is_made_whole(self, site: Site) -> None:
        """A power cut there takes the end of what it did not yet bring to disk."""
        content = site.file(data_of(20))
        await site.store(content)
        for seq in range(15, 21):
            await site.jetstream.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": seq})
        site.restart()

        await site.stores(content)
        assert site.heard.size == len(data_of(20)) - 14 * KIB
        assert await read_back(site.jetstream, content.sha256) == data_of(20)

    async def test_a_chunk_that_comes_after_the_window_is_one_too_many(self, site: Site) -> None:
        """A limit, where the upload was finished before: any client sees that it is wrong. The next upload heals it."""
        content = site.file(data_of(4))
        await site.store(content)
        session, data = await site.jetstream.session(), data_of(4)
        late = object_format.Chunk(
            object_format.nuid_of(content.sha256, KIB, "here"), 2, 1, "0" * 32
        )  # an id that is not known
        await session.request(
            BUCKET.chunk_subject(late.nuid), data[2 * KIB : 3 * KIB], late.headers(BUCKET, content.sha256, None)
        )
        with pytest.raises(AssertionError):
            await read_back(site.jetstream, content.sha256)

        await site.stores(content)
        assert await read_back(site.jetstream, content.sha256) == data

    async def test_an_empty_bucket_is_filled_again(self, site: Site) -> None:
        """Purged, or gone altogether."""
        content = site.file(data_of(20))
        await site.store(content)
        for call in ("PURGE", "DELETE"):
            await site.jetstream.api(f"STREAM.{call}.{STREAM}")
            await site.stores(content)
            assert await read_back(site.jetstream, content.sha256) == data_of(20)

    async def test_an_object_that_somebody_deleted_is_made_again(self, site: Site) -> None:
        """As any client deletes: a meta that says so, and no chunks."""
        content = site.file(data_of(20))
        await site.store(content)
        nuid, deleted = object_format.nuid_of(content.sha256, KIB, "here"), {"name": content.sha256, "deleted": True}
        await site.jetstream.ask(BUCKET.meta_subject(content.sha256), json.dumps(deleted).encode(), Nats_Rollup="sub")
        await site.jetstream.api(f"STREAM.PURGE.{STREAM}", {"filter": BUCKET.chunk_subject(nuid)})

        await site.stores(content)
        assert await read_back(site.jetstream, content.sha256) == data_of(20)

    async def test_chunks_of_other_bytes_are_not_gone_on_with(self, site: Site) -> None:
        """Sent from a file that changed under a process that then died, before it could tell."""
        content = site.file(data_of(20))
        nuid, bad = object_format.nuid_of(content.sha256, KIB, "here"), sha256(b"")
        await site.store(site.file(b"", "makes the bucket"))
        for number in range(5):
            bad.update(b"other")
            chunk = object_format.Chunk(nuid, number, 0, bad.hexdigest()[:32])
            await site.jetstream.ask(BUCKET.chunk_subject(nuid), b"other", Nats_Msg_Id=chunk.id)

        await site.stores(content)
        assert await read_back(site.jetstream, content.sha256) == data_of(20)

    async def test_what_others_put_there_is_not_gone_on_with(self, site: Site) -> None:
        """Whatever it is."""
        content = site.file(data_of(20))
        await site.store(site.file(b"", "makes the bucket"))
        await site.jetstream.ask(BUCKET.chunk_subject(object_format.nuid_of(content.sha256, KIB, "here")), b"?")

        await site.stores(content)
        assert await read_back(site.jetstream, content.sha256) == data_of(20)

    async def test_it_goes_on_with_the_chunk_size_that_it_was_begun_with(self, site: Site) -> None:
        """Where the file is worth it: the speed of a link is another one every day."""
        size = 1200
        content = site.file(data_of(size))
        session = await cut_after(site.jetstream, 900)
        assert await site.store(content) is False
        await after(session, site.jetstream)

        site.restart()
        site.objects.chunk = 128 * KIB
        await site.stores(content)
        assert await read_back(site.jetstream, content.sha256) == data_of(size)
        assert await stored_in_all(site.jetstream) == size + 1

    async def test_a_refused_chunk_leaves_no_gap(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those behind it that were stored are taken out again, and it goes on from there."""
        content = site.file(data_of(60))
        session = await site.jetstream.session()
        send, numbers = session.send, count()

        def altered(frame: Buffer) -> Buffer:
            if b"Nats-Msg-Id" in bytes(frame) and next(numbers) == 30:  # as a server that refuses one
                return bytes(frame).replace(b"Expected-Stream: OBJ", b"Expected-Stream: NOT")
            return frame

        async def garbled(frames: Sequence[Buffer]) -> None:
            await send([altered(frame) for frame in frames])

        monkeypatch.setattr(session, "send", garbled)
        assert await site.store(content) is False
        assert site.heard.failures == ["wrong_stream"]

        await site.stores(content)
        assert await read_back(site.jetstream, content.sha256) == data_of(60)
        assert "upload_begun_again" not in site.heard.failures
        assert site.heard.size < (60 + 32) * KIB


class TestWhatStopsIt:
    """The bucket as it is, and the file."""

    async def test_a_missing_bucket_is_created_as_the_contract_says(self, site: Site) -> None:
        """File storage, no limits, and what the Object Store needs."""
        await site.store(site.file(b"x"))
        config = (await site.jetstream.api(f"STREAM.INFO.{STREAM}"))["config"]

        wanted = {
            "subjects": ["$O.edge_replay.C.>", "$O.edge_replay.M.>"],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "allow_rollup_hdrs": True,
            "allow_direct": True,
            "deny_purge": False,
            "deny_delete": False,
            "max_age": 0,
            "max_bytes": -1,
            "max_msgs": -1,
            "num_replicas": 1,
        }
        assert {name: config.get(name) for name in wanted} == wanted

    async def test_a_bucket_that_is_there_is_never_altered(self, site: Site) -> None:
        """Whoever made it."""
        before = (await bucket(site.jetstream, max_bytes=1 << 20))["config"]

        assert await site.store(site.file(b"x")) is True
        assert (await site.jetstream.api(f"STREAM.INFO.{STREAM}"))["config"] == before

    async def test_a_missing_bucket_that_may_not_be_created_keeps_the_files(
        self, tmp_path: Path, jetstream: JetStream
    ) -> None:
        """SYNC_STREAM_CREATE=false; when somebody makes it, they go."""
        site = Site(tmp_path, jetstream, create=False)

        assert await site.store(site.file(b"x")) is False
        assert site.objects.paused.startswith("bucket_missing: there is no bucket edge_replay at the server, and SYNC_")
        await bucket(jetstream)
        assert await site.store(site.content()) is True
        assert site.objects.paused == ""

    async def test_more_replicas_than_servers(self, tmp_path: Path, jetstream: JetStream) -> None:
        """In the server's own words."""
        site = Site(tmp_path, jetstream, replicas=3)

        assert await site.store(site.file(b"x")) is False
        assert "replicas > 1 not supported" in site.objects.paused

    @pytest.mark.parametrize("denied", ["$O.>", "$O.*.M.>", f"$JS.API.STREAM.INFO.{STREAM}"])
    async def test_a_missing_permission_costs_no_connection(
        self, tmp_path: Path, request: pytest.FixtureRequest, kind: str, denied: str
    ) -> None:
        """It would be the small files' connection too."""
        async with connected(request, kind, (denied,)) as jetstream:
            site, session = Site(tmp_path, jetstream), await jetstream.session()
            assert await site.store(site.file(b"x")) is False
            assert site.objects.paused.startswith("bucket_denied")
            assert await jetstream.session() is session

    @pytest.mark.parametrize(
        ("flaw", "told"),
        [
            ({"allow_rollup_hdrs": False}, "allows no roll-up"),
            ({"discard": "old", "max_bytes": 1 << 20}, "throws out old chunks"),
            ({"max_msgs_per_subject": 1}, "keeps only some chunks"),
            ({"no_ack": True}, "acknowledges nothing"),
            ({"subjects": ["$O.edge_replay.C.>"]}, "503"),
        ],
        ids=str,
    )
    async def test_a_bucket_that_would_lose_files_is_not_used(
        self, site: Site, flaw: dict[str, Any], told: str
    ) -> None:
        """It is the operator's to put right."""
        await bucket(site.jetstream, **flaw)

        assert await site.store(site.file(b"x")) is False
        assert told in site.objects.paused

    async def test_a_full_bucket_keeps_the_file_and_its_chunks(self, site: Site) -> None:
        """When there is room again, it goes on from there."""
        config = (await bucket(site.jetstream, max_bytes=20_000))["config"]
        content = site.file(data_of(60))

        assert await site.store(content) is False
        assert site.objects.paused.startswith("bucket_full: bucket edge_replay: maximum bytes exceeded")
        there = await chunk_count(site.jetstream)
        assert 10 < there < 20
        assert await site.store(content) is False
        assert await chunk_count(site.jetstream) == there

        await site.jetstream.api(f"STREAM.UPDATE.{STREAM}", {**config, "max_bytes": -1})
        await site.stores(content)
        assert await read_back(site.jetstream, content.sha256) == data_of(60)
        assert await stored_in_all(site.jetstream) <= 61 + 1  # a last chunk, smaller than the others, may have fit

    async def test_chunks_are_as_small_as_the_bucket_wants_them(self, site: Site) -> None:
        """Its `max_msg_size`, headers counted."""
        await bucket(site.jetstream, max_msg_size=3000)
        site.objects.chunk = 128 * KIB

        assert await site.store(site.file(data_of(20))) is True
        assert max(len(data) for _, _, _, data in await messages(site.jetstream)) == 2 * KIB

    async def test_a_bucket_that_takes_no_chunk_at_all_refuses_the_file(self, site: Site) -> None:
        """With the size that it takes."""
        await bucket(site.jetstream, max_msg_size=1000)

        refusal = await site.store(site.file(data_of(20)))
        assert isinstance(refusal, Refusal)
        assert refusal.reason == "too_large"
        assert "1000 bytes" in refusal.detail

    async def test_a_file_that_changed_before_is_not_sent(self, site: Site) -> None:
        """Written to, replaced, gone, or somebody writes to it."""
        for change in (rewritten, replaced, linked, removed):
            content = site.file(data_of(20))
            change(site.folder / "file")
            assert await site.store(content) is False, change
        (site.folder / "file").unlink(missing_ok=True)
        content = site.file(data_of(20))
        with (site.folder / "file").open("ab"):
            assert await site.store(content) is False
        assert await stored_in_all(site.jetstream) == 0
        assert await site.store(content) is True

    async def test_a_file_that_changes_under_way_is_not_delivered(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Chunks of what it is now are of no use to what it was: they are taken out."""
        content = site.file(data_of(100))
        at_read(monkeypatch, 3, lambda: rewrite(site.folder / "file", 90 * KIB, b"other"))

        assert await site.store(content) is False
        assert await chunk_count(site.jetstream) == 0
        content = site.content()
        await site.stores(content)
        assert await read_back(site.jetstream, content.sha256) == (site.folder / "file").read_bytes()

    async def test_a_file_that_is_cut_under_way_is_not_delivered(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There is not even enough to read."""
        content = site.file(data_of(100))
        at_read(monkeypatch, 3, lambda: os.truncate(site.folder / "file", 50 * KIB))

        assert await site.store(content) is False
        assert await chunk_count(site.jetstream) == 0

    async def test_a_file_that_is_touched_under_way_has_to_settle_again(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its bytes are the same, so what was sent of them is of use."""
        content = site.file(data_of(100))
        at_read(monkeypatch, 3, lambda: os.utime(site.folder / "file", (1, 1)))

        assert await site.store(content) is False
        assert await site.store(site.content()) is True
        assert await stored_in_all(site.jetstream) == 101


class TestWhatTheBucketHasLost:
    """Of what it acknowledged, as it is asked after a server may have lost something."""

    async def lost(self, site: Site, *contents: Content) -> list[bool]:
        """Which of these objects are gone."""
        names = [BUCKET.object_of(content.sha256) for content in contents]
        gone = await site.watch.lost(await site.jetstream.session(), names)
        return [name in gone for name in names]

    async def test_whole_objects_are_not_lost_and_others_are(self, site: Site) -> None:
        """Without a chunk, without its meta, never heard of."""
        files = [site.file(data_of(3 + number), str(number)) for number in range(4)]
        for content in files[:3]:
            await site.stores(content)
        await site.jetstream.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": 6})
        await site.jetstream.api(f"STREAM.PURGE.{STREAM}", {"filter": BUCKET.meta_subject(files[2].sha256)})
        assert await self.lost(site, *files) == [False, True, True, True]

    async def test_what_its_owner_deleted_is_not_lost(self, site: Site) -> None:
        """As any client deletes."""
        content = site.file(data_of(3))
        await site.stores(content)
        deleted = json.dumps({"name": content.sha256, "deleted": True}).encode()
        await site.jetstream.ask(BUCKET.meta_subject(content.sha256), deleted, Nats_Rollup="sub")
        await site.jetstream.api(f"STREAM.PURGE.{STREAM}", {"filter": "$O.edge_replay.C.>"})
        assert await self.lost(site, content) == [False]

    async def test_with_the_bucket_all_is_lost(self, site: Site) -> None:
        """It is made anew when they are sent again."""
        content = site.file(data_of(3))
        await site.stores(content)
        await site.jetstream.delete(STREAM)
        assert await self.lost(site, content) == [True]

    async def test_what_expired_by_the_buckets_own_rules_is_not_lost(self, site: Site) -> None:
        """Nobody can tell it from a loss, and its owner wanted it so."""
        await bucket(site.jetstream, max_age=3_600_000_000_000)
        assert await self.lost(site, site.file(data_of(3))) == [False]

    async def test_what_may_not_be_looked_at_is_not_known(
        self, tmp_path: Path, request: pytest.FixtureRequest, kind: str
    ) -> None:
        """Neither lost nor there."""
        async with connected(request, kind, (f"$JS.API.STREAM.INFO.{STREAM}",)) as jetstream:
            site = Site(tmp_path, jetstream)
            with pytest.raises(PermissionError):
                await self.lost(site, site.file(b"x"))


class TestTheWatch:
    """Buckets change while the connection stays up."""

    async def test_one_that_is_made_anew_is_suspected_once(self, site: Site) -> None:
        """Also when nobody looked while it was away; and one that stays as it was never is."""
        session = await site.jetstream.session()
        await site.stores(site.file(data_of(3)))
        assert await site.watch.look(session)
        await site.stores(site.file(data_of(4)))
        assert await site.watch.look(session)
        assert site.suspicions == 0
        await site.jetstream.delete(STREAM)
        await bucket(site.jetstream)
        for _ in range(2):
            assert await site.watch.look(session)
        assert site.suspicions == 1

    async def test_one_that_is_gone_is_suspected_once(self, site: Site) -> None:
        """And once more when the next large file has it made anew."""
        session = await site.jetstream.session()
        await site.stores(site.file(data_of(3)))
        await site.jetstream.delete(STREAM)
        for _ in range(2):
            assert await site.watch.look(session)
        assert site.suspicions == 1

    async def test_nothing_is_asked_before_there_is_an_object(self, site: Site) -> None:
        """A site without large files needs no right to look at a bucket, and makes none."""
        assert await site.watch.look(await site.jetstream.session())
        assert site.watch.watched == []


class TestTheJanitor:
    """What nobody goes on with."""

    async def abandoned(self, site: Site) -> str:
        """An upload that stopped in the middle."""
        content = site.file(data_of(60), "gone")
        session = await cut_after(site.jetstream, 20)
        assert await site.store(content) is False
        await after(session, site.jetstream)
        (site.folder / "gone").unlink()
        assert await chunk_count(site.jetstream) >= 20
        return BUCKET.chunk_subject(object_format.nuid_of(content.sha256, KIB, "here"))

    async def test_it_takes_out_an_upload_that_stands_still(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whosoever it was; complete objects stay, also those of others."""
        await self.abandoned(site)
        assert await site.store(site.file(data_of(5), "whole")) is True
        await site.jetstream.ask("$O.edge_replay.C.0123456789012345678901", b"another client's, without a meta yet")
        monkeypatch.setattr(janitor, "ABANDONED_SECONDS", 0.0)

        other = Site(site.folder.parent, site.jetstream, "there")
        assert await other.store(other.file(data_of(3))) is True
        assert await chunk_count(site.jetstream) == 5 + 1 + 3
        assert await read_back(site.jetstream, sha256(data_of(5)).hexdigest()) == data_of(5)

    async def test_it_leaves_alone_what_may_be_gone_on_with(self, site: Site) -> None:
        """The other site may just be without a link."""
        subject = await self.abandoned(site)
        other = Site(site.folder.parent, site.jetstream, "there")
        assert await other.store(other.file(data_of(3))) is True

        assert any(where == subject for _, where, _, _ in await messages(site.jetstream))

    async def test_an_upload_that_stood_still_for_long_is_begun_again(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Half as long as the janitor waits; so he never takes out what somebody goes on with."""
        content = site.file(data_of(60))
        session = await cut_after(site.jetstream, 20)
        assert await site.store(content) is False
        await after(session, site.jetstream)

        with monkeypatch.context() as patch:
            patch.setattr(resume, "RESUME_SECONDS", -1.0)
            assert await site.store(content) is True
        assert site.heard.size >= len(data_of(60)) + 20 * KIB
        assert await chunk_count(site.jetstream) == 60
        assert await read_back(site.jetstream, content.sha256) == data_of(60)

    @pytest.mark.parametrize("kind", ["fake"])
    async def test_it_goes_on_for_two_weeks(self, site: Site) -> None:
        """Long after the server forgot the ids. Only in memory does time pass at will."""
        content = site.file(data_of(60))
        session = await cut_after(site.jetstream, 20)
        assert await site.store(content) is False
        await after(session, site.jetstream)
        assert isinstance(session, FakeSession)
        session.hub.clock.advance(14 * 86_400 - 1)

        await site.stores(content)
        assert await stored_in_all(site.jetstream) == 61


async def bucket(jetstream: JetStream, **config: Any) -> dict[str, Any]:
    """A bucket that somebody else made."""
    subjects = ["$O.edge_replay.C.>", "$O.edge_replay.M.>"]
    return await jetstream.stream(
        STREAM, **{"subjects": subjects, "discard": "new", "allow_rollup_hdrs": True, **config}
    )


def rewritten(file: Path) -> None:
    """Another first byte."""
    rewrite(file, 0, b"!")


def replaced(file: Path) -> None:
    """Another file, of the same bytes."""
    (file.parent / ".new").write_bytes(file.read_bytes())
    os.replace(file.parent / ".new", file)


def linked(file: Path) -> None:
    """The same bytes, behind a symlink."""
    os.replace(file, file.parent / ".real")
    file.symlink_to(".real")


def removed(file: Path) -> None:
    """Gone."""
    file.unlink()


def rewrite(file: Path, offset: int, data: bytes) -> None:
    """Other bytes in the same place."""
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(data)


def at_read(monkeypatch: pytest.MonkeyPatch, nth: int, act: Callable[[], object]) -> None:
    """Something happens right before a file is read for the n-th time."""
    read, count = source.Source._read, [0]

    def reading(self: source.Source, size: int) -> bytes:
        count[0] += 1
        if count[0] == nth:
            act()
        return read(self, size)

    monkeypatch.setattr(source.Source, "_read", reading)


class TestAForgedObject:
    """In a bucket that others write into, a meta, ids and a number of chunks are quickly made."""

    async def forge(self, site: Site, content: Content, ids: str, chunks: int, whole: bool) -> None:
        """Chunks of zeros under the nuid of an upload of this content; and, for a `whole` object, its meta."""
        size = content.stamp.size
        nuid = object_format.nuid_of(content.sha256, KIB, "here") if ids == "ours" else "0123456789012345678901"
        so_far = sha256((site.folder / content.name).read_bytes()[: chunks * KIB]).hexdigest()[:32]
        for number in range(chunks):
            chunk = object_format.Chunk(nuid, number, 0, so_far)
            body = bytes(min(KIB, size - number * KIB))
            await site.jetstream.ask(BUCKET.chunk_subject(nuid), body, Nats_Msg_Id=chunk.id)
        if whole:
            meta = object_format.Meta.of(content.sha256, size, KIB, "here")._replace(nuid=nuid)
            await site.jetstream.ask(BUCKET.meta_subject(content.sha256), meta.encode(BUCKET, KIB), Nats_Rollup="sub")

    @pytest.mark.parametrize("ids", ["ours", "theirs"])
    async def test_an_object_of_zeros_is_not_the_file(self, site: Site, ids: str) -> None:
        """Right are its digest, its size and its number of chunks. The file is uploaded, and replaces it."""
        await site.stores(site.file(b"first", "first"))
        content = site.file(data_of(16))
        await self.forge(site, content, ids, 16, whole=True)

        await site.stores(content)
        assert await read_back(site.jetstream, content.sha256) == data_of(16)

    async def test_chunks_of_zeros_are_no_beginning_of_an_upload(self, site: Site) -> None:
        """Their last one has the id that our own would have. What was finished behind them is begun again."""
        await site.stores(site.file(b"first", "first"))
        content = site.file(data_of(16))
        await self.forge(site, content, "ours", 7, whole=False)

        await site.stores(content)
        assert await read_back(site.jetstream, content.sha256) == data_of(16)
