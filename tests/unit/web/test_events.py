"""What is sent of the live page: what changed, and little of what changes all the time."""

from __future__ import annotations

import json
from typing import Any

from syncdaemon.web.events import Changes, Rows, text


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
