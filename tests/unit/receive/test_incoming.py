"""What a message is to the other end: a file at a safe path, or a reason why not."""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import quote_from_bytes

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base.model import Content, Stamp
from syncdaemon.publish.message import MessageSettings, encode
from syncdaemon.receive.incoming import (
    DISK_FULL,
    LONGEST_NAME,
    MOST_FOLDERS,
    OBJECT_MISSING,
    OBJECT_TRIES,
    WRITE_ERROR,
    Placed,
    Rejected,
    Retry,
    Wanted,
    beside,
    given_up,
    read,
    retry_seconds,
    unfit,
)
from syncdaemon.stream.object_format import BucketNames
from syncdaemon.stream.pulled import delivery

BUCKET = BucketNames("edge_replay")
DIGEST = sha256(b"abc").hexdigest()
FIELDS = {"Edge-Site": "edge-1", "Edge-Path": "a/b", "Edge-Sha256": DIGEST, "Edge-Size": "3"}
NAMES = st.binary(min_size=1, max_size=LONGEST_NAME).filter(
    lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")
)


def block(**changes: str | None) -> bytes:
    """A header block, with fields changed, added, or taken away."""
    fields = FIELDS | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join(["NATS/1.0", *lines, "", ""]).encode(errors="surrogateescape")


def wanted(**changes: str | None) -> Wanted:
    found = read(block(**changes))
    assert isinstance(found, Wanted), found
    return found


def reason(**changes: str | None) -> str:
    found = read(block(**changes))
    assert isinstance(found, Rejected), found
    return found.reason


@given(st.lists(NAMES, min_size=1, max_size=6), st.integers(0, 2**63 - 1), st.integers(-(2**62), 2**62))
def test_what_the_daemon_sends_is_what_the_other_end_reads(names: list[bytes], size: int, mtime_ns: int) -> None:
    """Whatever bytes a name is of."""
    path = b"/".join(names)
    content = Content(path, quote_from_bytes(path), Stamp(1, 2, size, mtime_ns, 5), b"abc", DIGEST, 1)
    settings = MessageSettings(
        "edge-1", "swarm_jobs", "content", True, lambda msg_id: f"edge.replay.edge-1.{msg_id}", bucket=BucketNames("b")
    )
    found = read(encode(content, settings).headers)
    assert found == Wanted("edge-1", tuple(names), DIGEST, size, mtime_ns, False, None)


@given(
    st.one_of(st.text(max_size=60), st.text("%2efE./\\0aA", max_size=20), st.binary(max_size=30).map(quote_from_bytes))
)
def test_no_path_leads_out_of_its_site(text: str) -> None:
    """Whatever is in the header: names that stay below the folder, or nothing at all."""
    found = read(block(Edge_Path="".join(text.split("\r\n"))))
    if isinstance(found, Wanted):
        assert found.path
        assert all(name not in (b"", b".", b"..") and not set(name) & set(b"/\0") for name in found.path)
        assert all(len(name) <= LONGEST_NAME for name in found.path)


NO_PATHS = (
    *("", "..", "../x", "a/../../x", "%2e%2e/x", "a/%2E%2E", "/etc/passwd", "%2Fetc", "a//b", "a/"),
    *("./a", "a/.", "a%00b", "100%", "%zz", "ä", "a%0", "a b"),
)


@pytest.mark.parametrize("path", NO_PATHS)
def test_a_path_that_is_none_is_rejected(path: str) -> None:
    assert reason(Edge_Path=path) == "bad_path"


@pytest.mark.parametrize("path", ["x" * 256, "a/" + "x" * 256 + "/b", "/".join(["d"] * 66), "/".join(["x" * 200] * 21)])
def test_a_path_that_no_file_system_holds_is_rejected(path: str) -> None:
    assert reason(Edge_Path=path) == "path_too_long"


@pytest.mark.parametrize("path", ["x" * 255, "/".join(["d"] * (MOST_FOLDERS + 1)), "%FF" * 255, "...", ".hidden", "-"])
def test_a_path_at_the_limit_is_taken(path: str) -> None:
    assert quote_from_bytes(b"/".join(wanted(Edge_Path=path).path)) == path


@pytest.mark.parametrize("name", FIELDS)
def test_a_missing_header_is_named(name: str) -> None:
    found = read(block(**{name.replace("-", "_"): None}))
    assert isinstance(found, Rejected)
    assert found.reason == "header_missing"
    assert name in found.detail


@pytest.mark.parametrize("headers", [None, b"", b"NATS/1.0\r\n\r\n", b"\xff\xfe", b"NATS/1.0\r\n:\r\n\r\n"])
def test_a_message_of_somebody_else_is_rejected(headers: bytes | None) -> None:
    found = read(headers)
    assert isinstance(found, Rejected)
    assert found.reason == "header_missing"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"Edge_Site": "../up"}, "bad_header"),
        ({"Edge_Site": ".."}, "bad_header"),
        ({"Edge_Site": ".rejected"}, "bad_header"),
        ({"Edge_Site": "a/b"}, "bad_header"),
        ({"Edge_Site": ""}, "bad_header"),
        ({"Edge_Site": "x" * 64}, "bad_header"),
        ({"Edge_Sha256": DIGEST.upper()}, "bad_header"),
        ({"Edge_Sha256": DIGEST[:-1]}, "bad_header"),
        ({"Edge_Size": "-1"}, "bad_header"),
        ({"Edge_Size": "1e3"}, "bad_header"),
        ({"Edge_Size": str(2**63)}, "bad_header"),
        ({"Edge_Size": "9" * 19_000}, "bad_header"),
        ({"Edge_Mtime_Ns": "yesterday"}, "bad_header"),
        ({"Edge_Object": "no-slash"}, "bad_header"),
        ({"Edge_Object": "/x"}, "bad_header"),
        ({"Edge_Object": "a.b/x"}, "bad_header"),
        ({"Edge_Object": "bucket/"}, "bad_header"),
        ({"Content_Encoding": "gzip"}, "unknown_encoding"),
    ],
)
def test_a_header_that_is_no_such_value_is_rejected(changes: dict[str, str], why: str) -> None:
    assert reason(**changes) == why


