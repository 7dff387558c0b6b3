"""What is sent of the live page: what changed, and little of what changes all the time."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from syncdaemon.cli.work.told import PageTold
from syncdaemon.daemon.advice import ADVICE, in_words
from syncdaemon.web.events import Changes, Rows, Table, text
from syncdaemon.web.views import Check


def fields(event: bytes) -> dict[str, Any]:
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert event.count(b"\n") == 2
    found: dict[str, Any] = json.loads(event.removeprefix(b"data: "))
    return found


def test_only_what_changed_is_sent() -> None:
    changes = Changes()
    assert changes.since_last({"one": 1, "two": [2]}) == {"one": 1, "two": [2]}
    assert changes.since_last({"one": 1, "two": [2]}) == {}
    assert changes.since_last({"one": 1, "two": [3]}) == {"two": [3]}


def test_of_rows_those_that_are_new_or_changed() -> None:
    changes = Changes()
    changes.since_last({"slots": Rows([[1, 5], [2, 5]])})
    assert changes.since_last({"slots": Rows([[1, 5], [2, 6], [3, 0]])}) == {"slots": Rows([[2, 6], [3, 0]])}
    assert changes.since_last({"slots": Rows([[2, 6], [3, 0]])}) == {}


def test_a_flood_of_receipts_is_thinned() -> None:
    """50 at once, and then three for each event; always the newest."""
    changes = Changes()
    first = changes.since_last({"receipts": Rows([[number] for number in range(50)], thinned=True)})
    assert len(first["receipts"].rows) == 50
    for begin in range(1000, 100_000, 1000):
        state = {"receipts": Rows([[number] for number in range(begin, begin + 50)], thinned=True)}
        assert changes.since_last(state)["receipts"].rows == [[begin + 47], [begin + 48], [begin + 49]]


def test_no_text_can_end_an_event() -> None:
    told = "a\n\ndata: {}\r\u2028\x00\udcff"
    assert fields(text(1.0, {"name": told}))["name"] == told
    assert fields(text(12.34, {"rows": Rows([[1]])}, whole=True)) == {"now": 12.3, "whole": True, "rows": [[1]]}


def test_of_a_table_only_the_rows_that_changed() -> None:
    changes = Changes()
    assert changes.since_last({"facts": Table([["a", 1], ["b", 2]])}) == {"facts": Table([["a", 1], ["b", 2]])}
    assert changes.since_last({"facts": Table([["a", 1], ["b", 3]])}) == {"facts+": [["b", 3]]}
    assert changes.since_last({"facts": Table([["a", 1], ["b", 3]])}) == {}
    turned = Table([["b", 3], ["a", 1]])
    assert changes.since_last({"facts": turned}) == {"facts": turned}
    assert changes.since_last({"facts": Table([["b", 3]])}) == {"facts": Table([["b", 3]])}


def test_who_reads_the_changes_has_the_same_table() -> None:
    """Whatever appears, goes, changes its text or its place."""
    dice, changes, told = Random(17), Changes(), PageTold()
    for _ in range(500):
        rows = [[name, dice.randrange(3)] for name in dice.sample("abcd", dice.randrange(5))]
        told.take(text(1.0, changes.since_last({"facts": Table(rows)})).removeprefix(b"data: "), 1.0)
        assert told.rows("facts") == rows


def test_a_busy_page_costs_a_few_hundred_bytes_a_second() -> None:
    """Under load: every fact, a slot, two checks and a flood of receipts are others each second."""
    changes, spent = Changes(), []
    for second in range(60):
        checks = {name: Check(True, "nothing is wrong with it at all") for name in ADVICE}
        checks["disks"] = Check(True, f"{40_000 - second:,} MB are free at /var/lib/syncdaemon/replay")
        checks["room"] = Check(True, f"{1_000_000 + 700 * second:,} of 5,000,000 messages are in the stream")
        number = 1_000_000 + 1000 * second
        state = {
            "answer": {"level": "waiting", "word": "Not yet", "text": f"{number:,} files are on this machine alone"},
            "facts": Table([[f"What is counted {at}", f"{number + at:,} files"] for at in range(6)]),
            "slots": Rows([[900 + second // 15, 15.0, 15.0, number, 12, 1_000_000, 5_000_000.0 + second]]),
            "receipts": Rows(
                [[it, 1_790_000_000.1, f"camera-07/2026-11-30/{it:010}.jpg", 104_857, it, False]
                 for it in range(number, number + 50)],
                thinned=True,
            ),
            "checks": Table(in_words(checks)),
            "promise": [["Ledger", "each row is chained to the one before"]],
        }  # fmt: skip
        spent.append(len(text(1_790_000_000.0, changes.since_last(state))))
    usual = sorted(spent[20:])[20]
    assert usual < 1000, spent
