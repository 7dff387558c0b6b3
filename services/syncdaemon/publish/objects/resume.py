"""A file as an object: what it and its chunks are called, and where an upload goes on. Pure.

The wire format is the Object Store's (ADR-20): an object of the bucket B lies in the stream OBJ_B as chunks on the
subject `$O.B.C.<nuid>` and, last, a meta on `$O.B.M.<base64url(name)>`. Readers take no notice of a chunk's headers;
ours tell what all bytes up to its end are, so that an upload can be trusted, and gone on with.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

BUCKET = "edge_replay"
STREAM = f"OBJ_{BUCKET}"
ALL_CHUNKS = f"$O.{BUCKET}.C.>"
ALL_METAS = f"$O.{BUCKET}.M.>"

SIZES = tuple(1 << power for power in range(17, 9, -1))
"""The sizes that files are cut into, 128 KiB (ADR-20's default) to 1 KiB. Few, so that an upload that was begun
with another one is found."""

HEADERS = 400
"""Bytes: more than the header block of any chunk."""

RESUME_SECONDS = 14 * 86_400.0
ABANDONED_SECONDS = 2 * RESUME_SECONDS
"""An upload whose last chunk is older, by the server's clock, is not gone on with after the first time, and removed
by anybody after the second. What lies between is longer than any request is under way: nobody removes what
somebody goes on with."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_STEM, _ORIGIN = 16, 6  # characters of a nuid that tell what is uploaded, and who does it
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"([0-9A-Za-z]{22})\.(\d{1,12})\.(\d{1,6})\.([0-9a-f]{32})")


def object_of(digest: str) -> str:
    """Bucket and name of the object that holds this content, as `Edge-Object` carries them: its name is its digest."""
    return f"{BUCKET}/{digest}"


def size_within(room: int, wanted: int = SIZES[0]) -> int | None:
    """The largest chunk, at most `wanted`, that fits into `room` bytes with its headers; None where none does."""
    return next((size for size in SIZES if size <= wanted and size + HEADERS <= room), None)


