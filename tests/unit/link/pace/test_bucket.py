"""The bandwidth limit holds, is used up, and follows a change."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.link.pace import TokenBucket
from syncdaemon.link.pace.bucket import DEPTH_SECONDS


def spend(bucket: TokenBucket, since: float, until: float, size: int, late: float = 0.0) -> int:
    """Sends messages of this size as fast as the bucket lets, each so many seconds late; how many bytes."""
    now, sent = since, 0
    while True:
        wait = bucket.wait(now)
        now += wait + (late if wait else 0.0)
        if now >= until:
            return sent
        bucket.take(now, size)
        sent += size


@given(st.floats(100, 1e9), st.floats(0.001, 0.5), st.floats(0, 0.1), st.floats(0, 1e8))
def test_over_ten_seconds_it_is_within_five_percent(rate: float, share: float, late: float, start: float) -> None:
    """With messages of up to half a second, and whoever sends them up to a tenth late each time."""
    bucket = TokenBucket()
    bucket.limit(start, rate)
    size = max(1, int(rate * share))
    spend(bucket, start, start + 5, size, late)

    sent = spend(bucket, start + 5, start + 15, size, late)

    assert sent <= 10 * rate * 1.05 + size
    assert sent >= 10 * rate * 0.95 - size


def test_a_message_larger_than_a_second_is_waited_for() -> None:
    """It goes at once, and the next when it is paid for."""
    bucket = TokenBucket()
    bucket.limit(0.0, 1_000.0)
    assert bucket.wait(0.0) == 0.0
    bucket.take(0.0, 50_000)
    assert bucket.wait(10.0) == pytest.approx(40.0)
    assert bucket.wait(50.0) == 0.0


def test_what_was_not_used_does_not_add_up() -> None:
    """After an hour it is no more than a moment's worth."""
    bucket = TokenBucket()
    bucket.limit(0.0, 1_000.0)
    assert spend(bucket, 3_600.0, 3_601.0, 1) <= 1_000 * (1 + DEPTH_SECONDS) + 1


def test_a_change_holds_from_its_time_on() -> None:
    """Up, down, and off; what was overdrawn is paid at the new rate, and forgiven without one."""
    bucket = TokenBucket()
    assert bucket.wait(0.0) == 0.0
    bucket.limit(0.0, 1_000.0)
    bucket.take(0.0, 10_000)
    bucket.limit(1.0, 9_000.0)
    assert bucket.wait(1.0) == pytest.approx(1.0)
    bucket.limit(1.5, 450.0)
    assert bucket.wait(1.5) == pytest.approx(10.0)
    bucket.limit(2.0, inf)
    assert bucket.wait(2.0) == 0.0
    bucket.take(2.0, 1 << 40)
    bucket.limit(2.0, 1_000.0)
    assert bucket.wait(2.0) == 0.0
