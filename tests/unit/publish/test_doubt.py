"""What is in doubt: noted, answered, looked for; and the same out of the ledger after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base.model import LONG_AGO, Attempt, Content, Instant, Receipt, Row, Stamp, StoredHeaders
from syncdaemon.ledger import chain, open_attempts
from syncdaemon.ledger.rows import receipt_row
from syncdaemon.publish.doubt import Doubt

WINDOW = 120.0
SITE = "edge-1"


def at(seconds: float, wall: float | None = None) -> Instant:
    """So many seconds after the start, by both clocks."""
    return Instant(seconds, seconds if wall is None else wall)


def message(seq: int, msg_id: str) -> StoredHeaders:
    """A message of the stream."""
    return StoredHeaders(seq, "plain", {"Nats-Msg-Id": msg_id}, 0)


def test_nothing_sent_is_nothing_to_look_for() -> None:
    """Nor is what was answered."""
    doubt = Doubt()
    assert doubt.read_from(at(0), WINDOW) is None
    doubt.sent(["a"], 7, 3, at(0))
    doubt.answered("a")
    assert doubt.read_from(at(1_000), WINDOW) is None
    assert doubt.oldest_row == 0


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        (at(59), None),
        (at(61), 7),
        (at(10, wall=61), 7),  # the machine slept
        (at(61, wall=10), 7),  # the wall clock was set back
        (at(10, wall=-1_000), None),
    ],
)
def test_the_server_is_trusted_for_half_of_its_window(now: Instant, wanted: int | None) -> None:
    """By the clock that says that more time has passed."""
    doubt = Doubt()
    doubt.sent(["a"], 7, 3, at(0))
    doubt.sent(["b"], 9, 4, at(20))
    assert doubt.read_from(now, WINDOW) == wanted


def test_what_another_process_sent_is_always_looked_for() -> None:
    """Its clock says nothing to us."""
    doubt = Doubt()
    doubt.take_over({"a": Attempt(7, 3, 1)})
    assert doubt.read_from(at(0), WINDOW) == 7
    assert doubt.read_from(at(0), float("inf")) == 7


def test_what_was_found_is_known_until_every_file_of_that_id_is_settled() -> None:
    """Two files with the same content were sent; one message is there."""
    doubt = Doubt()
    doubt.sent(["a", "a", "b"], 7, 3, at(0))
    for seen in (message(8, "a"), message(9, "c"), message(10, "a")):
        doubt.look(seen)
    assert doubt.looked(row=12) == ["a", "a"]
    assert "b" not in doubt
    assert doubt.oldest_row == 12
    for _ in range(2):
        found = doubt.found("a")
        assert found is not None
        assert found.seq == 8
        doubt.answered("a")
    assert doubt.found("a") is None
    assert "a" not in doubt


def test_one_that_was_sent_afresh_is_found_under_its_first_id() -> None:
    """Its own id has a dot and more behind that."""
    doubt = Doubt()
    doubt.sent(["a"], 5, 1, at(0))
    seen = message(6, "a.0123abcd")
    doubt.look(seen)
    assert doubt.found("a") == seen
    doubt.answered("a.0123abcd")
    assert not doubt


def test_one_that_was_sent_again_is_in_doubt_since_the_first_time() -> None:
    """Its first message may be the one that is there."""
    doubt = Doubt()
    doubt.sent(["a"], 7, 3, at(0))
    doubt.sent(["a"], 50, 9, at(100))
    assert doubt.read_from(at(101), WINDOW) == 7
    assert doubt.oldest_row == 3


def test_an_answer_to_something_else_changes_nothing() -> None:
    """As from a stream that knows by itself, where nothing is noted."""
    doubt = Doubt()
    doubt.answered("a")
    assert "a" not in doubt
    doubt.take_over({"a": Attempt(1, 1, 1, LONG_AGO)})
    doubt.forget()
    assert doubt.read_from(at(0), WINDOW) is None


# The same out of the ledger.


class Book:
    """A ledger that is written by hand, a file whenever `turn` says so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.head = chain.START
        self.day = 20260101

    def write(self, event: str, **fields: int | str | bool) -> int:
        """One more row; its number."""
        row: Row = fields
        line, self.head = chain.seal(self.head, SITE, "2026-01-01T00:00:00.000000Z", event, row)
        with (self.folder / f"evidence-{SITE}-{self.day}.jsonl").open("ab") as file:
            file.write(line + b"\n")
        return self.head.n

    def attempt(self, ids: str, open_since: int = 0, first_seq: int = 1, resolved: bool = False) -> int:
        """An `attempt` row."""
        more = {"resolved": True} if resolved else {}
        return self.write(
            "attempt", ids=ids, count=len(ids.split()), first_seq=first_seq, open_since=open_since, **more
        )

    def receipt(self, msg_id: str) -> None:
        """A `published` row, of any file."""
        content = Content(b"a", "a", Stamp(1, 2, 3, 4, 5), b"abc", "0" * 64, 1)
        event, fields = receipt_row(Receipt(content, msg_id, "plain", "evidence", 7, duplicate=False))
        self.write(event, **fields)

    def turn(self) -> None:
        """The next day."""
        self.day += 1

    def open(self) -> dict[str, Attempt]:
        """What is open."""
        return open_attempts(self.folder, SITE)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """An empty ledger."""
    return Book(tmp_path)