def count_of(length: int, size: int) -> int:
    """How many chunks of this size a file of `length` bytes has."""
    return -(-length // size)


def nuid_of(digest: str, size: int, site: str) -> str:
    """The id that the chunks of an upload share: the same at every attempt, and another for each site.

    So nobody ever writes into the upload of another site, nor has a reason to remove it.
    """
    return stem_of(digest, size) + _base62(site.encode(), _ORIGIN)


def stem_of(digest: str, size: int) -> str:
    """The part of a nuid that is the same at every site: from digest, chunk size and name (which is the digest)."""
    return _base62(bytes.fromhex(digest) + size.to_bytes(8, "big") + digest.encode(), _STEM)


def _base62(data: bytes, length: int) -> str:
    number, digits = int.from_bytes(sha256(data).digest(), "big"), []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(digits)


def chunk_subject(nuid: str) -> str:
    """Where the chunks of an upload go."""
    return f"$O.{BUCKET}.C.{nuid}"


def meta_subject(name: str) -> str:
    """Where the meta of an object goes; base64url with its padding."""
    return f"$O.{BUCKET}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


class Chunk(NamedTuple):
    """A chunk's place in its upload. `so_far` is half the SHA-256 of all bytes up to this chunk's end.

    `generation` goes up where chunks were taken out again: the server knows their ids for a while, and would not
    store the same ids a second time.
    """

    nuid: str
    number: int
    generation: int
    so_far: str

    @property
    def id(self) -> str:
        """Its `Nats-Msg-Id`."""
        return f"{self.nuid}.{self.number}.{self.generation}.{self.so_far}"

    @classmethod
    def from_id(cls, text: str) -> Chunk | None:
        """The chunk with this id; None where that is not one of ours."""
        found = _ID.fullmatch(text)
        return cls(found[1], int(found[2]), int(found[3]), found[4]) if found else None

    def headers(self, digest: str, after: int | None) -> bytes:
        """Its header block. `after`: the sequence that the subject's last chunk must have, 0 for none."""
        expected = "" if after is None else f"Nats-Expected-Last-Subject-Sequence: {after}\r\n"
        return (
            f"NATS/1.0\r\nNats-Msg-Id: {self.id}\r\nNats-Expected-Stream: {STREAM}\r\n{expected}"
            f"Edge-Object: {object_of(digest)}\r\n\r\n"
        ).encode()


class Found(NamedTuple):
    """What the stream holds of an upload: how many chunks, and of the last its sequence, its id and its age."""

    chunks: int
    seq: int = 0
    last_id: str = ""
    age: float = 0.0


class GoOn(NamedTuple):
    """The upload goes on with chunk `number`, after the one at `seq`, if the bytes before it are those of `so_far`."""

    number: int
    seq: int
    generation: int
    so_far: str


def decide(found: Found, nuid: str, total: int) -> GoOn | str:
    """Where an upload of `total` chunks goes on, or why what is there can't be trusted.

    Chunks are sent in order over one connection, so the last one vouches for those before it, as long as none is
    missing: its number for their number, its digest for their bytes.
    """
    if not found.chunks:
        return GoOn(0, 0, 0, "")
    last = Chunk.from_id(found.last_id)
    if last is None or last.nuid != nuid:
        return f"its last chunk is not ours: {found.last_id!r}"
    if last.number != found.chunks - 1:
        return f"{found.chunks} chunks, and the last is number {last.number + 1}"
    if last.number >= total:
        return f"{found.chunks} chunks of {total}"
    if found.age > RESUME_SECONDS:
        return f"its last chunk is {found.age / 86_400:.0f} days old"
    return GoOn(found.chunks, found.seq, last.generation, last.so_far)


class Meta(NamedTuple):
    """The meta of an object: what makes of chunks an object. `seq`: where it is in the stream."""

    name: str
    nuid: str
    size: int
    chunks: int
    digest: str
    seq: int = 0

    @classmethod
    def of(cls, digest: str, length: int, size: int, site: str) -> Meta:
        """The one that an upload ends with."""
        whole = base64.urlsafe_b64encode(bytes.fromhex(digest)).decode()
        return cls(digest, nuid_of(digest, size, site), length, count_of(length, size), f"SHA-256={whole}")

    def encode(self, size: int) -> bytes:
        """As JSON, for an object in chunks of `size` bytes. ADR-20 wants no `mtime`: that is the message's time."""
        fields = {
            "name": self.name,
            "bucket": BUCKET,
            "nuid": self.nuid,
            "size": self.size,
            "chunks": self.chunks,
            "digest": self.digest,
            "options": {"max_chunk_size": size},
        }
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes, seq: int) -> Meta:
        """From a message on a meta's subject, whoever wrote it; without a nuid where no chunks are its own."""
        try:
            match json.loads(data):
                case {"deleted": True} | {"options": {"link": _}}:
                    pass
                case {
                    "name": str(name),
                    "nuid": str(nuid),
                    "size": int(size),
                    "chunks": int(count),
                    "digest": str(digest),
                }:
                    return cls(name, nuid, size, count, digest, seq)
        except (ValueError, RecursionError):
            pass
        return cls("", "", 0, 0, "", seq)

    def is_of(self, other: Meta) -> bool:
        """Whether it stands for the same content, though perhaps cut and uploaded by somebody else."""
        return bool(self.nuid) and (self.size, self.digest) == (other.size, other.digest)


def unaccounted(nuids: Iterable[str], names: Iterable[str]) -> set[str]:
    """Which of these uploads the objects of these names do not account for, as far as names tell.

    A single upload of an object's content is taken for the object's own; of several only its meta knows which one is.
    """
    uploads: dict[str, list[str]] = {}
    for nuid in nuids:
        uploads.setdefault(nuid[:_STEM], []).append(nuid)
    for name in filter(_SHA256.fullmatch, names):
        stems = [stem for size in SIZES if (stem := stem_of(name, size)) in uploads]
        if sum(len(uploads[stem]) for stem in stems) == 1:
            del uploads[stems[0]]
    return {nuid for several in uploads.values() for nuid in several}


def names_of(subjects: Iterable[str]) -> list[str]:
    """The names of the objects whose metas are on these subjects; what is no name in base64url is left out."""
    found = []
    for subject in subjects:
        try:
            found.append(base64.urlsafe_b64decode(subject.rpartition(".")[2]).decode())
        except ValueError:
            continue
    return found
