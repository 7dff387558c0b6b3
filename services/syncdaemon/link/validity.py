"""Until when a login is valid, read from its own bytes. Pure.

Times are seconds since 1970. What has no end is valid until infinity.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from math import inf

_JWT = re.compile(rb"-----BEGIN NATS USER JWT-----\s+([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\s")
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0  # tags of DER (X.690)


def jwt_end(creds: bytes) -> float:
    """The end of the user JWT in a file of credentials: its claim `exp` (RFC 7519, NATS ADR-14).

    Raises ValueError where there is no such JWT.
    """
    found = _JWT.search(creds + b"\n")
    if found is None:
        raise ValueError("there is no user JWT in it")
    payload = found[2]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise ValueError("its user JWT can't be read") from None
    end = claims.get("exp", 0) if isinstance(claims, dict) else None
    if isinstance(end, bool) or not isinstance(end, int | float):
        raise ValueError("its user JWT has no time in the claim exp")
    return float(end) or inf


def certificates_end(pem: bytes) -> float:
    """The end of the certificate in a PEM file that ends first: a chain holds only as long as each of its links.

    Raises ValueError where there is no certificate, or one that can't be read.
    """
    ends = [certificate_end(_decoded(found[1])) for found in _PEM.finditer(pem)]
    if not ends:
        raise ValueError("there is no certificate in it")
    return min(ends)


def certificate_end(der: bytes) -> float:
    """The end (`notAfter`) of a certificate in DER (RFC 5280, section 4.1). Raises ValueError where it is none."""
    try:
        parts = _parts(_inside(_inside(der)))
        tag, _ = next(parts)
        if tag == _VERSION:
            next(parts)  # the serial number; where there is no version, it comes first
        _algorithm, _issuer, (_, validity) = next(parts), next(parts), next(parts)
        _begin, end = _parts(validity)
        return _moment(*end)
    except (StopIteration, IndexError, ValueError):
        raise ValueError("its certificate can't be read") from None


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        raise ValueError("its certificate can't be read") from None


def _inside(der: bytes) -> bytes:
    """The content of a sequence that these bytes begin with."""
    tag, content = next(_parts(der))
    if tag != _SEQUENCE:
        raise ValueError("no sequence")
    return content


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each value, one after another. Raises IndexError where the bytes end too soon."""
    at = 0
    while at < len(der):
        tag, size = der[at], der[at + 1]
        at += 2
        if size & 0x80:
            more = size & 0x7F
            size = int.from_bytes(der[at : at + more], "big")
            at += more
        if at + size > len(der):
            raise IndexError("cut off")
        yield tag, der[at : at + size]
        at += size


def _moment(tag: int, text: bytes) -> float:
    """A time of a certificate: two digits of the year up to 2049, four from 2050 on (RFC 5280, section 4.1.2.5)."""
    written = text.decode("ascii")
    if tag == _UTC_TIME:
        written = ("19" if written[:2] >= "50" else "20") + written
    elif tag != _GENERALIZED_TIME:
        raise ValueError("no time")
    return datetime.strptime(written, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
