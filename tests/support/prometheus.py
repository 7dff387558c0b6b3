"""The binaries of Prometheus, for tests that need them."""

from __future__ import annotations

import os

import pytest

from scripts.prometheus import find_binary
from syncdaemon.errors import SettingsError


def need(name: str) -> str:
    """The path of `prometheus` or `promtool`. Without it the test is skipped, or fails where CI is set."""
    try:
        return str(find_binary(name))
    except SettingsError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
