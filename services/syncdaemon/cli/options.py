"""What all commands share: a flag for every setting, the log, and an exit code for every error.

Exit codes: 0 done, 1 it found something, 2 wrong usage or settings, 3 could not connect in time.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import structlog
import typer
from dotenv import dotenv_values

from syncdaemon.base.errors import ConnectTimeout, SettingsError, SyncError
from syncdaemon.settings import Settings

FOUND, WRONG, NO_CONNECTION = 1, 2, 3


def with_settings(command: Callable[..., int | None]) -> Callable[..., None]:
    """Gives a command a flag for every setting, the loaded settings as `loaded`, and its errors an exit code."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "loaded"]
    flags = [_flag(name, field.description or "") for name, field in Settings.model_fields.items()]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        values = {flag.name.upper(): given.pop(flag.name) for flag in flags}
        flagged = {name: value for name, value in values.items() if value is not None}
        code: int | None
        try:
            loaded = Settings.load(flagged, os.environ, _dotenv())
            configure_log(loaded.settings)
            code = command(loaded=loaded, **given)
        except (SyncError, TimeoutError) as error:
            typer.echo(f"syncdaemon: {error}", err=True)
            code = _code(error)
        except KeyboardInterrupt:
            code = 130
        raise typer.Exit(code or 0)

    parameters = [*own, *flags]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def _flag(name: str, description: str) -> inspect.Parameter:
    option = typer.Option(f"--{name.replace('_', '-')}", help=description, rich_help_panel="Settings", metavar="VALUE")
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


def _dotenv() -> dict[str, str]:
    return {name: value for name, value in dotenv_values(".env", interpolate=False).items() if value is not None}


def _code(error: Exception) -> int:
    if isinstance(error, SettingsError):
        return WRONG
    return NO_CONNECTION if isinstance(error, ConnectTimeout) else FOUND


def configure_log(settings: Settings) -> None:
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
