"""Which bounds of a stream's size the start warns of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncdaemon.daemon.stream_size import reasons
from syncdaemon.stream.info import StreamAnswer
from syncdaemon.stream.room import Growth

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def warned(messages: int, days: float, config: dict[str, Any] | None = None, **state: int) -> list[str]:
    """What is said of a stream whose messages, of 570 bytes, came within so many days."""
    known = {"messages": messages, "bytes": 570 * messages, "first_ts": NOW - timedelta(days=days), "last_ts": NOW}
    given = config or {"subjects": ["edge.replay.*.*"]}
    answer = StreamAnswer(given, known | state, "", "", (), NOW, NOW)
    return reasons(Growth.of(answer.config, answer.state, now=answer.at), answer)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"num_subjects": 1_000_001}, "over 1,000,000 subjects"),
        ({"num_deleted": 1_000_001}, "over 1,000,000 gaps"),
    ],
)
def test_where_the_server_writes_no_index(state: dict[str, int], said: str) -> None:
    (found,) = warned(10, 100, None, **state)
    assert found.startswith(said)


def test_where_a_restart_takes_long_or_will() -> None:
    assert warned(2_200_000, 4_000)[-1].startswith("a restart of the server takes about 12 s")
    assert warned(500_000, 30) == ["at this rate a restart of the server will take about 37 s"]
    assert warned(500_000, 30, {"max_age": 30 * 86_400 * 10**9}) == []


def test_where_several_sites_share_a_stream_that_forgets_nothing() -> None:
    several: dict[str, Any] = {"subjects": ["edge.replay.a.>", "edge.replay.b.>"]}
    assert warned(10, 10, several) == ["several sites share it, and it has no max_age"]
    assert warned(10, 10, several | {"max_age": 10**15}) == []
