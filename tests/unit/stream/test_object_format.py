"""What objects and chunks are called, and what a meta tells: for any file, whoever wrote it."""

from __future__ import annotations

import base64
import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.publish.objects import resume
from syncdaemon.stream import object_format
from syncdaemon.stream.object_format import BucketNames, Chunk, Meta, ObjectPlace

BUCKET = BucketNames("edge_replay")
DIGEST = sha256(b"evidence").hexdigest()
DIGESTS = st.binary(max_size=8).map(lambda data: sha256(data).hexdigest())
SITES = st.from_regex(r"[a-z0-9-]{1,63}", fullmatch=True)
SIZES = st.sampled_from(resume.SIZES)
SO_FAR = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def test_names_are_the_object_stores() -> None:
    """ADR-20, to the letter."""
    assert BUCKET.stream == "OBJ_edge_replay"
    assert BUCKET.chunk_subject("NUID") == "$O.edge_replay.C.NUID"
    assert BUCKET.meta_subject("ab?>") == "$O.edge_replay.M.YWI_Pg=="
    assert BUCKET.object_of(DIGEST) == f"edge_replay/{DIGEST}"


def test_a_nuid_stays_what_it_is() -> None:
    """It is what an upload is gone on with by, also by the next version of this program."""
    assert object_format.nuid_of(DIGEST, 128 << 10, "harbour-3") == "qxW1UuV3tnrAr31R8GaTwz"


@given(st.lists(st.tuples(DIGESTS, SIZES, SITES), min_size=2, max_size=10, unique=True))
def test_no_two_uploads_share_a_nuid(uploads: list[tuple[str, int, str]]) -> None:
    """Another content, another size of chunk, another site: 22 characters of base62 each."""
    nuids = [object_format.nuid_of(*upload) for upload in uploads]

    assert len(set(nuids)) == len(uploads)
    assert all(len(nuid) == 22 and nuid.isascii() and nuid.isalnum() for nuid in nuids)


@given(DIGESTS, SIZES, SITES, SITES)
def test_the_sites_of_an_object_share_the_stem(digest: str, size: int, one: str, other: str) -> None:
    """By which its uploads are found."""
    stem = object_format.stem_of(digest, size)

    assert object_format.nuid_of(digest, size, one).startswith(stem)
    assert object_format.nuid_of(digest, size, other).startswith(stem)


@given(DIGESTS, SIZES, SITES, st.integers(0, 10**12 - 1), st.integers(0, 10**6 - 1), SO_FAR, st.integers(0, 1 << 63))
def test_an_id_tells_the_chunk_and_its_headers_are_small(
    digest: str, size: int, site: str, number: int, generation: int, so_far: str, after: int
) -> None:
    """For files of any size in any place of a stream."""
    chunk = Chunk(object_format.nuid_of(digest, size, site), number, generation, so_far)

    assert Chunk.from_id(chunk.id) == chunk
    for expected in (None, after):
        assert len(chunk.headers(BUCKET, digest, expected)) <= resume.HEADERS


@given(st.text(max_size=80))
def test_what_is_no_id_of_ours_is_none(text: str) -> None:
    """Nor is one with something before or behind it."""
    ours = Chunk("0" * 22, 1, 0, "a" * 32).id

    assert Chunk.from_id(text) is None
    assert Chunk.from_id(ours) is not None
    assert Chunk.from_id(ours + "\n") is None
    assert Chunk.from_id(" " + ours) is None


def test_the_headers_of_a_chunk() -> None:
    """The expected sequence only where it is known."""
    chunk = Chunk("N" * 22, 7, 1, "a" * 32)

    assert chunk.headers(BUCKET, DIGEST, 12).decode().split("\r\n") == [
        "NATS/1.0",
        f"Nats-Msg-Id: {'N' * 22}.7.1.{'a' * 32}",
        "Nats-Expected-Stream: OBJ_edge_replay",
        "Nats-Expected-Last-Subject-Sequence: 12",
        f"Edge-Object: edge_replay/{DIGEST}",
        "",
        "",
    ]
    assert b"Expected-Last" not in chunk.headers(BUCKET, DIGEST, None)


