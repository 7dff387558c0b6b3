"""How full a stream is, from what the server tells."""

from __future__ import annotations

from math import inf

from syncdaemon.daemon.levels import Level, level_of


def test_a_stream_with_limits() -> None:
    config, state = {"max_msgs": 1_000, "max_bytes": 1 << 30}, {"messages": 7, "bytes": 1 << 20}
    assert level_of(config, state) == Level(7, 1 << 20, 1_000, 1 << 30)


def test_a_stream_without() -> None:
    assert level_of({"max_msgs": -1, "max_bytes": 0}, {}) == Level(0, 0, inf, inf)
    assert level_of({}, {}) == Level(0, 0, inf, inf)
