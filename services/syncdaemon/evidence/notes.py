"""Signed notes, checkpoints and cosignatures, to the byte (C2SP signed-note, tlog-checkpoint, tlog-cosignature). Pure.

A note is a text, an empty line and signature lines. A checkpoint is a note whose text has a log's origin, its size and
its root. A cosignature is a signature by somebody else, with the time at which he made it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from hashlib import sha256
from struct import pack, unpack
from typing import NamedTuple

from syncdaemon.evidence import ed25519
from syncdaemon.evidence.strict import (
    MOST_NUMBER,
    BadEvidence,
    base64_bytes,
    base64_text,
    decimal,
    hash_bytes,
    text_of,
)
from syncdaemon.evidence.tree import EMPTY_ROOT

LOG_KEY, COSIGNER_KEY = 0x01, 0x04
MOST_SIGNATURES = 64
MOST_NAME_BYTES = 255

_KINDS = {LOG_KEY: "a log's key (type 0x01)", COSIGNER_KEY: "a cosigner's key (type 0x04)"}
_ID_BYTES, _TIME_BYTES = 4, 8
_DASH = "\N{EM DASH} "


class VerifierKey(NamedTuple):
    """A public key with its name. `kind`: what it signs, `LOG_KEY` or `COSIGNER_KEY`."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """What its signature lines begin with: it depends on the whole name."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:_ID_BYTES]

    @property
    def vkey(self) -> str:
        """The key as a text, as others take it."""
        return f"{self.name}+{self.id.hex()}+{base64_text(bytes([self.kind]) + self.public)}"

    @classmethod
    def parse(cls, vkey: str, kind: int) -> VerifierKey:
        """The key that this text is, which must be of this kind. Raises BadEvidence."""
        name, _, rest = vkey.partition("+")
        key_id, _, material = rest.partition("+")
        check_name(name)
        raw = base64_bytes(material, "public key in the vkey")
        if not raw or raw[0] != kind:
            raise BadEvidence(f"the vkey of {name} is not {_KINDS[kind]}")
        if len(raw) != 1 + ed25519.PUBLIC_BYTES:
            raise BadEvidence(f"the vkey of {name} has no Ed25519 key of {ed25519.PUBLIC_BYTES} bytes")
        key = cls(name, kind, raw[1:])
        if key.id.hex() != key_id:
            raise BadEvidence(f"the vkey of {name} was altered: its id is not that of this name and key")
        return key


class Signature(NamedTuple):
    """A signature line: who signed by what key, and the rest, which means what the key's kind says."""

    name: str
    key_id: bytes
    blob: bytes

    @property
    def line(self) -> str:
        """The line as it stands in a note."""
        return f"{_DASH}{self.name} {base64_text(self.key_id + self.blob)}\n"


