"""What a worker writes down: a row for each file, before its acknowledgement, and held against a site's receipts."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.base.errors import LedgerDamaged, SettingsError
from syncdaemon.base.model import Content, Receipt, Stamp
from syncdaemon.check.received import not_arrived, read_books
from syncdaemon.ledger import RECEIVED, Ledger, files, sites
from syncdaemon.ledger.files import rows_of
from syncdaemon.ledger.rows import ARRIVED, held_lost, receipt_row
from syncdaemon.ledger.writer import Writer
from syncdaemon.receive.book import Book
from syncdaemon.receive.incoming import Arrival, Item, Outcome, Placed, Rejected, Retry, Wanted
from syncdaemon.stream.pulled import DeliveryInfo

WORKER, SITE = "hub-1", "edge-1"
WRITTEN = Placed("written", 3)


def item(path: bytes, seq: int, data: bytes = b"abc") -> Item:
    """A file's message as it was delivered."""
    wanted = Wanted(SITE, tuple(path.split(b"/")), sha256(data).hexdigest(), len(data), 1, False, None)
    return Item(Arrival(b"edge.replay.x", b"", data, b""), DeliveryInfo("s", seq, 99, 1), wanted)


def at_work(folder: Path, work: Callable[[Book], Awaitable[Any]]) -> Any:
    """What `work` comes to, with a process of its own."""

    async def run() -> Any:
        book = Book(folder, WORKER)
        book.open()
        try:
            return await work(book)
        finally:
            await book.close()

    return asyncio.run(run())


def write(folder: Path, *arrived: tuple[Item, Outcome]) -> list[Outcome]:
    """One process writes these."""
    found: list[Outcome] = at_work(folder, lambda book: book.write(*zip(*arrived, strict=True)))
    return found


def rows(folder: Path) -> list[dict[str, Any]]:
    """The files that the worker wrote down."""
    return [row for path in files(folder, WORKER, RECEIVED) for row in rows_of(path, {ARRIVED})]


def delivered(folder: Path, *receipts: Receipt, lost: int = 0) -> None:
    """The ledger of the site."""

    async def run() -> None:
        ledger = Ledger(folder, SITE)
        ledger.open()
        entries = [receipt_row(receipt) for receipt in receipts]
        gone = [held_lost({"path": "x", "sha256": receipts[0].content.sha256, "stream_seq": lost})] if lost else []
        await ledger.append(entries + gone)
        await ledger.close()

    asyncio.run(run())


def receipt(path: bytes, seq: int, data: bytes = b"abc", stream: str = "s", duplicate: bool = False) -> Receipt:
    """Of one file."""
    stamp, digest = Stamp(0, 0, len(data), 1, 1), sha256(data).hexdigest()
    return Receipt(Content(path, path.decode(), stamp, None, digest, 1), digest, "sub", stream, seq, duplicate)


def test_a_file_has_one_row_however_often_its_message_comes(tmp_path: Path) -> None:
    """In one process and the next one, and twice in one group; a stream that was made anew begins at 1 again."""
    one, two = item(b"a", 1), item(b"d/\xff", 2, b"other")
    assert write(tmp_path, (one, WRITTEN), (one, WRITTEN)) == [WRITTEN, WRITTEN]
    again = Placed("unchanged", 3)
    assert write(tmp_path, (one, again), (two, WRITTEN), (item(b"b", 1, b"anew"), WRITTEN))[0] == again
    found = [(row["from_site"], row["path"], row["stream"], row["stream_seq"], row["how"]) for row in rows(tmp_path)]
    assert found == [
        (SITE, "a", "s", 1, "written"),
        (SITE, "d/%FF", "s", 2, "written"),
        (SITE, "b", "s", 1, "written"),
    ]
    assert (sites(tmp_path), sites(tmp_path, RECEIVED), files(tmp_path, WORKER)) == ([], [WORKER], [])


def test_what_is_no_file_has_no_row(tmp_path: Path) -> None:
    outcomes: list[Outcome] = [Rejected("bad_header", "x"), Retry("disk_full", "y")]
    assert write(tmp_path, *((item(b"a", seq), outcome) for seq, outcome in enumerate(outcomes))) == outcomes
    assert rows(tmp_path) == []


