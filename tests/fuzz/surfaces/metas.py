"""Names and metas of an object store, whoever wrote them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from random import Random
from typing import Any

from syncdaemon.stream.object_format import BucketNames, Chunk, Meta, ObjectPlace, names_of, nuid_of, nuids_of
from tests.fuzz import mutate
from tests.fuzz.surface import Case, Surface

DIGEST = sha256(b"abc").hexdigest()
BUCKET = BucketNames("edge_replay")
OURS = Meta.of(DIGEST, 3, 131_072, "edge-1")
OTHERS: dict[str, Any] = {
    "name": "theirs",
    "bucket": "edge_replay",
    "nuid": "abcdefghijklmnopqrstuv",
    "size": 3,
    "chunks": 1,
    "digest": OURS.digest,
    "mtime": "2026-01-02T03:04:05Z",
    "options": {"max_chunk_size": 131_072, "link": {"bucket": "other"}},
    "headers": {"a": ["b"]},
    "deleted": False,
}
CHUNK = Chunk(nuid_of(DIGEST, 131_072, "edge-1"), 3, 1, DIGEST[:32])
SUBJECT = re.compile(r"[!-~]+")  # of the protocol: nothing that ends a line, a token or a frame


@contextmanager
def ready() -> Iterator[Case]:
    ours = json.loads(OURS.encode(BUCKET, 131_072))

    def case(random: Random) -> None:
        meta = Meta.decode(mutate.spelled(random, random.choice((ours, OTHERS))), 9)
        if meta.nuid:
            assert SUBJECT.fullmatch(BUCKET.chunk_subject(meta.nuid)), meta
            assert 0 <= meta.size < 2**63
            assert 0 <= meta.chunks < 2**63
        again = Meta.decode(OURS.encode(BUCKET, random.randrange(1, 1 << 40)), 0)
        assert again == OURS
        _names(random)

    yield case


def _names(random: Random) -> None:
    """What is read of an id, a subject or a header is what was written there."""
    chunk = Chunk.from_id(mutate.text(random, CHUNK.id))
    assert chunk is None or len(chunk.id) <= len(CHUNK.id) + 40
    assert Chunk.from_id(CHUNK.id) == CHUNK
    subjects = [mutate.text(random, subject) for subject in (BUCKET.chunk_subject("abc"), BUCKET.meta_subject("name"))]
    for nuid in nuids_of(subjects):
        assert SUBJECT.fullmatch(BUCKET.chunk_subject(nuid)), subjects
    for name in names_of(subjects):
        assert SUBJECT.fullmatch(BUCKET.meta_subject(name)), subjects
    # As a header brings it: undecodable bytes have been replaced by then.
    text = mutate.text(random, f"edge_replay/{DIGEST}").encode(errors="surrogatepass").decode(errors="replace")
    if (place := ObjectPlace.of(text)) is not None:
        assert str(place) == text
        assert SUBJECT.fullmatch(place.names.stream), text
        assert SUBJECT.fullmatch(place.names.meta_subject(place.name)), text


SURFACE = Surface("metas", "metas and names of objects", ready)
