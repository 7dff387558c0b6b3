"""What is said of a file: only what can be sent, and the same in each of its three forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base import metadata
from syncdaemon.base.metadata import BadMetadata, Said, read_sidecar, said, write_sidecar
from syncdaemon.stream.stored import header_fields

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
VALUES = st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True)


@given(st.dictionaries(NAMES, VALUES, max_size=16), st.sampled_from(["", TRACE]))
def test_each_form_says_the_same(pairs: dict[str, str], trace: str) -> None:
    try:
        made = said(pairs, trace)
    except BadMetadata:
        folded = [name.lower() for name in pairs]
        assert len(set(folded)) < len(folded) or {"sha256", "traceparent"} & set(folded)
        return
    block = "NATS/1.0\r\n" + "".join(metadata.header_lines(made)) + "\r\n"
    assert metadata.of_headers(header_fields(block.encode())) == made
    assert read_sidecar(write_sidecar(made, "0" * 64)).said == made
    assert list(made.pairs) == sorted(made.pairs)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_sidecar_makes_more_than_its_lines(data: bytes) -> None:
    """Whatever stands there, each header is one line of printable ASCII."""
    try:
        found = read_sidecar(data)
    except BadMetadata:
        return
    assert all(line.endswith("\r\n") and line[:-2].isprintable() for line in metadata.header_lines(found.said))


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([("a", "x\r\nNats-Msg-Id: y")], "one line"),
        ([("a", "x\ny")], "one line"),
        ([("a", "é")], "ASCII"),
        ([("a", " x")], "blank"),
        ([("a", "")], "one line"),
        ([("a", 7)], "one line"),
        ([("a:b", "x")], "a name has"),
        ([("a b", "x")], "a name has"),
        ([("", "x")], "a name has"),
        ([("é", "x")], "a name has"),
        ([("\u212a", "x")], "a name has"),  # KELVIN SIGN, whose small letter is k
        ([("a" * 65, "x")], "a name has"),
        ([("Run", "x"), ("rUN", "y")], "twice"),
        ([("Traceparent", "x")], "another use"),
        ([("SHA256", "x")], "another use"),
        ([(f"n{at}", "x") for at in range(17)], "17 pairs"),
        ([("a", "x" * 2048)], "2049 bytes"),
    ],
)
def test_what_can_not_be_sent_is_refused(pairs: list[tuple[str, Any]], words: str) -> None:
    with pytest.raises(BadMetadata, match=words):
        said(pairs)


@pytest.mark.parametrize(
    "trace",
    [
        "x",
        TRACE.upper(),
        TRACE + "-00",
        TRACE + "\n",
        "ff" + TRACE[2:],
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
    ],
)
def test_a_trace_has_the_form_of_w3c(trace: str) -> None:
    assert not metadata.is_traceparent(trace)
    with pytest.raises(BadMetadata):
        read_sidecar(json.dumps({"traceparent": trace}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"7",
        b'{"a": 1}',
        b'{"a": "x", "a": "y"}',
        b'{"a": {"b": "c"}}',
        b'{"traceparent": 1}',
        b'{"sha256": "x"}',
        b'{"sha256": ""}',
        b'\xff{"a": "x"}',
        b"[" * 20_000,
        b'{"a": "x"}' + b" " * metadata.LARGEST_SIDECAR,
    ],
)
def test_what_is_no_sidecar_is_an_error(data: bytes) -> None:
    with pytest.raises(BadMetadata):
        read_sidecar(data)


def test_a_sidecar_is_about_its_digest_or_whichever_file_has_its_name() -> None:
    assert read_sidecar(b'{"a": "x"}').is_about("0" * 64)
    named = read_sidecar(write_sidecar(said({"a": "x"}), "1" * 64))
    assert named.is_about("1" * 64)
    assert not named.is_about("0" * 64)


def test_the_name_of_a_sidecar_leads_back_to_its_file() -> None:
    assert metadata.file_of(metadata.sidecar_of(b"a.bin")) == b"a.bin"
    for name in (b"a", b".meta.json", b"..meta.json", b"a.meta.json", b".a.meta.jsonx"):
        assert metadata.file_of(name) is None
    assert Said().pairs == {}


def test_headers_of_somebody_else_say_nothing() -> None:
    """Two names that fold to one, or a value that no daemon writes."""
    assert metadata.of_headers({"Edge-Meta-A": "x", "edge-meta-a": "y"}) is None
    assert metadata.of_headers({"Edge-Meta-A": "\u202ex"}) is None
    assert metadata.of_headers({"traceparent": "x"}) == Said()