def test_a_ledger_without_attempts_has_none_open(book: Book) -> None:
    """An empty one, and one of a stream that knows by itself."""
    assert book.open() == {}
    book.write("open")
    book.receipt("a")
    assert book.open() == {}


def test_an_attempt_without_its_receipt_is_open(book: Book) -> None:
    """Each id on its own, as often as it was sent."""
    book.write("open")
    n = book.attempt("a b b c", first_seq=7)
    book.receipt("a")
    book.receipt("b")
    book.write("link", up=False)
    assert book.open() == {"b": Attempt(7, n, 1), "c": Attempt(7, n, 1)}


def test_a_receipt_of_what_was_sent_afresh_closes_the_attempt_of_its_first_id(book: Book) -> None:
    """The row has the id that was sent, and that one begins with the first id."""
    n = book.attempt("a b")
    book.receipt("a.0123abcd")
    assert book.open() == {"b": Attempt(1, n, 1)}


def test_an_old_attempt_is_found_over_the_days(book: Book) -> None:
    """The newest one says how far back it is open."""
    book.attempt("gone")
    old = book.attempt("a", first_seq=3)
    for _ in range(3):
        book.turn()
        book.write("open")
        new = book.attempt("b", open_since=old, first_seq=8)
        book.receipt("b")
    book.attempt("c", open_since=old, first_seq=9)
    book.turn()
    book.write("link", up=True)
    assert book.open() == {"a": Attempt(3, old, 1), "c": Attempt(9, new + 2, 1)}


def test_what_was_looked_for_and_not_found_is_open_no_more(book: Book) -> None:
    """A row says what is open from there on."""
    book.attempt("a b")
    n = book.attempt("b", resolved=True, first_seq=5)
    assert book.open() == {"b": Attempt(5, n, 1)}
    book.receipt("b")
    assert book.open() == {}


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_the_ledger_tells_what_a_process_knew(
    tmp_path_factory: pytest.TempPathFactory, sent: list[str], answered: list[str]
) -> None:
    """Whatever was sent and answered before the crash."""
    book, doubt = Book(tmp_path_factory.mktemp("ledger")), Doubt()
    for number, msg_id in enumerate(sent, 1):
        since, row = doubt.oldest_row, book.head.n + 1
        doubt.sent([msg_id], number, row, at(0))
        book.attempt(msg_id, open_since=since, first_seq=number)
        if answered and answered[-1] in doubt:
            doubt.answered(answered[-1])
            book.receipt(answered.pop())
        if number % 3 == 0:
            book.turn()
    reborn = Doubt()
    reborn.take_over(book.open())
    assert reborn.read_from(at(0), WINDOW) == doubt.read_from(at(10_000), WINDOW)
    for msg_id in "abc":
        assert (msg_id in reborn) == (msg_id in doubt)