class SignedNote(NamedTuple):
    """A text and its signatures, none of them checked yet."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: bytes) -> SignedNote:
        """Raises BadEvidence where this is no note."""
        whole = text_of(data, "note")
        text, found, lines = whole.rpartition("\n\n")
        if not found or not lines.endswith("\n"):
            raise BadEvidence("the note has no signatures")
        signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
        if len(signatures) > MOST_SIGNATURES:
            raise BadEvidence(f"the note has over {MOST_SIGNATURES} signatures")
        return cls(text + "\n", signatures)

    def __bytes__(self) -> bytes:
        return "".join([self.text, "\n", *(signature.line for signature in self.signatures)]).encode()

    def of(self, key: VerifierKey) -> Iterator[Signature]:
        """The lines of this key, by name and id."""
        return (found for found in self.signatures if (found.name, found.key_id) == (key.name, key.id))

    def check(self, key: VerifierKey) -> None:
        """Raises BadEvidence where a log has not signed this note, or one of its signatures is wrong."""
        signatures = list(self.of(key))
        if not signatures:
            raise BadEvidence(f"the note has no signature by the key of {key.name}")
        for signature in signatures:
            _check_length(signature, 0)
            if not ed25519.verifies(key.public, self.text.encode(), signature.blob):
                raise BadEvidence(f"the signature by {key.name} is wrong")

    def cosigned(self, key: VerifierKey) -> int | None:
        """When a cosigner cosigned this note, in seconds since 1970; the newest time of several. None: it did not.

        Raises BadEvidence where one of its cosignatures is wrong.
        """
        times = []
        for signature in self.of(key):
            _check_length(signature, _TIME_BYTES)
            (time,) = unpack(">Q", signature.blob[:_TIME_BYTES])
            if time > MOST_NUMBER:
                raise BadEvidence(f"the cosignature by {key.name} has a time over 2^63 - 1")
            if not ed25519.verifies(key.public, _timed(time, self.text), signature.blob[_TIME_BYTES:]):
                raise BadEvidence(f"the cosignature by {key.name} is wrong")
            times.append(time)
        return max(times, default=None)

    def signed(self, name: str, seed: bytes) -> SignedNote:
        """The note with a log's signature more."""
        key = VerifierKey(check_name(name), LOG_KEY, ed25519.public_of(seed))
        return self._with(key, ed25519.sign(seed, self.text.encode()))

    def cosigned_by(self, name: str, seed: bytes, time: int) -> SignedNote:
        """The note with a cosignature more. `time`: now, in seconds since 1970."""
        key = VerifierKey(check_name(name), COSIGNER_KEY, ed25519.public_of(seed))
        return self._with(key, pack(">Q", time) + ed25519.sign(seed, _timed(time, self.text)))

    def _with(self, key: VerifierKey, blob: bytes) -> SignedNote:
        return self._replace(signatures=(*self.signatures, Signature(key.name, key.id, blob)))


class Checkpoint(NamedTuple):
    """The state of a log: with so many entries it has this root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64_text(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint in the text of a note; lines after the third are for others. Raises BadEvidence."""
        origin, _, rest = text.partition("\n")
        size, _, rest = rest.partition("\n")
        root, end, more = rest.partition("\n")
        if not end or (more and not all(more[:-1].split("\n"))):
            raise BadEvidence("the checkpoint does not have its lines: origin, size, root")
        found = cls(check_name(origin), decimal(size, "size of the checkpoint"), hash_bytes(root, "root"))
        if found.size == 0 and found.root != EMPTY_ROOT:
            raise BadEvidence("the checkpoint has no entries, and not the root of none")
        return found

    def note(self) -> SignedNote:
        """A note of this checkpoint, without a signature."""
        return SignedNote(self.text, ())


def check_name(name: str) -> str:
    """The name of a key, as it is. Raises BadEvidence where no key may have it."""
    if not name or "+" in name or any(char.isspace() or char < " " for char in name):
        raise BadEvidence("the name of a key is empty, or has a blank or a +")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise BadEvidence("the name of a key is not UTF-8") from None
    if size > MOST_NAME_BYTES:
        raise BadEvidence(f"the name of a key has over {MOST_NAME_BYTES} bytes")
    return name


def open_checkpoint(data: bytes, keys: Collection[VerifierKey]) -> tuple[Checkpoint, SignedNote]:
    """The checkpoint in a note that its log has signed, by each of these keys that has the origin's name.

    Raises BadEvidence.
    """
    note = SignedNote.parse(data)
    checkpoint = Checkpoint.parse(note.text)
    named = [key for key in keys if key.name == checkpoint.origin]
    if not named:
        raise BadEvidence(f"the checkpoint is of another log: {checkpoint.origin}")
    for key in named:
        note.check(key)
    return checkpoint, note


def _signature(line: str) -> Signature:
    if not line.startswith(_DASH):
        raise BadEvidence("a signature line does not begin with an em dash and a blank")
    name, _, blob = line.removeprefix(_DASH).partition(" ")
    raw = base64_bytes(blob, "signature")
    if len(raw) <= _ID_BYTES:
        raise BadEvidence("a signature is too short")
    return Signature(check_name(name), raw[:_ID_BYTES], raw[_ID_BYTES:])


def _check_length(signature: Signature, before: int) -> None:
    """Raises BadEvidence where a signature does not have its length, behind so many bytes before it."""
    if len(signature.blob) != before + ed25519.SIGNATURE_BYTES:
        raise BadEvidence(f"the signature by {signature.name} has {len(signature.blob)} bytes")


def _timed(time: int, text: str) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
