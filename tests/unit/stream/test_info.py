"""What a stream's settings mean for a second copy."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from syncdaemon.stream.info import StreamAnswer, StreamInfo, read_info

WINDOW = 120.0


def info(**config: Any) -> StreamInfo:
    """The stream with these settings."""
    whole = {"name": "jobs", "duplicate_window": int(WINDOW * 1e9), **config}
    return read_info(StreamAnswer.from_api({"config": whole, "state": {"first_seq": 1, "last_seq": 0}}))


@pytest.mark.parametrize(
    ("config", "per_digest", "horizon"),
    [
        ({"discard": "new", "max_msgs": 5}, True, inf),
        ({"discard": "old"}, True, inf),
        ({"discard": "old", "max_msgs": 5}, True, WINDOW),
        ({"discard": "old", "max_bytes": 5}, True, WINDOW),
        ({"discard": "old", "max_bytes": 5, "max_age": 3_600_000_000_000}, True, WINDOW),
        ({"discard": "old", "max_msgs_per_subject": 1}, True, inf),
        ({"discard": "old", "max_msgs_per_subject": 1}, False, WINDOW),
        ({"discard": "new", "max_msgs_per_subject": 1}, False, WINDOW),
        ({"discard": "new", "max_msgs_per_subject": 1, "discard_new_per_subject": True}, False, inf),
    ],
)
def test_where_messages_leave_by_count_or_size_the_horizon_is_the_window(
    config: dict[str, Any], per_digest: bool, horizon: float
) -> None:
    assert info(**config).horizon(per_digest) == horizon


def test_changes_are_named() -> None:
    """With what was before."""
    assert info(max_msgs=5).changes(info()) == "max_msgs=5 (was not set)"
    assert info().changes(info()) == ""
