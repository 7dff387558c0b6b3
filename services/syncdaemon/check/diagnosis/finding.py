"""One line of a diagnosis."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["ok", "warning", "failure"]


class Finding(NamedTuple):
    """What a check found. A warning and a failure come with what to do.

    A failure is a promise that does not hold, or delivery that can't work; a warning is what weakens a promise, or
    will.
    """

    check: str
    level: Level
    said: str
    remedy: str = ""


def ok(check: str, said: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", said)


def warning(check: str, said: str, remedy: str) -> Finding:
    """It works, and could be better."""
    return Finding(check, "warning", said, remedy)


def failure(check: str, said: str, remedy: str) -> Finding:
    """It does not work, or does not hold what is promised."""
    return Finding(check, "failure", said, remedy)
