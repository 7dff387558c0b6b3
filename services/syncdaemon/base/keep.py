"""How much of something is kept: for how long, or how many bytes. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from syncdaemon.base.units import Wrong, max_age_text, seconds, size, size_text

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "": 1}
_DURATION = re.compile(r"([0-9.]{1,12})([smhd]?)")
_LONGEST = 3_153_600_000  # seconds: a hundred years


class Keep(NamedTuple):
    """One of the two: `seconds`, or `size` in bytes. The other is None."""

    seconds: float | None = None
    size: int | None = None


def keep(text: str) -> Keep:
    """`30d` or `50Gi`. A number alone is neither: it could be meant as seconds, or as bytes. Raises Wrong."""
    if not text or text[-1] in "0123456789.":
        raise Wrong("not a time or a size with its unit", "write such as 30d (s, m, h, d) or 50Gi (Ki to Ti, k to T)")
    if _DURATION.fullmatch(text):
        if not (found := duration(text)):
            raise Wrong("not more than nothing", "leave it unset to keep everything")
        return Keep(seconds=found)
    if not (found_size := size(text)):
        raise Wrong("not more than nothing", "leave it unset to keep everything")
    return Keep(size=found_size)


def keep_text(value: Keep) -> str:
    """What `keep` reads as this value."""
    return size_text(value.size or 0) if value.seconds is None else _with_unit(value.seconds)


def duration(text: str) -> float:
    """Seconds, or a number with s, m, h or d, such as `7d`; `off` is 0. Raises Wrong."""
    if text.lower() == "off":
        return 0.0
    number, unit = found.groups() if (found := _DURATION.fullmatch(text)) else ("", "")
    try:
        value = seconds(number) * _SECONDS[unit]
    except Wrong:
        value = -1.0
    if not 0 <= value <= _LONGEST:
        raise Wrong("not a duration", "write off, or a number with s, m, h or d, such as 7d")
    return value


def duration_text(value: float) -> str:
    """What `duration` reads as this value."""
    return _with_unit(value) if value else "off"


def _with_unit(value: float) -> str:
    text = max_age_text(value)
    return text if text[-1] in _SECONDS else f"{text}s"
