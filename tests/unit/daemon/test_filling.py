"""How soon a stream is full."""

from __future__ import annotations

from math import inf

import pytest

from syncdaemon.daemon.filling import Filling

HOUR = 3600.0


def looked(*looks: tuple[float, float], most: float = 1_000) -> Filling:
    """At these hours, so many messages."""
    filling = Filling()
    for at, messages in looks:
        filling.add(at * HOUR, messages, most, messages * 570, inf)
    return filling


def test_before_the_first_look_nothing_is_known() -> None:
    filling = Filling()
    assert (filling.share, filling.left, filling.soon) == (0.0, inf, False)
    assert filling.words == "not looked at yet"


def test_four_fifths_of_a_limit_are_soon_even_where_nothing_grows() -> None:
    assert not looked((0, 799), (1, 799)).soon
    assert looked((0, 800), (1, 800)).soon
    assert looked((0, 800)).words == "80 % full: 800 of 1,000 messages"


def test_what_fills_within_a_day_is_soon_at_any_share() -> None:
    filling = looked((0, 100), (1, 140))
    assert filling.left == pytest.approx(21.5 * HOUR)
    assert filling.soon
    assert filling.words.endswith("full in 21.5 hours at this rate")
    assert not looked((0, 100), (1, 130)).soon


def test_the_rate_is_that_of_the_last_six_hours() -> None:
    burst = looked((0, 0), (1, 300), *((hour, 300.0) for hour in range(2, 9)))
    assert burst.left == inf


def test_a_full_stream_is_waited_for() -> None:
    filling = looked((0, 1_000))
    assert filling.soon
    assert filling.words.startswith("full: 1,000 of 1,000 messages")
    assert filling.words.endswith("files wait until there is room")


def test_the_nearer_limit_counts() -> None:
    filling = Filling()
    filling.add(0.0, 10, 1_000, 900, 1_000)
    assert filling.share == 0.9
    assert filling.words == "90 % full: 10 of 1,000 messages, 900 bytes of 1000 bytes"


def test_a_stream_without_limits_is_never_full() -> None:
    filling = looked((0, 10**6), (1, 10**7), most=inf)
    assert not filling.soon
    assert filling.words == "10,000,000 messages"
