"""Rows in the form that this version writes, recognised by one regular expression for each event. Pure.

What an expression takes is canonical to the byte, has all fields of its schema, and is read four times as fast as JSON
is. What none takes may be good all the same: a text with an escape in it, a field or an event of another version, a
number of more than 19 digits. `chain.check` and `rows.fault` decide on that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from syncdaemon.ledger.rows import ABOUT_RECEIPTS, ANCHOR, OWN, RECOVERED, SCHEMA, SHIPPED, FieldKind, Schema

_EVENT = b'"event":"'
_TEXT = rb'"([ !#-\[\]-~]*+)"'  # a text that needs no escape: printable ASCII but for quote and backslash
_COUNT = rb"(0|[1-9][0-9]{0,18})"
_KINDS: Mapping[type[int | str | bool], bytes] = {
    int: rb"(0|-?[1-9][0-9]{0,17}|[1-8][0-9]{18})",
    str: _TEXT,
    bool: b"(true|false)",
}
_OWN_FORMS: Mapping[str, bytes] = {
    "v": b"(1)",
    "n": rb"([1-9][0-9]{0,17})",
    "prev": b'"([0-9a-f]{64})"',
    "ts": rb'"([0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z)"',
}
_FLAGS = {b"true": True, b"false": False}


class Form:
    """The form of one event's rows: of a line with its newline.

    `pattern` has the fields in groups, in the order of `names`; `places`: the groups of `n`, `prev`, `ts` and `site`.
    `tells`: the rows say something about receipts.
    """

    def __init__(self, event: str, schema: Schema) -> None:
        kinds = {**OWN, **schema.fields}
        self.event, self.tells = event, event in ABOUT_RECEIPTS
        self.names = tuple(sorted(kinds))
        self.pattern = re.compile(_whole(event, kinds, schema))
        self.places = tuple(self.names.index(name) + 1 for name in ("n", "prev", "ts", "site"))
        self._types = tuple(kinds[name].type for name in self.names)

    def row(self, match: re.Match[bytes]) -> dict[str, Any]:
        """The row that was recognised."""
        return {
            name: value.decode() if kind is str else int(value) if kind is int else _FLAGS[value]
            for name, kind, value in zip(self.names, self._types, match.groups(), strict=True)
            if value is not None
        }


def _whole(event: str, kinds: Mapping[str, FieldKind], schema: Schema) -> bytes:
    """The fields in canonical order; those that may be missing bring the comma between them and a certain one."""
    names = sorted(kinds)
    last = max(name for name in names if name not in schema.optional)
    parts = []
    for name in names:
        value = b'"(%b)"' % event.encode() if name == "event" else _value(name, kinds[name])
        field = b'"%b":%b' % (name.encode(), value)
        if name in schema.optional:
            parts.append(b"(?:%b,)?+" % field if name < last else b"(?:,%b)?+" % field)
        else:
            parts.append(field if name == last else field + b",")
    return rb"\{" + b"".join(parts) + rb"\}\n"


def _value(name: str, kind: FieldKind) -> bytes:
    if name in _OWN_FORMS:
        return _OWN_FORMS[name]
    return _COUNT if kind.bounds and kind.bounds.start == 0 else _KINDS[kind.type]


_FORMS = {  # the others are rare, and looked at closely
    event.encode(): Form(event, schema) for event, schema in SCHEMA.items() if event not in (RECOVERED, SHIPPED, ANCHOR)
}


def form_of(line: bytes) -> Form | None:
    """The form that a line should have, by the event that it names; None where that is not known."""
    at = line.find(_EVENT) + len(_EVENT)
    return _FORMS.get(line[at : line.find(b'"', at)])
