"""The log of the larger commands: lines for people on a terminal, and JSON anywhere else.

Everything goes to standard error, which never blocks and never raises (`base/outlet.py`): our own lines, those of the
libraries, and tracebacks.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog
from structlog.typing import ExcInfo

from syncdaemon.base.outlet import STDERR
from syncdaemon.base.printable import printable, printable_lines
from syncdaemon.cli.streams import is_plain
from syncdaemon.settings.values import Settings

_LEVELS = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)

_AS_THEY_ARE = (bool, int, float, type(None))

_Event = MutableMapping[str, Any]


def configure(settings: Settings) -> None:
    """Sets up the log as the settings say, for this process."""
    console = settings.sync_log_format == "console" or (settings.sync_log_format is None and sys.stderr.isatty())
    render = _Renderer(console)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.sync_log_level.upper())),
        logger_factory=_Lines,
    )
    logging.basicConfig(handlers=[_Libraries()], level=logging.WARNING, force=True)
    STDERR.notice = render.lost


class _Renderer:
    """Makes a line of an event. A value that can't be shown costs its line, and never a delivery."""

    def __init__(self, console: bool) -> None:
        self._render: Any = (
            structlog.dev.ConsoleRenderer(colors=not is_plain(sys.stderr), exception_formatter=_traceback)
            if console
            else structlog.processors.JSONRenderer()
        )
        self._exceptions: Any = None if console else structlog.processors.format_exc_info

    def __call__(self, logger: Any, name: str, event: _Event) -> str:
        try:
            event = _printable(event) if self._exceptions is None else self._exceptions(logger, name, event)
            return str(self._render(logger, name, event))
        except Exception as error:
            shown = {key: event[key] for key in ("event", "level", "timestamp") if isinstance(event.get(key), str)}
            return str(self._render(logger, name, {**shown, "not_shown": type(error).__name__}))

    def lost(self, lines: int) -> str:
        """The line that says how many were lost."""
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        event = {"event": "log_lines_lost", "level": "warning", "timestamp": now, "lines": lines}
        return f"{self(None, 'warning', event)}\n"


def _traceback(out: TextIO, raised: ExcInfo) -> None:
    """Writes a traceback whose every line is printable, whatever the error's text holds."""
    found = io.StringIO()
    structlog.dev.plain_traceback(found, raised)
    out.write(printable_lines(found.getvalue()))


def _printable(event: _Event) -> _Event:
    """For a terminal: no value that it would obey. JSON escapes by itself."""
    return {
        name: value if type(value) in _AS_THEY_ARE or name == "exc_info" else printable(str(value))
        for name, value in event.items()
    }


class _Lines:
    """What structlog calls with a rendered line, whatever its level."""

    def __init__(self, *_names: Any) -> None:
        pass

    def msg(self, line: str) -> None:
        """Writes it to what is standard error now: a progress bar stands in there, and lets the line pass above."""
        sys.stderr.write(f"{line}\n")

    debug = info = warning = error = critical = exception = msg


class _Libraries(logging.Handler):
    """Log records of the libraries, as lines of our log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises."""
        try:
            said = record.getMessage()
        except Exception:
            said = str(record.msg)
        level = next((level for level in _LEVELS if level <= record.levelno), logging.DEBUG)
        structlog.get_logger().log(level, said, logger=record.name, exc_info=record.exc_info or None)
