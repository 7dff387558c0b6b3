"""What a stream of digests costs its server, and how that grows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncdaemon.stream import room
from syncdaemon.stream.room import Growth, most_digests, shared_by_several, start_seconds

NOW = datetime(2026, 11, 30, tzinfo=UTC)
MEASURED = [(100_000, 58e6, 0.3), (1_000_000, 581e6, 4.4), (3_000_000, 1.8e9, 17.0), (10_000_000, 6.0e9, 63.0)]


def state(messages: int, days: float, size: int = 570, **more: Any) -> dict[str, Any]:
    first = NOW - timedelta(days=days)
    return {"messages": messages, "bytes": messages * size, "first_ts": first, "last_ts": NOW, **more}


def test_memory_and_digests_are_one_ratio() -> None:
    assert most_digests(256 << 20) == 250_000
    for memory in (64 << 20, 800 << 20, 12 << 30):
        assert room.memory_for(most_digests(memory)) <= memory


@pytest.mark.parametrize(("digests", "stored", "seconds"), MEASURED)
def test_a_start_is_projected_as_it_was_measured(digests: int, stored: float, seconds: float) -> None:
    assert seconds * 0.8 < start_seconds(digests, int(stored)) < max(1.0, seconds * 1.35)


def test_a_stream_with_an_age_grows_until_it_has_that_age() -> None:
    found = Growth.of({"max_age": 7 * 86_400 * 10**9}, state(86_400, 1))
    assert found.a_day == pytest.approx(86_400)
    assert found.expected() == pytest.approx(604_800)


def test_a_stream_without_an_age_is_looked_at_in_a_year() -> None:
    found = Growth.of({}, state(100_000, 10))
    assert found.expected() == 100_000 + 3_650_000
    assert found.start_later() > room.SLOW_START > found.start_now()


@pytest.mark.parametrize("limit", [{"max_msgs": 200_000}, {"max_bytes": 200_000 * 570}], ids=str)
def test_a_limit_ends_the_growth(limit: dict[str, int]) -> None:
    assert Growth.of(limit, state(100_000, 10)).expected() == 200_000


def test_of_an_empty_or_a_new_stream_no_rate_is_told() -> None:
    for given in ({"messages": 0, "first_ts": datetime(1, 1, 1, tzinfo=UTC)}, state(5, 0.0001), {}):
        found = Growth.of({}, given)
        assert found.a_day is None
        assert found.expected() == found.messages


def test_days_without_messages_count_too() -> None:
    """A burst of a day, and nothing since: with the server's time it is known that nothing came."""
    earlier = state(1_000, 1)
    assert Growth.of({}, earlier, now=NOW + timedelta(days=9)).a_day == pytest.approx(100)


def test_several_subjects_or_sources_are_several_sites() -> None:
    assert not shared_by_several({"subjects": ["edge.replay.*.*"]})
    assert shared_by_several({"subjects": ["edge.replay.a.>", "edge.replay.b.>"]})
    assert shared_by_several({"subjects": ["edge.replay.a.>"], "sources": [{"name": "x"}]})
