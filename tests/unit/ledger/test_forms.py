"""The quick look at a row and the thorough one: what the first takes, the second takes too, and reads the same."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncdaemon.ledger import chain, rows
from syncdaemon.ledger.chain import Head
from syncdaemon.ledger.forms import form_of
from syncdaemon.ledger.rows import FLAG, SCHEMA, TEXT, FieldKind, Schema
from tests.fuzz import mutate

TS = "2026-03-04T05:06:07.000089Z"
EVENTS = sorted(SCHEMA.keys() - {rows.RECOVERED, rows.SHIPPED, rows.ANCHOR})
HEAD = Head(6, "ab" * 32)


def values(kind: FieldKind) -> st.SearchStrategy[Any]:
    """Values of a field, many of them at an edge."""
    if kind is TEXT:
        return st.one_of(st.sampled_from(["", "a b", "a%20b", '"', "\\", "\x7f", "ä", "{}"]), st.text(max_size=9))
    if kind is FLAG:
        return st.booleans()
    edges = [0, -1, 1, 10**18, 10**19, 2**63 - 1, 2**63, -(2**63), 2**64, 1_700_000_000_123_456_789]
    return st.one_of(st.sampled_from(edges), st.integers())


@st.composite
def entries(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """An event with the fields of its schema, some of the optional ones, and now and then a strange one."""
    event = draw(st.sampled_from(EVENTS))
    schema: Schema = SCHEMA[event]
    names = [name for name in schema.fields if name in schema.required or draw(st.booleans())]
    more = {"strange": 1} if draw(st.integers(0, 9)) == 0 else {}
    return event, {**{name: draw(values(schema.fields[name])) for name in names}, **more}


@given(entries())
def test_what_is_recognised_is_a_row_and_reads_the_same(entry: tuple[str, dict[str, Any]]) -> None:
    line, _ = chain.seal(HEAD, "edge-1", TS, *entry)
    form = form_of(line + b"\n")
    assert form is not None
    if match := form.pattern.fullmatch(line + b"\n"):
        row, _ = chain.check(HEAD, line)
        assert rows.fault(row) == ""
        assert form.row(match) == row
        assert [form.row(match)[name] for name in ("n", "prev", "ts", "site")] == [7, HEAD.digest, TS, "edge-1"]


@given(entries(), st.integers(0, 2**32))
@settings(max_examples=400)
def test_nothing_is_recognised_that_the_thorough_look_refuses(entry: tuple[str, dict[str, Any]], seed: int) -> None:
    """Bytes are flipped, cut, doubled and moved."""
    line, _ = chain.seal(HEAD, "edge-1", TS, *entry)
    changed = mutate.data(Random(seed), line)
    form = form_of(changed + b"\n")
    if form is None or not form.pattern.fullmatch(changed + b"\n"):
        return
    assert thorough(changed) in ("", "a first row", "a day that no calendar has")


def thorough(line: bytes) -> str:
    """What the thorough look says. The two that are not empty here are looked at by whoever looks quickly, too."""
    try:
        row, _ = chain.check(None, line)
    except chain.BadRow as error:
        said = {"the first row has": "a first row", "ts is": "a day that no calendar has"}
        return next((what for words, what in said.items() if str(error).startswith(words)), str(error))
    return rows.fault(row)


@pytest.mark.parametrize("event", EVENTS)
def test_every_row_of_this_version_is_recognised(event: str) -> None:
    """With all its fields, and with the certain ones alone: else it would be read slowly."""
    schema = SCHEMA[event]
    samples: dict[type, int | str] = {str: "a%20b c", int: 1_700_000_000_123_456_789, bool: True}
    for fields in (schema.fields, schema.required):
        line, _ = chain.seal(HEAD, "edge-1", TS, event, {name: samples[kind.type] for name, kind in fields.items()})
        form = form_of(line + b"\n")
        assert form is not None
        assert form.pattern.fullmatch(line + b"\n")
