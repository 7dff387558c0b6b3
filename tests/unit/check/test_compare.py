"""Receipts against messages: what agrees, and what each disagreement is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base.model import StoredHeaders
from syncdaemon.check.compare import Comparison, Fetched, Problem, Receipts, second_look

SITE = "harbour"


def digest(content: str) -> str:
    """Of a content that is told by a word."""
    return sha256(content.encode()).hexdigest()


def receipt(n: int, seq: int, content: str, event: str = "published", **more: Any) -> dict[str, Any]:
    """A row of the ledger."""
    same: dict[str, Any] = {"sha256": digest(content), "msg_id": digest(content), "size": len(content), "mtime_ns": 7}
    same["subject"] = "edge.replay.x"
    return {"n": n, "event": event, "stream_seq": seq, "path": f"{content}.bin", **same, **more}


def message(seq: int, content: str, site: str = SITE, size: int | None = None, **more: str) -> StoredHeaders:
    """A message of the stream, as its headers tell."""
    headers = {
        "Nats-Msg-Id": digest(content),
        "Edge-Site": site,
        "Edge-Path": f"{content}.bin",
        "Edge-Sha256": digest(content),
        "Edge-Size": str(len(content)),
        "Edge-Mtime-Ns": "7",
        **{name.replace("_", "-"): text for name, text in more.items()},
    }
    return StoredHeaders(seq, "edge.replay.x", headers, len(content) if size is None else size)


def compared(rows: Iterable[Mapping[str, Any]], messages: Iterable[StoredHeaders], first_seq: int = 1) -> Comparison:
    """The rows of a ledger with what a stream holds."""
    receipts = Receipts(b"key")
    for row in rows:
        if row["event"] == "held_lost":
            receipts.void(row)
        else:
            receipts.add(row, row.get("covered", True))
    comparison = Comparison(receipts, SITE, first_seq)
    for one in messages:
        comparison.see(one)
    comparison.end()
    return comparison


def test_where_all_is_well_nothing_is_left_to_look_at() -> None:
    """Two files with one content are one message and two receipts, whose order does not matter."""
    rows = [receipt(5, 2, "b"), receipt(6, 1, "a"), receipt(7, 2, "b", "duplicate")]
    found = compared(rows, [message(1, "a"), message(2, "b"), message(3, "c", site="other")])

    assert (found.matched, found.messages) == (3, 2)
    assert (found.doubtful, found.unknown) == ([], {})
    assert (found.expired, found.void) == (0, 0)


@pytest.mark.parametrize(
    "there",
    [
        message(2, "another"),
        message(2, "b", Nats_Msg_Id=digest("another")),
        message(2, "b", Edge_Sha256=digest("another")),
        message(2, "b", site="other"),
        message(2, "b", size=5),
        message(2, "b", Edge_Object="edge_replay/x"),
        message(2, "b", Edge_Size=""),
        StoredHeaders(2, "edge.replay.x", {}, 1),
    ],
)
def test_what_does_not_agree_is_looked_at_once_more(there: StoredHeaders) -> None:
    """By the number of the receipt's row; its neighbours are not touched by it."""
    found = compared([receipt(n, n, content) for n, content in enumerate("abc", 1)], [message(1, "a"), there])

    assert found.doubtful == [2, 3]
    assert found.matched == 1


def test_a_content_that_was_read_has_to_be_the_one() -> None:
    """Whatever the headers say."""
    receipts = Receipts(b"key")
    for n, content in enumerate("abc", 1):
        receipts.add(receipt(n, n, content), True)
    comparison = Comparison(receipts, SITE, 1)
    comparison.see(message(1, "a"), digest("a"))
    comparison.see(message(2, "b"), digest("another"))
    comparison.see(message(3, "c"), None)
    comparison.end()

    assert comparison.doubtful == [2]


@pytest.mark.parametrize("more", [{"Content_Encoding": "zstd"}, {"Edge_Object": "edge_replay/x"}])
def test_a_body_that_is_not_the_content_may_have_any_size(more: dict[str, str]) -> None:
    """Compressed, or elsewhere; then the receipt names the same object."""
    elsewhere = {"object": more["Edge_Object"]} if "Edge_Object" in more else {}
    found = compared([receipt(1, 1, "a", **elsewhere)], [message(1, "a", size=0, **more)])

    assert (found.matched, found.doubtful) == (1, [])


def test_another_object_is_not_the_one() -> None:
    """Nor is a body where an object was."""
    rows = [receipt(1, 1, "a", object="edge_replay/x"), receipt(2, 2, "b", object="edge_replay/x")]
    found = compared(rows, [message(1, "a", Edge_Object="edge_replay/y"), message(2, "b")])

    assert found.doubtful == [1, 2]


