"""The beginning of every larger command: the settings as values, and the log."""

from __future__ import annotations

from syncdaemon.cli.work import log
from syncdaemon.settings.given import Given
from syncdaemon.settings.values import Loaded, Settings


def begin(given: Given) -> Loaded:
    """The settings as the parts of the daemon take them. The log is set up as they say."""
    loaded = Settings.of(given)
    log.configure(loaded.settings)
    return loaded
