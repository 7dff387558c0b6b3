"""What the pages show, as the parts of the program hand it in. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Check(NamedTuple):
    """One check of health: whether it holds, and in words what it found.

    `detail` may name files, addresses and subjects: it is for those who may see `/status`. `brief` is for everybody
    else, so it holds fixed words and counts alone. Where it is empty, they see only whether the check holds.
    """

    ok: bool
    detail: str
    brief: str = ""


class Views(NamedTuple):
    """What the pages show. `ready` names the checks that readiness depends on."""

    metrics: Callable[[], bytes]
    checks: Callable[[], Mapping[str, Check]]
    ready: frozenset[str]
    status: Callable[[], Mapping[str, Any]]