def test_a_duplicates_message_may_be_of_another_site() -> None:
    """The content was there first."""
    found = compared([receipt(1, 1, "a", "duplicate")], [message(1, "a", site="other")])

    assert (found.matched, found.messages) == (1, 0)


def test_receipts_from_before_the_stream_are_counted_apart() -> None:
    """Their messages expired, or were purged."""
    rows = [receipt(n, n, str(n)) for n in range(1, 6)] + [receipt(6, 2, "2", "duplicate", covered=False)]
    found = compared(rows, [message(4, "4"), message(5, "5")], first_seq=4)

    assert (found.expired, found.matched, found.doubtful) == (4, 2, [])


def test_a_receipt_for_a_subject_that_is_not_read_through_is_looked_at_by_itself() -> None:
    """Its message does not come by."""
    found = compared([receipt(1, 1, "a", covered=False), receipt(2, 2, "b")], [message(2, "b")])

    assert (found.doubtful, found.matched) == ([1], 1)


def test_a_receipt_of_what_the_server_lost_is_void() -> None:
    """With those of its duplicates; the newer one counts, also at the same sequence, and so do those of others."""
    rows = [
        receipt(1, 1, "a"),
        receipt(2, 2, "b"),
        receipt(3, 2, "b", "duplicate"),
        receipt(4, 3, "c"),
        receipt(5, 2, "b") | {"event": "held_lost"},
        receipt(6, 3, "c") | {"event": "held_lost"},
        receipt(7, 2, "c"),
        receipt(8, 3, "b"),
        receipt(9, 4, "d"),
        receipt(10, 4, "d") | {"event": "held_lost"},
        receipt(11, 4, "d"),
    ]
    found = compared(rows, [message(1, "a"), message(2, "c"), message(3, "b"), message(4, "d")])

    assert (found.void, found.matched, found.doubtful) == (4, 4, [])


def test_a_message_without_a_receipt_is_a_second_copy_or_unknown() -> None:
    """A copy of one that has a receipt, or of another one that has none."""
    rows = [receipt(1, 2, "a"), receipt(2, 9, "d")]
    contents = [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c"), (6, "d")]
    found = compared(rows, [message(*one) for one in contents])

    assert list(found.without_receipt()) == [
        Problem("doubled", "a.bin", 1, "a second copy of message 2"),
        Problem("unknown", "b.bin", 3, "the ledger has no receipt of it"),
        Problem("doubled", "b.bin", 4, "a second copy of message 3"),
        Problem("unknown", "c.bin", 5, "the ledger has no receipt of it"),
        Problem("unknown", "d.bin", 6, "the ledger has no receipt of it"),  # its receipt is for another place
    ]


def fetched(content: str, **more: Any) -> Fetched:
    """The message at a sequence, with its content."""
    seen = message(1, content, **more)
    return Fetched(1, seen.headers, digest(content))


@pytest.mark.parametrize(
    ("row", "found", "what", "said"),
    [
        (receipt(1, 1, "a"), None, "lost", "the stream has no message 1"),
        (receipt(1, 1, "a"), fetched("b"), "lost", "message 1 is another one, with the id"),
        (receipt(1, 1, "a"), Fetched(1, {}, digest("a")), "lost", "with the id ''"),
        (receipt(1, 1, "a"), fetched("a", site="other"), "altered", "of the site 'other'"),
        (receipt(1, 1, "a"), fetched("a", Edge_Sha256="x"), "altered", "its content is x"),
        (receipt(1, 1, "a"), fetched("a", Edge_Object="b/x"), "altered", "it names the object 'b/x'"),
        (receipt(1, 1, "a", object="b/x"), fetched("a"), "altered", "it names the object ''"),
        (receipt(1, 1, "a"), fetched("a")._replace(digest=digest("b")), "altered", f"its content is {digest('b')}"),
        (receipt(1, 1, "a"), fetched("a")._replace(digest=None), "lost", "its object, or a part of it, is not there"),
        (receipt(1, 1, "a"), fetched("a"), "", ""),
        (receipt(1, 1, "a", path="b.bin"), fetched("a"), "altered", "it says path 'a.bin', and the row 'b.bin'"),
        (receipt(1, 1, "a", size=2), fetched("a"), "altered", "it says size '1', and the row '2'"),
        (receipt(1, 1, "a", mtime_ns=8), fetched("a"), "altered", "it says mtime_ns '7', and the row '8'"),
        (receipt(1, 1, "a", meta="x=1"), fetched("a"), "altered", "it says meta '', and the row 'x=1'"),
        (receipt(1, 1, "a", meta="b-c=1+2&x=%C3%A4"), fetched("a", Edge_Meta_X="ä", Edge_Meta_B_C="1 2"), "", ""),
        (receipt(1, 1, "a", "duplicate", size=2), fetched("a"), "altered", "it says that its content has 1 bytes"),
        (receipt(1, 1, "a"), fetched("a")._replace(subject="x.y"), "altered", "it lies on the subject 'x.y'"),
        (receipt(1, 1, "a", object="b/x"), fetched("a", Edge_Object="b/x"), "", ""),
        (receipt(1, 1, "a", "duplicate"), fetched("a", site="other"), "", ""),
        (receipt(1, 1, "a", "duplicate"), Fetched(1, {}, digest("a")), "", ""),
        (receipt(1, 1, "a", "duplicate"), Fetched(1, {}, digest("b")), "lost", "another one"),
    ],
)
def test_a_second_look_says_what_is_wrong(row: dict[str, Any], found: Fetched | None, what: str, said: str) -> None:
    """Or that nothing is."""
    problem = second_look(row, found, SITE)

    assert (problem.what if problem else "") == what
    assert said in (problem.said if problem else "")
    assert problem is None or (problem.path, problem.seq) == (row["path"], 1)


@given(st.lists(st.integers(1, 30), max_size=40), st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)))
def test_every_receipt_is_in_exactly_one_place(seqs: list[int], there: set[int], others: set[int]) -> None:
    """Matched, doubtful or expired; and every message of the site has a receipt or is told of."""
    first = min(there | others, default=31)
    rows = [receipt(n, seq, str(seq)) for n, seq in enumerate(seqs, 1)]
    messages = [message(seq, str(seq), site="other" if seq in others else SITE) for seq in sorted(there | others)]
    found = compared(rows, messages, first)

    good = [row["n"] for row in rows if row["stream_seq"] in there - others]
    assert found.matched == len(good)
    assert found.expired == sum(seq < first for seq in seqs)
    assert sorted(found.doubtful) == [row["n"] for row in rows if row["stream_seq"] >= first and row["n"] not in good]
    assert set(found.unknown) == there - others - set(seqs)


