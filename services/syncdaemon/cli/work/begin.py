"""The beginning of every larger command: the settings as values, and the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from syncdaemon.base.plain import plain
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
    renderers: list[Any] = [structlog.processors.JSONRenderer()]  # it escapes by itself
    if console:
        renderers = [_plain, structlog.dev.ConsoleRenderer()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.sync_log_level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(handlers=[_Libraries(logging.WARNING)], force=True)


def _plain(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Every value as a terminal may have it. A traceback keeps its lines, each of which is `plain`."""
    return {name: _plain_value(value, in_lines=name == "exception") for name, value in event.items()}


def _plain_value(value: Any, in_lines: bool) -> Any:
    if isinstance(value, bool | int | float | None):
        return value
    return "\n".join(map(plain, str(value).split("\n"))) if in_lines else plain(str(value))


class _Libraries(logging.Handler):
    """Puts what libraries log into our own log, so that it has the same form and nothing in it that is not plain."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line for each record."""
        try:
            log = structlog.get_logger(record.name)
            log.log(record.levelno, "library", logger=record.name, said=record.getMessage(), exc_info=record.exc_info)
        except Exception:
            self.handleError(record)