def test_a_large_file_names_its_object() -> None:
    assert wanted(Edge_Object="edge_replay/a/b c").object == ("edge_replay", "a/b c")
    assert wanted(Content_Encoding="zstd").zstd


@given(st.binary(max_size=400))
def test_any_header_block_comes_to_an_end(headers: bytes) -> None:
    assert isinstance(read(headers), Wanted | Rejected)


def test_a_delivery_is_told_in_both_forms() -> None:
    """ADR-15: with and without the domain and the account's hash."""
    short = delivery(b"$JS.ACK.swarm_jobs.worker-staging.3.17.20.1700000000000000001.4")
    assert short == ("swarm_jobs", 17, 1_700_000_000_000_000_001, 3)
    assert delivery(b"$JS.ACK.hub.AbC.swarm_jobs.worker-staging.3.17.20.1700000000000000001.4.tok") == short
    assert short.name == "17-1700000000000000001"


@pytest.mark.parametrize("reply", [b"", b"_INBOX.x.1", b"$JS.ACK.s.c.1.2.3", b"$JS.ACK.s.c.x.2.3.4.5", b"\xff"])
def test_what_is_no_delivery_is_said_so(reply: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        delivery(reply)


@given(NAMES)
def test_the_name_beside_is_another_and_always_the_same(name: bytes) -> None:
    assert beside(name, DIGEST) == name + b"~" + DIGEST[:16].encode() != name


def test_what_could_not_be_taken_comes_back_ever_later() -> None:
    """Up to a minute where it is our disk, up to ten where an object is awaited."""
    for reason_, ceiling in ((DISK_FULL, 60), (WRITE_ERROR, 60), (OBJECT_MISSING, 600)):
        waits = [retry_seconds(Retry(reason_, ""), times) for times in (1, 2, 3, 50, 10**6)]
        assert waits[:3] == [5, 10, 20]
        assert waits[3:] == [ceiling, ceiling]


@pytest.mark.parametrize(
    ("size", "zstd", "stored", "pieces", "reason_"),
    [
        (3, False, 3, 1, None),
        (0, False, 0, 0, None),
        (0, False, 0, 1, None),
        (10 << 40, False, 10 << 40, 1 << 20, None),
        (2**63 - 1, False, 2**63 - 1, 2**36, "object_wrong"),
        (5, False, 5, 6, "object_wrong"),
        (65 << 20, False, 65 << 20, 1, "object_wrong"),
        (2**63 - 1, False, 1 << 20, 8, "too_short"),
        (1, False, 1 << 20, 8, "too_long"),
        (1 << 35, True, 1 << 20, 8, None),
        (1 << 36, True, 1 << 20, 8, "too_short"),
        (3, True, 12, 1, None),
    ],
)
def test_what_is_stored_has_to_have_room_for_what_is_announced(
    size: int, zstd: bool, stored: int, pieces: int, reason_: str | None
) -> None:
    """By the number of its chunks, too; zstd makes of four bytes at most 128 KiB."""
    found = unfit(wanted(Edge_Size=str(size))._replace(zstd=zstd), stored, pieces)
    assert (found.reason if found else None) == reason_


def test_the_densest_frame_of_zstd_is_taken() -> None:
    """Nothing but zeros, at every level."""
    for level in (1, 3, 19):
        packed = zstandard.compress(bytes(64 << 20), level)
        assert unfit(wanted(Edge_Size=str(64 << 20))._replace(zstd=True), len(packed)) is None


@pytest.mark.parametrize(
    "name", ["Edge_Site", "Edge_Sha256", "Edge_Size", "Edge_Path", "Edge_Object", "Content_Encoding"]
)
def test_what_is_said_of_a_bad_header_is_short(name: str) -> None:
    """It goes to the log, to the sidecar and to the server."""
    found = read(block(**{name: "?" * 1_000_000}))
    assert isinstance(found, Rejected)
    assert len(found.detail) < 250


def test_only_a_missing_object_is_given_up_in_the_end() -> None:
    """After days; a disk that is full for longer is still no reason to let go of a message."""
    missing = Retry(OBJECT_MISSING, "not there")
    assert sum(retry_seconds(missing, times) for times in range(1, OBJECT_TRIES)) > 3 * 86_400
    assert given_up(missing, OBJECT_TRIES - 1) is None
    rejected = given_up(missing, OBJECT_TRIES)
    assert rejected is not None
    assert "given up" in rejected.detail
    assert given_up(Retry(DISK_FULL, ""), 10**6) is None
    assert given_up(Placed("written", 1), 10**6) is None
