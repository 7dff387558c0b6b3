"""What all commands share: a flag for every setting, an exit code for every error, and help in plain text.

Exit codes: 0 done, 1 it found something, 2 wrong usage or settings, 3 could not connect in time.

A command is declared with what the standard library and typer have. What it works with is imported when it runs, in
its own function: so help, completion and the commands that only look start in a fraction of a daemon's time.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from syncdaemon.base.errors import ConnectTimeout, SettingsError, SyncError
from syncdaemon.base.printable import printable
from syncdaemon.cli.interrupt import INTERRUPTED
from syncdaemon.cli.say import say
from syncdaemon.settings.given import Given, gather
from syncdaemon.settings.table import SETTINGS, Setting

FOUND, WRONG, NO_CONNECTION = 1, 2, 3
_DOTENV = ".env"  # read where no file is named, if it is there
_ANY_LENGTH = 1_000
_GIVEN = "syncdaemon.given"  # where a command's context keeps the settings that are given as flags

_FLAGS = {setting.field for setting in SETTINGS}
_TEXTS = {  # parameters that are the text given
    *_FLAGS,
    *("env_file", "files", "name", "names", "reason", "bucket", "older", "seconds", "bandwidth"),
    *("file", "target", "output", "path", "proof", "pin", "vkey", "policy"),
}


def _process(convert: Callable[[Any, Any], Any], parameter: Any, ctx: Any, value: Any) -> Any:
    absent = value is None and not parameter.required
    given_as_text = bool(value) and parameter.name in _TEXTS
    return value if absent or given_as_text else convert(ctx, value)


def _spare(parameters: list[Any]) -> list[Any]:
    """The same parameters. A value is converted only where there is one that is more than a text.

    Typer 0.29 converts every value with pydantic, even None. The import of pydantic would double the time of a command
    that only looks.
    """
    for parameter in parameters:
        convert = parameter.process_value
        if not isinstance(convert, functools.partial):
            parameter.process_value = functools.partial(_process, convert, parameter)
    return parameters


class _HelpOnStdout:
    """Without arguments, help goes to standard output, so that a pager sees it; the exit code is 2 all the same."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """As in typer, but for help that is shown because nothing was given."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:  # type: ignore[attr-defined]
            typer.echo(ctx.get_help())
            ctx.exit(WRONG)
        return super().parse_args(ctx, args)  # type: ignore[misc]


class _WholeHelp:
    """In the list of commands each has its whole sentence, which wraps. Click cuts it at the edge of the terminal."""

    def get_short_help_str(self, _limit: int = 0) -> str:
        """As in click, with room for any sentence."""
        return str(super().get_short_help_str(_ANY_LENGTH))  # type: ignore[misc]


class Group(_HelpOnStdout, _WholeHelp, TyperGroup):
    """A group of commands that starts quickly."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its options."""
        return _spare(super().get_params(ctx))


class Command(_HelpOnStdout, _WholeHelp, TyperCommand):
    """A command that starts quickly, and whose help shows the settings apart from its own options."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its arguments, its options, and a flag for each setting."""
        *own, for_help = super().get_params(ctx)
        return _spare([*own, *(_setting_flags() if self._has_settings() else ()), for_help])

    def invoke(self, ctx: Any) -> Any:
        """As in typer. The settings that are given as flags come to the command by its context, not as parameters."""
        if self._has_settings():
            ctx.meta[_GIVEN] = {name: ctx.params.pop(name) for name in _FLAGS}
        return super().invoke(ctx)

    def _has_settings(self) -> bool:
        return any(parameter.name == _ENV_FILE.name for parameter in self.params)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes every parameter into the section where it belongs."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], "Settings": []}
        for parameter in self.get_params(ctx):
            kind = "Settings" if parameter.name in _FLAGS else f"{parameter.param_type_name.capitalize()}s"
            if record := parameter.get_help_record(ctx):
                sections[kind].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class EnvFile(str):
    """The file that `--env-file` before the command names, as `syncdaemon` hands it on to the command."""


EnvFileOption = Annotated[
    str | None,
    typer.Option("--env-file", help="File with settings, a NAME=value a line; default: .env", metavar="FILE"),
]
_CONTEXT = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
_ENV_FILE = inspect.Parameter("env_file", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=EnvFileOption)


def with_settings(command: Callable[..., int | None]) -> Callable[..., None]:
    """Gives a command a flag for every setting, what the user gave as `given`, and its errors an exit code."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "given"]

    @functools.wraps(command)
    def wrapped(ctx: typer.Context, env_file: str | None, **values: Any) -> None:
        flags = {setting.variable: ctx.meta[_GIVEN][setting.field] for setting in SETTINGS}
        named = env_file if env_file is not None else ctx.find_object(EnvFile)
        code: int | None
        try:
            read = functools.partial(_gather, flags, named)
            code = command(given=dataclasses.replace(read(), again=read), **values)
        except (SyncError, TimeoutError) as error:
            say(f"syncdaemon: {error}", err=True)
            code = _code(error)
        except KeyboardInterrupt:
            code = INTERRUPTED
        raise typer.Exit(code or 0)

    parameters = [*own, _CONTEXT, _ENV_FILE]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def _gather(flags: dict[str, str | None], named: str | None) -> Given:
    """Raises SettingsError."""
    return gather(flags, os.environ, _read(named), named or _DOTENV)


def without_settings(command: Callable[..., int]) -> Callable[..., None]:
    """Gives the errors of a command an exit code. It takes no settings, and a wrong one is no hindrance."""

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        try:
            code = command(**values)
        except SyncError as error:
            say(f"syncdaemon: {error}", err=True)
            code = _code(error)
        except KeyboardInterrupt:
            code = INTERRUPTED
        raise typer.Exit(code)

    parameters = list(inspect.signature(command, eval_str=True).parameters.values())
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


@functools.cache
def _setting_flags() -> list[Any]:
    """A flag for each setting, as typer declares it.

    They are the same in every command. To declare them for each would take most of the time in which a command starts.
    """

    def settings(**_: Any) -> None: ...

    settings.__signature__ = inspect.Signature([*map(_flag, SETTINGS)])  # type: ignore[attr-defined]
    settings.__annotations__ = {}
    app = typer.Typer(add_completion=False)
    app.command()(settings)
    return typer.main.get_command(app).params


def _flag(setting: Setting) -> inspect.Parameter:
    option = typer.Option(f"--{setting.field.replace('_', '-')}", help=setting.about, metavar="VALUE")
    return inspect.Parameter(
        setting.field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


def _read(named: str | None) -> dict[str, str]:
    """What stands in the file of `--env-file`, by default in the `.env` of the working directory, which may be missing.

    Raises SettingsError where it can't be read.
    """
    if named is None and not os.path.exists(_DOTENV):
        return {}
    from dotenv import dotenv_values

    path = _DOTENV if named is None else named
    try:
        with open(path, encoding="utf-8") as file:
            found = dotenv_values(stream=file, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SettingsError(f"{printable(path)} can't be read: {reason}") from None
    return {name: os.fsdecode(value.encode()) for name, value in found.items() if value is not None}  # as in os.environ


def _code(error: Exception) -> int:
    if isinstance(error, SettingsError):
        return WRONG
    return NO_CONNECTION if isinstance(error, ConnectTimeout) else FOUND
