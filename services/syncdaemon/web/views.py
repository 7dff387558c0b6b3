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


def brief_of(check: Check) -> str:
    """What a check says to those who may not see its details."""
    return check.brief or ("well" if check.ok else "not well")


_NAMES_FILES = frozenset(
    {"last_receipt", "upload", "hashing", "oldest_settling_file", "replay_dir", "ledger_dir", "paused"}
)


def without_files(views: Views) -> Views:
    """The same for those who are not to learn which files there are: words that may name one are left out."""

    def checks() -> dict[str, Check]:
        return {name: check._replace(detail=brief_of(check)) for name, check in views.checks().items()}

    def status() -> dict[str, Any]:
        return {name: value for name, value in views.status().items() if name not in _NAMES_FILES}

    return views._replace(checks=checks, status=status)
