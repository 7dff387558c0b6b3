"""A wall clock that tests set, for the processes that run by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import needs

READ_AGAIN = 1.0  # seconds until a clock that was set counts for a process that runs by it already


class Clock:
    """The wall clock of the processes that run by it. Its monotonic clock and the file system's are the machine's."""

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "clock"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": needs.libfaketime(),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_CACHE_DURATION": f"{READ_AGAIN:g}",
            "FAKETIME_DISABLE_SHM": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        # Each look at the clock reads a file: a daemon with work for its threads hardly comes forward.
        self.prompt_environment = self.environment | {"FAKETIME_NO_CACHE": "1"}

    def set(self, seconds: float) -> None:
        """So far ahead of the machine's, or behind it where less than nought."""
        new = self._offset.with_suffix(".new")
        new.write_text(f"{seconds:+.3f}")
        new.rename(self._offset)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """Right at first."""
    return Clock(tmp_path)
