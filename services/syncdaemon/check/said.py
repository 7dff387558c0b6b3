"""What a message says of its file in its headers, beside its content, held together with the row. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

_META = "edge-meta-"
_FIELDS = {"path": "Edge-Path", "size": "Edge-Size", "mtime_ns": "Edge-Mtime-Ns", "traceparent": "traceparent"}


def said_by(headers: Mapping[str, str]) -> dict[str, str]:
    """By the names that a row has for them. What a message does not say is empty."""
    pairs = sorted((name[len(_META) :].lower(), value) for name, value in headers.items() if _is_meta(name))
    found = {field: headers.get(name, "") for field, name in _FIELDS.items()}
    return {**found, "meta": urlencode(pairs)} if pairs else found | {"meta": ""}


def said_in(row: Mapping[str, Any]) -> dict[str, str]:
    """The same of a `published` row."""
    return {field: str(row.get(field, "")) for field in (*_FIELDS, "meta")}


def differences(row: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[str]:
    """In words, what a message says otherwise than the `published` row about it."""
    said, written = said_by(headers), said_in(row)
    for field, value in said.items():
        if value != written[field]:
            yield f"it says {field} {value!r}, and the row {written[field]!r}"


def _is_meta(name: str) -> bool:
    return name.lower().startswith(_META)
