"""Looking for rows of certain files in the ledger's files: the last word counts, and old days are left alone."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from syncdaemon.base.tickets import TicketKey
from syncdaemon.ledger import chain
from syncdaemon.ledger.rows import Entry
from syncdaemon.ledger.search import search

SITE = "s"


def key(name: str) -> TicketKey:
    return TicketKey(name, name[0] * 64)


def entry(event: str, name: str) -> Entry:
    base: dict[str, int | str | bool] = {"path": name, "size": 1, "sha256": key(name).sha256, "mtime_ns": 1}
    if event == "refused":
        return event, {**base, "attempts": 1, "reason": "r", "error": "e"}
    if event == "held_lost":
        return event, {"path": name, "sha256": key(name).sha256, "stream_seq": 1}
    if event == "requeued":
        return event, {"path": name, "size": 1, "sha256": key(name).sha256, "reason": "r"}
    return event, {**base, "attempts": 1, "msg_id": "i", "subject": "s", "stream": "t", "stream_seq": 1}


def written(folder: Path, **days: list[Entry]) -> None:
    """A ledger with a file for each of these days."""
    head = chain.START
    for day, entries in days.items():
        lines = b""
        for event, fields in entries:
            line, head = chain.seal(head, SITE, "2026-01-01T00:00:00.000000Z", event, fields)
            lines += line + b"\n"
        (folder / f"evidence-{SITE}-{day[1:]}.jsonl").write_bytes(lines)


def found(folder: Path, *names: str, since: date | None = None) -> dict[str, tuple[str, int]]:
    told = search(folder, SITE, [key(name) for name in names], since, lambda: None)
    return {one.name: (row.event, row.n) for one, row in told.items()}


def test_rows_are_found_by_path_and_digest(tmp_path: Path) -> None:
    written(tmp_path, d20260101=[entry("published", "a"), entry("refused", "b"), entry("published", "c")])
    assert found(tmp_path, "a", "b", "x") == {"a": ("published", 1), "b": ("refused", 2)}
    assert search(tmp_path, SITE, [TicketKey("a", "c" * 64)], None, lambda: None) == {}


def test_the_last_word_counts_also_across_days(tmp_path: Path) -> None:
    written(
        tmp_path,
        d20260101=[entry("published", "a"), entry("refused", "b"), entry("published", "c")],
        d20260102=[entry("held_lost", "a"), entry("requeued", "b"), entry("duplicate", "c")],
    )
    assert found(tmp_path, "a", "b", "c") == {"c": ("duplicate", 6)}


def test_days_before_the_hand_over_are_not_read(tmp_path: Path) -> None:
    """But for one: the clock may have been just before midnight."""
    written(tmp_path, d20260101=[entry("published", "a")], d20260105=[entry("published", "b")])
    assert found(tmp_path, "a", "b", since=date(2026, 1, 3)) == {"b": ("published", 2)}
    assert found(tmp_path, "a", "b", since=date(2026, 1, 2)).keys() == {"a", "b"}


def test_what_is_damaged_or_not_finished_is_left_out(tmp_path: Path) -> None:
    written(tmp_path, d20260101=[entry("published", "a"), entry("published", "b")])
    path = tmp_path / f"evidence-{SITE}-20260101.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    assert found(tmp_path, "a", "b") == {"a": ("published", 1)}


def test_it_rests_again_and_again(tmp_path: Path) -> None:
    written(tmp_path, d20260101=[entry("published", "a")] * 5000)
    rests: list[int] = []
    search(tmp_path, SITE, [key("x")], None, lambda: rests.append(1))
    assert len(rests) >= 4
