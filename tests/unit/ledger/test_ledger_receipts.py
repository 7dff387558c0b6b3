"""The receipts of certain files, read back out of a ledger."""

from __future__ import annotations

import json
from pathlib import Path

from syncdaemon.ledger.receipts import receipts_of

A = "a" * 64


def write(folder: Path, day: int, *rows: tuple[str, str, int]) -> None:
    """A day's file: event, path and sequence of its rows."""
    all_rows = {"v": 1, "prev": "1" * 64, "ts": "2026-01-01T00:00:00.000000Z", "site": "here"}
    lines = [
        json.dumps(
            {
                **all_rows,
                "n": n,
                "event": event,
                "path": path,
                "stream_seq": seq,
                "sha256": A,
                "size": 1,
                "msg_id": A,
                "subject": "plain",
                "stream": "s",
                "mtime_ns": 1,
                "attempts": 1,
            },
            separators=(",", ":"),
        )
        for n, (event, path, seq) in enumerate(rows, 2)
    ]
    (folder / f"evidence-here-2026010{day}.jsonl").write_text("".join(line + "\n" for line in lines))


def paths(folder: Path, seq: int, count: int) -> list[object]:
    """The files that share this message and this date, the best ones last."""
    return [row["path"] for row in receipts_of(folder, "here", {(seq, A, 1): count})[seq, A, 1]]


def test_files_that_share_a_message_are_all_found(tmp_path: Path) -> None:
    """Over several days; those of other messages are not."""
    write(tmp_path, 1, ("published", "a", 7), ("published", "x", 8))
    write(tmp_path, 2, ("duplicate", "b", 7), ("duplicate", "c", 7))
    assert paths(tmp_path, 7, 3) == ["c", "b", "a"]
    assert paths(tmp_path, 9, 1) == []


def test_no_older_day_is_read_than_is_needed(tmp_path: Path) -> None:
    """A ledger may be years long."""
    write(tmp_path, 2, ("duplicate", "b", 7), ("duplicate", "c", 7))
    (tmp_path / "evidence-here-20260101.jsonl").write_text('"event":"published" is no row\n')
    assert paths(tmp_path, 7, 2) == ["c", "b"]


def test_a_file_that_was_sent_again_is_the_last_resort(tmp_path: Path) -> None:
    """A crash may have come right after its row; the stream may have given it the same sequence once more."""
    write(tmp_path, 1, ("published", "a", 7), ("duplicate", "b", 7))
    write(tmp_path, 2, ("held_lost", "a", 7))
    assert paths(tmp_path, 7, 2) == ["a", "b"]
    write(tmp_path, 3, ("held_lost", "b", 7))
    assert paths(tmp_path, 7, 2) == ["a", "b"]
    write(tmp_path, 4, ("published", "b", 7), ("duplicate", "a", 7))
    assert paths(tmp_path, 7, 2) == ["a", "b"]
    write(tmp_path, 5, ("held_lost", "b", 7))
    assert paths(tmp_path, 7, 2)[-2:] == ["b", "a"]


def test_a_last_line_that_is_not_finished_is_none(tmp_path: Path) -> None:
    """Somebody may just write it."""
    write(tmp_path, 1, ("published", "a", 7))
    path = tmp_path / "evidence-here-20260101.jsonl"
    path.write_text(path.read_text() + '{"event":"published","pa')
    assert paths(tmp_path, 7, 1) == ["a"]
