"""The Object Store's names and metas (ADR-20), and what is ours in them. Pure.

An object of the bucket B lies in the stream OBJ_B as chunks on the subject `$O.B.C.<nuid>` and, last, a meta on
`$O.B.M.<base64url(name)>`. Readers take no notice of a chunk's headers; ours tell what all bytes up to its end are, so
that an upload can be trusted, and resumed.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple

from syncdaemon.link.frame import header_block
from syncdaemon.stream import fields

STEM = 16  # characters of a nuid that tell what is uploaded
_ORIGIN = 6  # and those that tell who does it
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID = re.compile(r"([0-9A-Za-z]{22})\.(\d{1,12})\.(\d{1,6})\.([0-9a-f]{32})")
_PLACE = re.compile(r"([A-Za-z0-9_-]{1,251})/(.+)")  # with OBJ_, a stream's name has at most 255 characters
_NUID = re.compile(r"[0-9A-Za-z]{1,64}")
_MOST_NAME = 4_096  # characters of an object's name: as many as the longest path has bytes
_META: Mapping[str, fields.Kind] = {
    **dict.fromkeys(("name", "nuid", "digest"), fields.text),
    **dict.fromkeys(("size", "chunks"), fields.whole),
    "deleted": fields.flag,
    "options": fields.mapping,
}


class BucketNames(NamedTuple):
    """What the parts of a bucket of this name are called at the server."""

    bucket: str

    @property
    def stream(self) -> str:
        """The stream that holds all of it."""
        return f"OBJ_{self.bucket}"

    @property
    def everything(self) -> str:
        """The subjects of all chunks and metas."""
        return f"$O.{self.bucket}.>"

    @property
    def all_chunks(self) -> str:
        """The subjects of all chunks."""
        return f"$O.{self.bucket}.C.>"

    @property
    def all_metas(self) -> str:
        """The subjects of all metas."""
        return f"$O.{self.bucket}.M.>"

    def chunk_subject(self, nuid: str) -> str:
        """Where the chunks of an upload go."""
        return f"$O.{self.bucket}.C.{nuid}"

    def meta_subject(self, name: str) -> str:
        """Where the meta of an object goes; base64url with its padding."""
        return f"$O.{self.bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"

    def object_of(self, digest: str) -> str:
        """The object that has this content, as `Edge-Object` carries it: its name is the digest."""
        return f"{self.bucket}/{digest}"


class ObjectPlace(NamedTuple):
    """Which object of which bucket."""

    bucket: str
    name: str

    @classmethod
    def of(cls, text: str) -> ObjectPlace | None:
        """What an `Edge-Object` header names; None where it names no bucket as ADR-20 has them, or no object."""
        found = _PLACE.fullmatch(text)
        return cls(found[1], found[2]) if found and len(found[2]) <= _MOST_NAME else None

    def __str__(self) -> str:
        return f"{self.bucket}/{self.name}"

    @property
    def names(self) -> BucketNames:
        """What the parts of its bucket are called."""
        return BucketNames(self.bucket)


def count_of(length: int, size: int) -> int:
    """How many chunks of this size a file of `length` bytes has."""
    return -(-length // size)


def nuid_of(digest: str, size: int, site: str) -> str:
    """The id that the chunks of an upload share: the same at every attempt, and another for each site.

    So no site ever writes into the upload of another one, nor has a reason to remove it.
    """
    return stem_of(digest, size) + _base62(site.encode(), _ORIGIN)


def stem_of(digest: str, size: int) -> str:
    """The part of a nuid that is the same at every site: from digest, chunk size and name (which is the digest)."""
    return _base62(bytes.fromhex(digest) + size.to_bytes(8, "big") + digest.encode(), STEM)


def _base62(data: bytes, length: int) -> str:
    number, digits = int.from_bytes(sha256(data).digest(), "big"), []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(digits)


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

    def headers(self, names: BucketNames, digest: str, after: int | None) -> bytes:
        """Its header block. `after`: the sequence that the subject's last chunk must have, 0 for none."""
        expected = () if after is None else (("Nats-Expected-Last-Subject-Sequence", str(after)),)
        return header_block(
            ("Nats-Msg-Id", self.id),
            ("Nats-Expected-Stream", names.stream),
            *expected,
            ("Edge-Object", names.object_of(digest)),
        )


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

    def encode(self, names: BucketNames, size: int) -> bytes:
        """As JSON, for an object in chunks of `size` bytes. ADR-20 wants no `mtime`: that is the message's time."""
        found = {
            "name": self.name,
            "bucket": names.bucket,
            "nuid": self.nuid,
            "size": self.size,
            "chunks": self.chunks,
            "digest": self.digest,
            "options": {"max_chunk_size": size},
        }
        return json.dumps(found, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes, seq: int) -> Meta:
        """From a message on a meta's subject, whoever wrote it; without a nuid where no chunks are its own.

        Those of a deleted object are gone, and a link has none. A nuid becomes part of a subject, so it has nothing
        in it but letters and digits. Size and count are whole numbers of 64 bits that fit each other; a digest may be
        missing.
        """
        none = cls("", "", 0, 0, "", seq)
        try:
            found = fields.checked(fields.document(data), _META)
        except ValueError:
            return none
        if found.get("deleted") or "link" in found.get("options", {}) or not _NUID.fullmatch(found.get("nuid", "")):
            return none
        if not {"name", "size", "chunks"} <= found.keys() or not _can_be(found["size"], found["chunks"]):
            return none
        return cls(found["name"], found["nuid"], found["size"], found["chunks"], found.get("digest", ""), seq)

    def is_of(self, other: Meta) -> bool:
        """Whether it stands for the same content, though perhaps cut and uploaded by another program."""
        return bool(self.nuid) and (self.size, self.digest) == (other.size, other.digest)


def _can_be(size: int, chunks: int) -> bool:
    """Whether an object of `size` bytes can have so many chunks: none of them is empty, and no bytes have no place."""
    return chunks <= size and (chunks > 0 or size == 0)


def nuids_of(subjects: Iterable[str]) -> list[str]:
    """The ids of the uploads whose chunks are on these subjects.

    A subject that ends in anything else, such as a wildcard, is left out: what is asked about it, or taken out, could
    be another upload's.
    """
    return [nuid for subject in subjects if _NUID.fullmatch(nuid := subject.rpartition(".")[2])]


def names_of(subjects: Iterable[str]) -> list[str]:
    """The names of the objects whose metas are on these subjects; what is no name in base64url is left out."""
    found = []
    for subject in subjects:
        try:
            found.append(base64.urlsafe_b64decode(subject.rpartition(".")[2]).decode())
        except ValueError:
            continue
    return found
