"""What objects and chunks are called, and where an upload goes on: for any file, and any state of the bucket."""

from __future__ import annotations

import base64
import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.publish.objects import resume
from syncdaemon.publish.objects.resume import Found, GoOn, decide
from syncdaemon.stream import object_format
from syncdaemon.stream.object_format import Chunk, Meta

DIGEST = sha256(b"evidence").hexdigest()
DIGESTS = st.binary(max_size=8).map(lambda data: sha256(data).hexdigest())
SITES = st.from_regex(r"[a-z0-9-]{1,63}", fullmatch=True)
SIZES = st.sampled_from(resume.SIZES)
SO_FAR = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def test_names_are_the_object_stores() -> None:
    """ADR-20, to the letter."""
    assert object_format.STREAM == "OBJ_edge_replay"
    assert object_format.chunk_subject("NUID") == "$O.edge_replay.C.NUID"
    assert object_format.meta_subject("ab?>") == "$O.edge_replay.M.YWI_Pg=="
    assert object_format.object_of(DIGEST) == f"edge_replay/{DIGEST}"


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


@given(st.integers(0, 1 << 21), st.integers(0, 1 << 20))
def test_a_chunk_fits_with_its_headers(room: int, wanted: int) -> None:
    """The largest that does, and is not larger than wanted."""
    found = resume.size_within(room, wanted)

    fitting = [size for size in resume.SIZES if size <= wanted and size + resume.HEADERS <= room]
    assert found == (max(fitting) if fitting else None)


@given(DIGESTS, SIZES, SITES, st.integers(0, 10**12 - 1), st.integers(0, 10**6 - 1), SO_FAR, st.integers(0, 1 << 63))
def test_an_id_tells_the_chunk_and_its_headers_are_small(
    digest: str, size: int, site: str, number: int, generation: int, so_far: str, after: int
) -> None:
    """For files of any size in any place of a stream."""
    chunk = Chunk(object_format.nuid_of(digest, size, site), number, generation, so_far)

    assert Chunk.from_id(chunk.id) == chunk
    for expected in (None, after):
        assert len(chunk.headers(digest, expected)) <= resume.HEADERS


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

    assert chunk.headers(DIGEST, 12).decode().split("\r\n") == [
        "NATS/1.0",
        f"Nats-Msg-Id: {'N' * 22}.7.1.{'a' * 32}",
        "Nats-Expected-Stream: OBJ_edge_replay",
        "Nats-Expected-Last-Subject-Sequence: 12",
        f"Edge-Object: edge_replay/{DIGEST}",
        "",
        "",
    ]
    assert b"Expected-Last" not in chunk.headers(DIGEST, None)


class TestWhereItGoesOn:
    """`decide`."""

    NUID = "N" * 22

    def found(self, count: int, number: int, age: float = 0.0, generation: int = 3) -> Found:
        return Found(count, 100, Chunk(self.NUID, number, generation, "a" * 32).id, age)

    def test_with_nothing_there_at_the_beginning(self) -> None:
        """Expected is that nothing is there."""
        assert decide(Found(0), self.NUID, 10) == GoOn(0, 0, 0, "")

    @given(st.integers(1, 1000), st.integers(0, 1000))
    def test_behind_the_last_chunk(self, there: int, missing: int) -> None:
        """Also where that is the end."""
        assert decide(self.found(there, there - 1), self.NUID, there + missing) == GoOn(there, 100, 3, "a" * 32)

    @given(st.integers(1, 100), st.integers(0, 100), st.integers(1, 100))
    def test_only_without_a_hole(self, there: int, number: int, total: int) -> None:
        """As many as the last one's number says, and no more than the file has."""
        decided = decide(self.found(there, number), self.NUID, total)

        assert isinstance(decided, GoOn) == (number == there - 1 and there <= total)

    @pytest.mark.parametrize("last", ["", "?", Chunk("M" * 22, 4, 0, "a" * 32).id])
    def test_only_behind_a_chunk_of_this_upload(self, last: str) -> None:
        """Somebody else's, or none with an id."""
        assert "not ours" in str(decide(Found(5, 100, last), self.NUID, 10))

    def test_only_within_two_weeks(self) -> None:
        """And nobody takes it out for another two."""
        assert isinstance(decide(self.found(5, 4, 14 * 86_400.0), self.NUID, 10), GoOn)
        assert decide(self.found(5, 4, 15 * 86_400.0), self.NUID, 10) == "its last chunk is 15 days old"
        assert resume.ABANDONED_SECONDS == 28 * 86_400


class TestTheMeta:
    """What makes an object of chunks."""

    @given(DIGESTS, st.integers(0, 1 << 50), SIZES, SITES)
    def test_it_reads_back(self, digest: str, length: int, size: int, site: str) -> None:
        """As JSON with the names of ADR-20, and no mtime."""
        meta = Meta.of(digest, length, size, site)
        told = json.loads(meta.encode(size))

        assert Meta.decode(meta.encode(size), 5) == meta._replace(seq=5)
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

    @pytest.mark.parametrize("change", [{"deleted": True}, {"options": {"link": {"bucket": "b"}}}, {"size": "10"}])
    def test_a_deleted_object_and_a_link_have_no_chunks(self, change: dict[str, object]) -> None:
        """Nor has one without its parts."""
        meta = Meta.of(DIGEST, 10, 1024, "here")
        told = json.loads(meta.encode(1024)) | change

        assert not Meta.decode(_json(told), 5).is_of(meta)

    def test_an_object_may_be_cut_by_somebody_else(self) -> None:
        """The same content in other chunks, but not another content."""
        meta = Meta.of(DIGEST, 10, 1024, "here")

        assert Meta.of(DIGEST, 10, 2048, "there").is_of(meta)
        assert not Meta.of(DIGEST, 11, 1024, "here").is_of(meta)
        assert not Meta.of(sha256(b"").hexdigest(), 10, 1024, "here").is_of(meta)


class TestWhatNobodyAccountsFor:
    """`unaccounted`: what the janitor has a closer look at."""

    @given(st.dictionaries(DIGESTS, st.tuples(SIZES, SITES), max_size=8), st.data())
    def test_uploads_without_an_object(self, uploads: dict[str, tuple[int, str]], data: st.DataObject) -> None:
        """Each object accounts for its own upload; others have none yet, or never will."""
        nuids = {digest: object_format.nuid_of(digest, *upload) for digest, upload in uploads.items()}
        whole = data.draw(st.sets(st.sampled_from(sorted(nuids)))) if nuids else set()

        found = resume.unaccounted(nuids.values(), [*whole, "another client's object"])
        assert found == {nuid for digest, nuid in nuids.items() if digest not in whole}

    def test_several_uploads_of_one_object(self) -> None:
        """Its meta knows which one it is: all are looked at."""
        nuids = [object_format.nuid_of(DIGEST, 1024, "here"), object_format.nuid_of(DIGEST, 2048, "there")]

        assert resume.unaccounted(nuids, [DIGEST]) == set(nuids)
        assert resume.unaccounted(nuids[:1], [DIGEST]) == set()

    def test_uploads_of_others(self) -> None:
        """Are of other names."""
        assert resume.unaccounted(["another"], ["its name"]) == {"another"}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)))
def test_names_come_back_from_their_subjects(names: list[str]) -> None:
    """What is no name is left out."""
    assert (
        object_format.names_of([*map(object_format.meta_subject, names), "$O.edge_replay.M.A", "$O.edge_replay.M._w=="])
        == names
    )
