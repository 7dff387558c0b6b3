"""How much is kept: for how long, or how many bytes, and never a number that could be either."""

from __future__ import annotations

import pytest

from syncdaemon.base.keep import Keep, duration, duration_text, keep, keep_text
from syncdaemon.base.units import Wrong


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30d", Keep(seconds=30 * 86_400)),
        ("12h", Keep(seconds=43_200)),
        ("5m", Keep(seconds=300)),
        ("45s", Keep(seconds=45)),
        ("1.5h", Keep(seconds=5_400)),
        ("50Gi", Keep(size=50 << 30)),
        ("5M", Keep(size=5_000_000)),
        ("1k", Keep(size=1_000)),
    ],
)
def test_a_time_and_a_size_are_told_by_their_unit(text: str, value: Keep) -> None:
    assert keep(text) == value
    assert keep(keep_text(value)) == value


@pytest.mark.parametrize(
    "text", ["", "30", "0", "1.5", "d", "Gi", "30 d", "30D", "30days", "50GiB", "-1d", "0d", "0Gi"]
)
def test_what_is_neither_is_wrong(text: str) -> None:
    """A bare number above all: it could be meant as seconds, and taken as bytes."""
    with pytest.raises(Wrong):
        keep(text)


@pytest.mark.parametrize(
    ("text", "value"), [("off", 0.0), ("OFF", 0.0), ("7d", 604_800.0), ("90", 90.0), ("0.5s", 0.5)]
)
def test_a_duration(text: str, value: float) -> None:
    assert duration(text) == value
    assert duration(duration_text(value)) == value


@pytest.mark.parametrize("text", ["", "d", "never", "-7d", "1..2d", "nan", "99999999999d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(Wrong):
        duration(text)