def test_the_same_message_twice_at_once_waits_for_its_row(tmp_path: Path) -> None:
    one = item(b"a", 1)

    async def work(book: Book) -> None:
        await asyncio.gather(*(book.write([one], [WRITTEN]) for _ in range(5)))
        assert len(rows(tmp_path)) == 1

    at_work(tmp_path, work)


def test_without_a_row_nothing_is_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes no row: the message is put back, and the row is written when it comes again."""
    one = item(b"a", 1)

    async def work(book: Book) -> None:
        with monkeypatch.context() as patch:

            def full(self: Writer, group: object) -> float:
                raise OSError(errno.ENOSPC, "No space left on device")

            patch.setattr(Writer, "write", full)
            (outcome,) = await book.write([one], [WRITTEN])
            assert isinstance(outcome, Retry)
            assert outcome.disk
        assert await book.write([one], [Placed("unchanged", 3)]) == [Placed("unchanged", 3)]

    at_work(tmp_path, work)
    assert [row["how"] for row in rows(tmp_path)] == ["unchanged"]


def test_a_second_worker_of_one_name_is_refused(tmp_path: Path) -> None:
    async def work(book: Book) -> None:
        with pytest.raises(SettingsError, match="of worker hub-1"):
            Book(tmp_path, WORKER).open()

    at_work(tmp_path, work)


def test_a_torn_end_is_repaired_and_its_message_gets_its_row(tmp_path: Path) -> None:
    write(tmp_path, (item(b"a", 1), WRITTEN), (item(b"b", 2, b"b"), WRITTEN))
    (day,) = files(tmp_path, WORKER, RECEIVED)
    lines = day.read_bytes().splitlines(keepends=True)
    day.write_bytes(b"".join(lines[:2]) + lines[2][:-20])
    write(tmp_path, (item(b"a", 1), WRITTEN), (item(b"b", 2, b"b"), Placed("unchanged", 1)))
    assert [row["path"] for row in rows(tmp_path)] == ["a", "b"]
    said: list[str] = []
    read_books(tmp_path, said.append)
    assert said == ["received by hub-1: ok, 6 rows, 2 files arrived"]


def test_what_was_delivered_and_has_not_arrived_is_found(tmp_path: Path) -> None:
    """By its message; by site, path and digest at a hub that counts anew; a duplicate by its content."""
    site = tmp_path / "site"
    write(tmp_path, (item(b"a", 1), WRITTEN), (item(b"b", 2, b"b"), WRITTEN))
    there = [receipt(b"a", 1), receipt(b"b", 70, b"b", "leaf"), receipt(b"copy", 70, b"b", "leaf", duplicate=True)]
    missing = [receipt(b"c", 3, b"c"), receipt(b"a", 4, b"another"), receipt(b"elsewhere", 71, b"b", "leaf")]
    delivered(site, *there, *missing)
    books = read_books(tmp_path, lambda line: None)
    assert [row["path"] for row in not_arrived(site, SITE, books)] == ["c", "a", "elsewhere"]


def test_a_receipt_that_counts_no_more_is_not_missed(tmp_path: Path) -> None:
    write(tmp_path / "hub", (item(b"x", 9, b"x"), WRITTEN))
    delivered(tmp_path, receipt(b"gone", 5, b"gone"), lost=5)
    assert not_arrived(tmp_path, SITE, read_books(tmp_path / "hub", lambda line: None)) == []


def test_an_altered_row_is_found(tmp_path: Path) -> None:
    write(tmp_path, (item(b"a", 1), WRITTEN), (item(b"b", 2, b"b"), WRITTEN))
    (day,) = files(tmp_path, WORKER, RECEIVED)
    day.write_bytes(day.read_bytes().replace(b'"path":"a"', b'"path":"z"'))
    with pytest.raises(LedgerDamaged, match="line 2: altered"):
        read_books(day, lambda line: None)
    with pytest.raises(SettingsError, match="no ledger of a worker"):
        read_books(tmp_path / "elsewhere", lambda line: None)
