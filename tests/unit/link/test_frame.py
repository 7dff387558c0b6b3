"""The one guard of all that is framed: what it lets through is one command, and nothing of it is another one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncdaemon.base.errors import Unsendable
from syncdaemon.link.frame import MOST_HEADERS, MOST_SUBJECT, frame, guard, header_block, subscribe

ATTACK = b"$O.b.C.x\r\nPUB $JS.API.STREAM.DELETE.swarm_jobs 0\r\n\r\n"
BAD_SUBJECTS = [
    b"",
    b" ",
    b"a b",
    b"a\tb",
    b"a\r\nb",
    b"a\nb",
    b"a\rb",
    b"a\0b",
    b"a\x7fb",
    b"a\x1bb",
    b"a\x0bb",
    ATTACK,
]
SOUND = b"NATS/1.0\r\nA: b\r\n\r\n"
BAD_HEADERS = [
    b"\r\n",
    b"A: b\r\n\r\n",
    b"NATS/1.0\r\nA: b\r\n",
    b"NATS/1.0\r\nA: b",
    b"NATS/1.0\r\n\r\nA: b\r\n\r\n",
    b"NATS/1.0\r\nA: b\r\n\r\n\r\n",
    b"NATS/1.0\r\nNATS/1.0\r\n\r\n",
    b"NATS/1.0\r\nA: b\rc\r\n\r\n",
    b"NATS/1.0\r\nA: b\nc: d\r\n\r\n",
    b"NATS/1.0\r\nA: b\rc\nd: e\r\n\r\n",
    b"NATS/1.0\r\nA: b\n\r\r\n\r\n",
    b"NATS/1.0\r\nA: \0\r\n\r\n",
    b"NATS/1.0\r\nA: \x1b[2J\r\n\r\n",
    b"NATS/1.1\r\nA: b\r\n\r\n",
    b"NATS/1.0\r\nA: " + b"b" * MOST_HEADERS + b"\r\n\r\n",
]


@pytest.mark.parametrize("subject", [*BAD_SUBJECTS, b"a" * (MOST_SUBJECT + 1)])
def test_no_such_subject_is_framed(subject: bytes) -> None:
    """Neither to send to, nor to be answered at, nor to listen to."""
    with pytest.raises(Unsendable):
        frame(subject, b"", b"", b"")
    with pytest.raises(Unsendable):
        subscribe(subject, 1)
    if subject:
        with pytest.raises(Unsendable):
            frame(b"a", subject, b"", b"")


@pytest.mark.parametrize("headers", BAD_HEADERS, ids=lambda headers: repr(headers[:40]))
def test_no_such_headers_are_framed(headers: bytes) -> None:
    with pytest.raises(Unsendable):
        frame(b"a", b"b", headers, b"")


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=60), st.binary(max_size=20))
@example(ATTACK, b"", b"", b"")
@example(b"a", b"", SOUND, b"PUB b 0\r\n\r\n")
def test_what_is_framed_is_one_command(subject: bytes, reply: bytes, headers: bytes, payload: bytes) -> None:
    """A server that splits at blanks and line ends finds what was put in, and nothing else."""
    try:
        whole = b"".join(frame(subject, reply, headers, payload))
    except Unsendable:
        return
    line, _, rest = whole.partition(b"\r\n")
    verb, *words = re.split(rb"[ \t\r\n]", line)
    sizes = [len(headers), len(headers + payload)] if headers else [len(payload)]
    assert verb == (b"HPUB" if headers else b"PUB")
    assert words == [subject, *([reply] if reply else []), *(b"%d" % size for size in sizes)]
    assert rest == headers + payload + b"\r\n"
    assert len(line) < 4_096


values = st.one_of(
    st.text(max_size=12), st.sampled_from(["a\r\nEvil: 1", "a\r\n\r\n", "\r", "\n", "\x00", "\ud800", "ä"])
)


@given(st.lists(values, min_size=1, max_size=5))
def test_a_header_is_its_own_line_or_none(given_values: list[str]) -> None:
    """Whatever a value holds, the block has as many lines as fields; or there is none."""
    fields = [(f"F{at}", value) for at, value in enumerate(given_values)]
    try:
        block = header_block(*fields)
    except Unsendable:
        assert any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in "".join(given_values))
        return
    guard(b"a", block)
    assert block.decode().split("\r\n") == ["NATS/1.0", *(f"{name}: {value}" for name, value in fields), "", ""]


def commands() -> Iterator[str]:
    """Every place of the package outside the guard's module that spells a command which carries a subject."""
    package = Path(__file__).parents[3] / "services" / "syncdaemon"
    for path in sorted(package.rglob("*.py")):
        if path.name != "frame.py" and re.search(r'b"(?:H?PUB|SUB|UNSUB)\b', path.read_text(encoding="utf-8")):
            yield str(path.relative_to(package))


def test_nothing_is_framed_elsewhere() -> None:
    """Else the guard would not be the last line of defence."""
    assert list(commands()) == []
