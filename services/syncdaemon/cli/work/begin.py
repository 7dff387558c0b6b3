"""The beginning of every larger command: the settings as values, and the log."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from syncdaemon.settings.given import Given
from syncdaemon.settings.values import Loaded, Settings


def begin(given: Given) -> Loaded:
    """The settings as the parts of the daemon take them. The log is set up as they say."""
    loaded = Settings.of(given)
    _configure_log(loaded.settings)
    return loaded


def _configure_log(settings: Settings) -> None:
    """Logs to standard error: lines for people on a terminal, and JSON anywhere else."""
    console = settings.sync_log_format == "console" or (settings.sync_log_format is None and sys.stderr.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.sync_log_level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
