"""What a server sends is cut into messages and words in the same way however it arrives, or it is garbage."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncdaemon.link.inbound import MOST_LINE, Delivered, Garbage, Inbound, Word, info_of, most_of, payload_of

MOST = 1_000
tokens = st.text("abc.$>*", min_size=1, max_size=8).map(str.encode)
messages = st.builds(
    lambda sid, subject, reply, data, headers: Delivered(sid, subject, reply, data, headers),
    st.integers(0, 9_999),
    tokens,
    st.one_of(st.just(b""), tokens),
    st.binary(max_size=30),
    st.one_of(st.none(), st.binary(min_size=1, max_size=30)),
)
words = st.sampled_from([Word(b"PING", b""), Word(b"PONG", b""), Word(b"+OK", b""), Word(b"-ERR", b"'x y'")])
noise = st.one_of(
    st.binary(max_size=50),
    st.sampled_from(
        [
            b"MSG a 1 5\r\nhello\r\n",
            b"HMSG a 1 2 4\r\nabcd\r\n",
            b"MSG a 1 ",
            b"9" * 12,
            b"\r\n",
            b"INFO {}\r\n",
            b"-ERR",
        ]
    ),
)


def wire(event: Delivered | Word) -> bytes:
    """As a server writes it."""
    if isinstance(event, Word):
        return event.verb + (b" " + event.rest if event.rest else b"") + b"\r\n"
    reply = event.reply + b" " if event.reply else b""
    head = b"%b %d %b" % (event.subject, event.sid, reply)
    if event.headers is None:
        return b"MSG %b%d\r\n%b\r\n" % (head, len(event.data), event.data)
    size = len(event.headers)
    return b"HMSG %b%d %d\r\n%b%b\r\n" % (head, size, size + len(event.data), event.headers, event.data)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    """In pieces of these sizes, and the rest."""
    found = []
    for size in sizes:
        found.append(data[:size])
        data = data[size:]
    return [*found, data]


@given(st.lists(st.one_of(messages, words), max_size=8), st.lists(st.integers(0, 20), max_size=30))
def test_all_that_is_sent_comes_out(events: list[Delivered | Word], sizes: list[int]) -> None:
    """In order and whole, wherever the network cut it."""
    inbound = Inbound(MOST)
    found = [event for piece in pieces(b"".join(map(wire, events)), sizes) for event in inbound.read(piece)]
    assert found == events
    assert inbound.waiting == 0


@given(st.lists(noise, max_size=8), st.lists(st.integers(0, 20), max_size=10))
@example([b"MSG a 1 1001\r\n"], [])
@example([b"x" * (MOST_LINE + 1)], [])
def test_noise_is_garbage_or_waits_within_bounds(parts: list[bytes], sizes: list[int]) -> None:
    """No other error, and never more kept than a line or the largest message."""
    inbound, said = Inbound(MOST), ""
    for piece in pieces(b"".join(parts), sizes):
        try:
            for event in inbound.read(piece):
                assert isinstance(event, Delivered | Word)
        except Garbage as error:
            said = str(error)
            break
        assert inbound.waiting <= max(MOST + 2, MOST_LINE + 2)
    assert len(said) < 400


@pytest.mark.parametrize("size", [MOST + 1, 2_000_000_000, 10**9, 2**63])
@pytest.mark.parametrize("head", [b"MSG a 1 %d\r\n", b"HMSG a 1 12 %d\r\n"])
def test_what_is_announced_too_large_is_never_waited_for(head: bytes, size: int) -> None:
    """The announcement is enough."""
    with pytest.raises(Garbage):
        list(Inbound(MOST).read(head % size))


def test_a_message_of_the_largest_size_comes() -> None:
    """Twice the server's `max_payload` and 1 MiB."""
    most = most_of(1 << 20)
    assert most == 3 << 20
    (message,) = Inbound(most).read(b"MSG a 1 %d\r\n%b\r\n" % (most, bytes(most)))
    assert isinstance(message, Delivered)
    assert len(message.data) == most


@given(st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()), st.lists))
def test_any_max_payload_is_a_number_of_bytes_or_garbage(told: object) -> None:
    """And never a larger one than a server can have."""
    try:
        found = payload_of({"max_payload": told})
    except Garbage:
        return
    assert type(found) is int
    assert 0 < found <= 64 << 20


@given(st.binary(max_size=40))
@example(b"[" * 20_000)
@example(b"9" * 5_000)
def test_any_info_is_an_object_or_garbage(data: bytes) -> None:
    try:
        found = info_of(data)
    except Garbage:
        return
    assert isinstance(found, dict)
