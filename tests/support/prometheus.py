"""What tests of Prometheus share: its binaries, and rules whose times are shorter."""

from __future__ import annotations

import re

from scripts.prometheus import find_binary
from syncdaemon.base.errors import SettingsError
from tests.support import needs

_MILLISECONDS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def need(name: str) -> str:
    """The path of `prometheus` or `promtool`. Without it the test is skipped, or fails where CI is set."""
    try:
        return str(find_binary(name))
    except SettingsError as error:
        needs.missing(str(error))


def quicker(rules: str, factor: int) -> str:
    """A rule file in which every time, of waits, windows and intervals alike, is shorter by this factor."""
    return re.sub(r"\b(\d+)([smhd])\b", lambda it: f"{int(it[1]) * _MILLISECONDS[it[2]] // factor}ms", rules)
