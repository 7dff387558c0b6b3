"""Words for people, as the live page and `syncdaemon top` show them. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import unquote

from syncdaemon.base.printable import printable
from syncdaemon.base.units import size_in_words

SAFE, WAITING, TROUBLE, UNKNOWN = "safe", "waiting", "trouble", "unknown"
"""Levels of an answer: all is well, it goes on by itself, somebody has to act, nothing can be said yet."""

_LONGEST = 160  # characters of a name that are shown


class PlainAnswer(NamedTuple):
    """Whether the evidence is safe. `word`: yes or no; `text`: the sentence; `why`: what there is to say beside it."""

    level: str
    word: str
    text: str
    why: tuple[str, ...] = ()

    def shown(self) -> dict[str, Any]:
        """As a section of the page."""
        return self._asdict()


def name_of(encoded: str) -> str:
    """A percent-encoded path as text without anything that could change how the rest is shown, in a bearable length."""
    name = printable(unquote(encoded[: 8 * _LONGEST], errors="replace"))
    if len(encoded) <= 8 * _LONGEST and len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST // 2]}…{printable(unquote(encoded[-_LONGEST:], errors='replace'))[-_LONGEST // 2 :]}"


def count(number: int, what: str) -> str:
    """`1 file`, `12,000 files`."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def rate(bytes_a_second: float) -> str:
    """`1.5 MiB/s`."""
    return f"{size_in_words(round(bytes_a_second))}/s"
