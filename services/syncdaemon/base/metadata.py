"""What a producer says of a file beside its bytes: pairs of a name and a value, and a trace. Checked and bounded. Pure.

It has three forms, and each is read as strictly as it is written: a sidecar file, the headers of a message, and the
text `meta` of a row, which is form-urlencoded with its names sorted. Names are folded to small letters, since readers
of headers differ in whether case counts; two names that differ in nothing else are an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

MOST_PAIRS = 16
MOST_BYTES = 2_048
"""Of all names and values together."""

LARGEST_SIDECAR = 16 << 10  # bytes: MOST_BYTES, each written as an escape of JSON, and room for a hand's layout
SIDECAR_ENDING = b".meta.json"

PREFIX = "Edge-Meta-"
TRACEPARENT = "traceparent"
SHA256 = "sha256"
_RESERVED = frozenset({TRACEPARENT, SHA256})

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class BadMetadata(ValueError):
    """It can't be taken; the text says why, and names no value."""


class Said(NamedTuple):
    """What is said of a file. `meta`: its pairs, form-urlencoded; empty: none. `traceparent`: W3C's; empty: none."""

    meta: str = ""
    traceparent: str = ""

    @property
    def pairs(self) -> dict[str, str]:
        """The pairs by their names, sorted."""
        return dict(parse_qsl(self.meta, keep_blank_values=True))


class Sidecar(NamedTuple):
    """What a sidecar says. `sha256`: the digest of the file that it is about; empty: of whichever has its name."""

    said: Said
    sha256: str = ""

    def is_about(self, digest: str) -> bool:
        """Whether it speaks of the content with this digest."""
        return self.sha256 in ("", digest)


def sidecar_of(name: bytes) -> bytes:
    """The name of the sidecar of the file that has this name in the same folder: hidden, so never taken by itself."""
    return b".%b%b" % (name, SIDECAR_ENDING)


def file_of(sidecar: bytes) -> bytes | None:
    """The name of the file that a sidecar of this name would be about; None where it is no sidecar's name."""
    name = sidecar[1 : -len(SIDECAR_ENDING)]
    return name if name and sidecar_of(name) == sidecar else None


def without_sidecars(names: Iterable[bytes]) -> list[bytes]:
    """The names among these that are no sidecar's."""
    return [name for name in names if file_of(name) is None]


def said(pairs: Mapping[str, str] | Iterable[tuple[str, str]], traceparent: str = "") -> Said:
    """Raises BadMetadata where a name or a value can't be sent, there are too many, or two names fold to one."""
    found: dict[str, str] = {}
    for name, value in pairs.items() if isinstance(pairs, Mapping) else pairs:
        folded = _name(name)
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise BadMetadata(
                f"the value of {folded!r} has to be one line of printable ASCII that neither begins nor ends with a "
                "blank; percent-encode anything else"
            )
        if folded in found:
            raise BadMetadata(f"the name {folded!r} is there twice; capital and small letters are one")
        found[folded] = value
    size = sum(len(name) + len(value) for name, value in found.items())
    if len(found) > MOST_PAIRS or size > MOST_BYTES:
        raise BadMetadata(
            f"{len(found)} pairs of {size} bytes; at most {MOST_PAIRS} pairs and {MOST_BYTES} bytes are taken"
        )
    if traceparent and not is_traceparent(traceparent):
        raise BadMetadata("traceparent is not one of W3C's Trace Context: 00-<32 hex>-<16 hex>-<2 hex>")
    return Said(urlencode(sorted(found.items())), traceparent)


def _name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadMetadata("a name has 1 to 64 of a-z, A-Z, 0-9, - and _, and begins with a letter or a digit")
    folded = name.lower()
    if folded in _RESERVED:
        raise BadMetadata(f"the name {folded!r} is kept for another use")
    return folded


def is_traceparent(text: str) -> bool:
    """Whether this is a `traceparent` of W3C's Trace Context, as version 00 has it."""
    return bool(_TRACEPARENT.fullmatch(text))


def header_lines(said: Said) -> list[str]:
    """The headers of a message, each with its line's end."""
    lines = [f"{header_of(name)}: {value}\r\n" for name, value in said.pairs.items()]
    return [*lines, f"{TRACEPARENT}: {said.traceparent}\r\n"] if said.traceparent else lines


def header_of(name: str) -> str:
    """The header of a name: `run-id` goes as `Edge-Meta-Run-Id`."""
    return PREFIX + "-".join(part.capitalize() for part in name.split("-"))


def of_headers(headers: Mapping[str, str]) -> Said | None:
    """What a message's headers say; None where that is not as we write it, and so nobody's word."""
    begin = PREFIX.lower()
    pairs = [(name[len(begin) :], value) for name, value in headers.items() if name.lower().startswith(begin)]
    traceparent = headers.get(TRACEPARENT, "")
    try:
        return said(pairs, traceparent if is_traceparent(traceparent) else "")
    except BadMetadata:
        return None


def write_sidecar(said: Said, digest: str = "") -> bytes:
    """The bytes of a sidecar. `digest`: of the file that it is about."""
    fields = said.pairs
    if said.traceparent:
        fields[TRACEPARENT] = said.traceparent
    if digest:
        fields[SHA256] = digest
    return json.dumps(fields, indent=1, sort_keys=True).encode() + b"\n"


def read_sidecar(data: bytes) -> Sidecar:
    """What these bytes of a sidecar say. Raises BadMetadata."""
    if len(data) > LARGEST_SIDECAR:
        raise BadMetadata(f"over {LARGEST_SIDECAR} bytes")
    try:
        fields: Any = json.loads(data.decode(), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        raise BadMetadata("no JSON in UTF-8") from None
    if not isinstance(fields, _Pairs):
        raise BadMetadata("no JSON object")
    own: dict[str, str] = {}
    pairs = []
    for name, value in fields:
        if name not in _RESERVED:
            pairs.append((name, value))
        elif name in own or not isinstance(value, str):
            raise BadMetadata(f"{name} is there twice, or no text")
        else:
            own[name] = value
    digest = own.get(SHA256, "")
    if SHA256 in own and not _DIGEST.fullmatch(digest):
        raise BadMetadata("sha256 is no SHA-256 in small hexadecimal digits")
    if TRACEPARENT in own and not is_traceparent(own[TRACEPARENT]):
        raise BadMetadata("traceparent is not one of W3C's Trace Context: 00-<32 hex>-<16 hex>-<2 hex>")
    return Sidecar(said(pairs, own.get(TRACEPARENT, "")), digest)


class _Pairs(list[tuple[str, Any]]):
    """The fields of a JSON object, those with the same name included."""