class TestTheMeta:
    """What makes an object of chunks."""

    @given(DIGESTS, st.integers(0, 1 << 50), SIZES, SITES)
    def test_it_reads_back(self, digest: str, length: int, size: int, site: str) -> None:
        """As JSON with the names of ADR-20, and no mtime."""
        meta = Meta.of(digest, length, size, site)
        told = json.loads(meta.encode(BUCKET, size))

        assert Meta.decode(meta.encode(BUCKET, size), 5) == meta._replace(seq=5)
        assert told == {
            "name": digest,
            "bucket": "edge_replay",
            "nuid": object_format.nuid_of(digest, size, site),
            "size": length,
            "chunks": -(-length // size),
            "digest": "SHA-256=" + base64.urlsafe_b64encode(bytes.fromhex(digest)).decode(),
            "options": {"max_chunk_size": size},
        }

    @given(st.one_of(st.binary(max_size=40), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(_json)))
    def test_what_is_none_stands_for_nothing(self, data: bytes) -> None:
        """Whatever somebody else put there."""
        assert not Meta.decode(data, 5).is_of(Meta.of(DIGEST, 10, 1024, "here"))
        assert Meta.decode(data, 5).seq == 5

    @pytest.mark.parametrize(
        "change",
        [
            {"deleted": True},
            {"deleted": "yes"},
            {"options": {"link": {"bucket": "b"}}},
            {"options": []},
            {"size": "10"},
            {"size": True},
            {"size": -1},
            {"size": 2**63},
            {"chunks": None},
            {"chunks": 1.5},
            {"name": 5},
            {"nuid": ""},
            {"nuid": ">"},
            {"nuid": "a.b"},
            {"nuid": "a" * 65},
            {"nuid": "a\n"},
            {"nuid": "ä"},
            {"name": "\ud800"},
        ],
        ids=str,
    )
    def test_a_deleted_object_and_a_link_have_no_chunks(self, change: dict[str, object]) -> None:
        """Nor has one without its parts."""
        meta = Meta.of(DIGEST, 10, 1024, "here")
        told = json.loads(meta.encode(BUCKET, 1024)) | change

        assert not Meta.decode(_json(told), 5).is_of(meta)
        assert Meta.decode(_json(told), 5) == Meta("", "", 0, 0, "", 5)

    @pytest.mark.parametrize("change", [{"deleted": False}, {"digest": None}, {"options": None}, {"nuid": "a" * 64}])
    def test_what_a_client_may_leave_out_is_not_missed(self, change: dict[str, object]) -> None:
        """Another client's object can be read as well."""
        told = json.loads(Meta.of(DIGEST, 10, 1024, "here").encode(BUCKET, 1024)) | change

        assert Meta.decode(_json(told), 5).chunks == 1

    def test_an_object_may_be_cut_by_somebody_else(self) -> None:
        """The same content in other chunks, but not another content."""
        meta = Meta.of(DIGEST, 10, 1024, "here")

        assert Meta.of(DIGEST, 10, 2048, "there").is_of(meta)
        assert not Meta.of(DIGEST, 11, 1024, "here").is_of(meta)
        assert not Meta.of(sha256(b"").hexdigest(), 10, 1024, "here").is_of(meta)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)))
def test_names_come_back_from_their_subjects(names: list[str]) -> None:
    """What is no name is left out."""
    assert (
        object_format.names_of([*map(BUCKET.meta_subject, names), "$O.edge_replay.M.A", "$O.edge_replay.M._w=="])
        == names
    )


@pytest.mark.parametrize("bucket", ["edge_replay", "edge-1", "B"])
def test_the_bucket_is_a_value(bucket: str) -> None:
    """Another bucket has another stream and other subjects."""
    names = BucketNames(bucket)

    assert (names.stream, names.everything) == (f"OBJ_{bucket}", f"$O.{bucket}.>")
    assert (names.all_chunks, names.all_metas) == (f"$O.{bucket}.C.>", f"$O.{bucket}.M.>")
    assert ObjectPlace.of(names.object_of(DIGEST)) == ObjectPlace(bucket, DIGEST)
    assert ObjectPlace(bucket, DIGEST).names == names
    assert str(ObjectPlace(bucket, DIGEST)) == names.object_of(DIGEST)
    assert f"Edge-Object: {bucket}/{DIGEST}".encode() in Chunk("N" * 22, 7, 1, "a" * 32).headers(names, DIGEST, None)
    assert json.loads(Meta.of(DIGEST, 10, 1024, "here").encode(names, 1024))["bucket"] == bucket


def test_uploads_come_back_from_their_subjects() -> None:
    """But no wildcard, though a client can store a message on one: it would stand for the chunks of all."""
    subjects = ["$O.edge_replay.C.>", "$O.edge_replay.C.*", "$O.edge_replay.C.", "$O.edge_replay.C.ä"]

    assert object_format.nuids_of([*subjects, BUCKET.chunk_subject("a" * 22)]) == ["a" * 22]