# Messages that a reader has freed.


def freed(n: int, seq: int, content: str, **more: Any) -> dict[str, Any]:
    """A receipt on a subject of its content's own."""
    return receipt(n, seq, content, subject=f"edge.replay.x.{digest(content)}", **more)


def tombstone(seq: int, content: str, **more: str) -> StoredHeaders:
    """What stands in the place of a message of this content."""
    headers = {"Edge-Tombstone": "1", **{name.replace("_", "-"): text for name, text in more.items()}}
    return StoredHeaders(seq, f"edge.replay.x.{digest(content)}", headers, 0)


def test_a_receipt_whose_message_was_freed_is_told_by_its_subject() -> None:
    """The tombstone lies behind the place of the message; one before it says nothing of it."""
    rows = [freed(1, 1, "a"), freed(2, 2, "b"), freed(3, 5, "c")]
    found = compared(rows, [tombstone(3, "a"), tombstone(4, "c")])

    assert found.doubtful == [1, 2, 3]
    assert [found.has_tombstone(row["subject"], row["stream_seq"]) for row in rows] == [True, False, False]
    assert (found.messages, found.unknown) == (0, {})


def test_of_the_receipts_before_the_stream_those_that_were_freed_are_counted_apart() -> None:
    """Where the oldest messages are freed, the stream begins behind them."""
    rows = [freed(1, 1, "a"), freed(2, 2, "b"), freed(3, 3, "c")]
    found = compared(rows, [tombstone(4, "a"), tombstone(5, "c")], first_seq=4)

    assert (found.expired, found.freed) == (1, 2)


def test_on_a_plain_subject_a_tombstone_says_nothing_of_a_message() -> None:
    """It could be anybody's of all that share the subject."""
    rows = [receipt(1, 1, "a", subject="edge.replay.x"), receipt(2, 2, "b", subject="edge.replay.x")]
    found = compared(rows, [StoredHeaders(3, "edge.replay.x", {"Edge-Tombstone": "1"}, 0)], first_seq=3)

    assert (found.expired, found.freed) == (2, 0)


def test_at_a_hub_a_tombstone_counts_wherever_it_lies() -> None:
    """A message that came by a source has a sequence of the hub's own."""
    rows = [freed(1, 100, "a")]
    found = compared(rows, [tombstone(3, "a", Nats_Stream_Source="swarm_jobs 7")], first_seq=0)

    assert found.sourced == 1
    assert found.has_tombstone(rows[0]["subject"], 100)


@given(st.dictionaries(st.integers(1, 40), st.integers(1, 60), max_size=20))
def test_every_tombstone_is_found_again(there: dict[int, int]) -> None:
    """Whatever the order of their marks."""
    messages = [tombstone(seq, str(content)) for content, seq in sorted(there.items(), key=lambda one: one[1])]
    found = compared([freed(1, 1, "other")], messages)
    for content, seq in there.items():
        assert found.has_tombstone(messages[0].subject[:14] + digest(str(content)), seq)
        assert not found.has_tombstone(messages[0].subject[:14] + digest(str(content)), seq + 60)
