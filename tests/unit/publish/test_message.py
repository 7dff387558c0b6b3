"""What is sent for a file, and what a message in the stream says of itself."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base.model import Content, Stamp, first_id
from syncdaemon.base.packing import Packer
from syncdaemon.publish.message import MessageSettings, encode, is_of, message_id
from syncdaemon.stream.object_format import BucketNames
from syncdaemon.stream.stored import StoredMessage, header_fields

BUCKET = BucketNames("edge_replay")
CONTENT = Content(
    b"a b/\xff", "a%20b/%FF", Stamp(1, 2, 3, 1_767_225_600_123_456_789, 5), b"abc", sha256(b"abc").hexdigest(), 1
)
OURS = {"Edge-Site": "edge-1", "Edge-Path": "a%20b/%FF", "Edge-Mtime-Ns": "1767225600123456789", "Other": "x"}


def settings(identity: str = "content", per_digest: bool = True) -> MessageSettings:
    """Those of a site that sends to a subject per digest."""
    return MessageSettings(
        "edge-1", "swarm_jobs", identity, per_digest, lambda msg_id: f"edge.replay.edge-1.{msg_id}", bucket=BUCKET
    )


def stored(headers: dict[str, str], data: bytes = b"") -> StoredMessage:
    """A message as the stream gives it back."""
    return StoredMessage(7, "edge.replay.edge-1.x", headers, data)


def test_a_message_carries_the_contracts_headers() -> None:
    """All of them, each once, and nothing of the file's name raw."""
    message = encode(CONTENT, settings())
    digest = CONTENT.sha256

    assert message.headers.decode().split("\r\n") == [
        "NATS/1.0",
        f"Nats-Msg-Id: {digest}",
        "Nats-Expected-Stream: swarm_jobs",
        "Nats-Expected-Last-Subject-Sequence: 0",
        "Edge-Site: edge-1",
        "Edge-Path: a%20b/%FF",
        f"Edge-Sha256: {digest}",
        "Edge-Size: 3",
        "Edge-Mtime-Ns: 1767225600123456789",
        "",
        "",
    ]
    assert message.subject == f"edge.replay.edge-1.{digest}"
    assert message.size == len(message.headers) + 3


def test_a_plain_subject_expects_no_sequence() -> None:
    """Every file goes to the same subject there: it would refuse all but the first."""
    assert b"Last-Subject-Sequence" not in encode(CONTENT, settings(per_digest=False)).headers


@given(
    st.sampled_from(["content", "site", "path"]), st.text("ab-", min_size=1, max_size=8), st.text("ab/%", max_size=8)
)
def test_an_id_depends_on_what_it_is_made_of_and_on_nothing_else(identity: str, site: str, name: str) -> None:
    """content: the bytes; site: and where; path: and under which name."""
    content = CONTENT._replace(name=name)
    here = message_id(content, site, identity)

    assert (here == message_id(content, site + "x", identity)) is (identity == "content")
    assert (here == message_id(content._replace(name=name + "x"), site, identity)) is (identity != "path")
    assert here != message_id(content._replace(sha256="00" * 32), site, identity)
    assert here == message_id(content._replace(attempts=9, path=b"other"), site, identity)
    assert len(here) == 64


def test_a_stored_message_is_read_from_the_servers_answer() -> None:
    """Headers and data are base64 there; a message may have none of them."""
    block = base64.b64encode(b"NATS/1.0\r\nNats-Msg-Id: abc\r\nEdge-Path: a:b\r\n\r\n").decode()
    answer = {"seq": 7, "subject": "s", "hdrs": block, "data": base64.b64encode(b"xyz").decode()}

    assert StoredMessage.from_api(answer) == StoredMessage(7, "s", {"Nats-Msg-Id": "abc", "Edge-Path": "a:b"}, b"xyz")
    assert StoredMessage.from_api({"seq": 7, "subject": "s"}) == StoredMessage(7, "s", {}, b"")


def test_only_its_bytes_say_what_a_message_holds() -> None:
    """Whoever wrote it can have given it our id and our digest."""
    claims = {"Nats-Msg-Id": CONTENT.sha256, "Edge-Sha256": CONTENT.sha256}

    assert stored({}, b"abc").holds(CONTENT.sha256, 3)
    assert not stored(claims, b"abd").holds(CONTENT.sha256, 3)
    assert not stored(claims).holds(CONTENT.sha256, 3)


def test_a_message_that_is_sent_afresh_has_more_behind_its_id_and_is_else_the_same() -> None:
    """Its subject too, so that the stream still takes it once."""
    first, afresh = encode(CONTENT, settings()), encode(CONTENT, settings(), afresh="0123abcd")

    assert afresh.msg_id == f"{first.msg_id}.0123abcd"
    assert first_id(afresh.msg_id) == first_id(first.msg_id) == first.msg_id
    assert afresh.subject == first.subject
    assert header_fields(afresh.headers) == header_fields(first.headers) | {"Nats-Msg-Id": afresh.msg_id}
    assert afresh.size == first.size + 9


def test_our_own_message_is_known_by_its_headers() -> None:
    """Site, path and mtime to the nanosecond: this very version of this file."""
    assert is_of(stored(OURS).headers, CONTENT, "edge-1")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Edge-Site", "edge-2"),
        ("Edge-Path", "a b/\xff"),
        ("Edge-Mtime-Ns", "1767225600123456788"),
        ("Edge-Mtime-Ns", ""),
    ],
)
def test_a_message_of_another_file_is_not_ours(header: str, value: str) -> None:
    """The same content from another site, name or time is a duplicate, not our own lost acknowledgement."""
    assert not is_of(stored({**OURS, header: value}).headers, CONTENT, "edge-1")
    assert not is_of(stored({key: text for key, text in OURS.items() if key != header}).headers, CONTENT, "edge-1")


def test_a_message_without_headers_is_not_ours() -> None:
    """Somebody else's message on the subject has none of them."""
    assert not is_of(stored({}).headers, CONTENT, "edge-1")


def test_a_packed_message_says_so_and_is_all_else_of_the_original() -> None:
    """Id, digest and size are those of the file."""
    data = b"abc" * 1_000
    packed = Packer().pack(data)
    assert packed is not None
    plain = CONTENT._replace(stamp=CONTENT.stamp._replace(size=len(data)), data=data, sha256=sha256(data).hexdigest())
    message = encode(plain._replace(data=packed, packed=True), settings())

    ours = header_fields(message.headers)
    assert ours == header_fields(encode(plain, settings()).headers) | {"Content-Encoding": "zstd"}
    assert message.body == packed
    assert message.size == len(message.headers) + len(packed)


def test_a_packed_message_in_the_stream_is_known_by_what_it_holds() -> None:
    """Under another id, as with SYNC_MSG_ID=path; not one that holds more than the file has."""
    packed = Packer().pack(bytes(5_000))
    assert packed is not None
    zeros = CONTENT._replace(stamp=CONTENT.stamp._replace(size=5_000), sha256=sha256(bytes(5_000)).hexdigest())
    headers = {"Nats-Msg-Id": "another", "Content-Encoding": "zstd"}

    assert stored(headers, packed).holds(zeros.sha256, 5_000)
    assert not stored(headers, packed).holds(zeros.sha256, 4_999)
    assert not stored(headers, packed).holds(CONTENT.sha256, CONTENT.stamp.size)
    assert not stored(headers, b"no zstd").holds(zeros.sha256, 5_000)
    assert not stored({"Nats-Msg-Id": "another"}, packed).holds(zeros.sha256, 5_000)
