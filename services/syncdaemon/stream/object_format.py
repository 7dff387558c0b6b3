"""The Object Store's names and metas (ADR-20), and what is ours in them. Pure.

An object of the bucket B lies in the stream OBJ_B as chunks on the subject `$O.B.C.<nuid>` and, last, a meta on
`$O.B.M.<base64url(name)>`. Readers take no notice of a chunk's headers; ours tell what all bytes up to its end are, so
that an upload can be trusted, and gone on with.
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

STEM = 16  # characters of a nuid that tell what is uploaded
_ORIGIN = 6  # and those that tell who does it
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID = re.compile(r"([0-9A-Za-z]{22})\.(\d{1,12})\.(\d{1,6})\.([0-9a-f]{32})")


def object_of(digest: str) -> str:
    """Bucket and name of the object that holds this content, as `Edge-Object` carries them: its name is its digest."""
    return f"{BUCKET}/{digest}"


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
    return _base62(bytes.fromhex(digest) + size.to_bytes(8, "big") + digest.encode(), STEM)


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


def names_of(subjects: Iterable[str]) -> list[str]:
    """The names of the objects whose metas are on these subjects; what is no name in base64url is left out."""
    found = []
    for subject in subjects:
        try:
            found.append(base64.urlsafe_b64decode(subject.rpartition(".")[2]).decode())
        except ValueError:
            continue
    return found
