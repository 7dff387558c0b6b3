"""The commands. Each is a few lines: settings in, one part called, an exit code out.

Exit codes: 0 done, 1 it found something, 2 wrong usage or settings, 3 could not connect in time.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from dotenv import dotenv_values
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from syncdaemon import __version__
from syncdaemon.daemon import Daemon, install_signals
from syncdaemon.dev import Dev
from syncdaemon.errors import ConnectTimeout, LedgerDamaged, SettingsError, SyncError
from syncdaemon.ledger import sites
from syncdaemon.put import put as put_file
from syncdaemon.settings import Loaded, Settings
from syncdaemon.verify import audit

FOUND, WRONG, NO_CONNECTION = 1, 2, 3

log = structlog.get_logger(__name__)

app = typer.Typer(
    name="syncdaemon",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Delivers every file that is dropped into a directory to NATS JetStream, exactly once, with receipts. "
    "Settings are environment variables, a .env file, or the flags of each command; `syncdaemon config` shows them.",
)


def main() -> None:
    """The `syncdaemon` program."""
    app()


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
            _configure_log(loaded.settings)
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


def _configure_log(settings: Settings) -> None:
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


def _version(value: bool) -> None:
    if value:
        typer.echo(f"syncdaemon {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    pass


@app.command()
@with_settings
def run(loaded: Loaded) -> int:
    """Deliver, until SIGTERM. The daemon itself."""

    async def live() -> None:
        stop = asyncio.Event()
        install_signals(stop)
        loaded.settings.check_files()
        if loaded.sources["SITE"] == "default":
            log.warning("site_by_hostname", site=loaded.settings.site, remedy="set SITE: a pod's hostname changes")
        await Daemon(loaded.settings).run(stop)

    asyncio.run(live())
    return 0


@app.command()
@with_settings
def dev(
    loaded: Loaded,
    folder: Annotated[Path, typer.Option(help="Where everything is kept.")] = Path(".dev"),
) -> int:
    """Try it here: a real nats-server, a replay folder and the daemon, all of this machine."""

    async def live() -> None:
        stop = asyncio.Event()
        install_signals(stop)
        await Dev(folder, loaded, typer.echo).run(stop)

    asyncio.run(live())
    return 0


@app.command()
@with_settings
def drain(
    loaded: Loaded,
    timeout: Annotated[float | None, typer.Option(help="Give up after so many seconds.", min=0.0)] = None,
) -> int:
    """Deliver what is in the directory now, and end. Exit 1 if a file was refused or time ran out."""
    columns = (BarColumn(), MofNCompleteColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(TextColumn("{task.description}"), *columns, console=console, disable=not console.is_terminal) as bar:
        files = bar.add_task("files", total=None)

        def progress(daemon: Daemon) -> None:
            done = daemon.delivered + daemon.refused
            bar.update(files, completed=done, total=done + daemon.spool.backlog.depth)

        loaded.settings.check_files()
        daemon = Daemon(loaded.settings)
        began = time.monotonic()
        asyncio.run(daemon.drain(timeout, progress))
    seconds = time.monotonic() - began
    typer.echo(f"{daemon.delivered} files delivered ({daemon.delivered_bytes} bytes) in {seconds:.1f} s", err=True)
    if daemon.refused:
        typer.echo(f"syncdaemon: {daemon.refused} files refused; see syncdaemon quarantine", err=True)
    return FOUND if daemon.refused else 0


@app.command()
@with_settings
def status(
    loaded: Loaded,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> int:
    """Ask the running daemon how it is."""
    host = loaded.settings.http_host
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}.get(host, host)
    url = f"http://{host}:{loaded.settings.http_port}/status"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            found = json.load(answer)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise ConnectTimeout(
            f"SYNC_HTTP_ADDR: no daemon answers at {url} ({getattr(error, 'reason', error)})"
        ) from None
    if as_json:
        typer.echo(json.dumps(found, indent=2, sort_keys=True))
        return 0
    table = Table(show_header=False, box=None)
    for name, value in found.items():
        shown = "  ".join(f"{k}={v}" for k, v in value.items() if v != "") if isinstance(value, dict) else value
        table.add_row(name.replace("_", " "), Text(str(shown if shown is not None else "none yet")))
    Console().print(table)
    return 0


@app.command()
@with_settings
def verify(
    loaded: Loaded,
    allow_missing_start: Annotated[
        bool, typer.Option(help="Older files were moved away: begin with what is here.")
    ] = False,
) -> int:
    """Check the ledger from its first row to its last: chain, row numbers, form. Exit 1 at the first damage."""
    folder = loaded.settings.sync_ledger_dir
    wanted = [loaded.settings.site] if loaded.sources["SITE"] != "default" else sites(folder)
    if not any(site in sites(folder) for site in wanted):
        raise SettingsError(f"SYNC_LEDGER_DIR: there is no ledger in {folder}")
    for site in wanted:
        began = time.perf_counter()
        found = audit(folder, site, allow_missing_start)
        rate = found.rows / max(1e-9, time.perf_counter() - began)
        events = ", ".join(f"{count} {event}" for event, count in sorted(found.events.items()))
        typer.echo(f"{site}: ok, {found.rows} rows in {found.files} files ({events})")
        typer.echo(f"  from {found.first} to {found.last}, last row {found.digest}, {rate:.0f} rows/s")
        if found.note:
            typer.echo(f"  note: {found.note}")
    return 0


@app.command()
@with_settings
def put(
    loaded: Loaded,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="What to deliver.", exists=True, dir_okay=False)
    ],
) -> int:
    """Copy files into the replay directory the right way: nobody ever sees half of one."""
    for file in files:
        typer.echo(put_file(file, loaded.settings.sync_replay_dir))
    return 0


@app.command()
@with_settings
def config(
    loaded: Loaded,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> int:
    """Show every setting, its value and where that comes from."""
    shown = loaded.settings.shown(loaded)
    if as_json:
        rows = {variable: {"value": value, "source": source} for variable, value, source, _ in shown}
        typer.echo(json.dumps(rows, indent=2))
        return 0
    table = Table("setting", "value", "from", "meaning", box=None)
    for row in shown:
        table.add_row(*map(Text, row))
    Console().print(table)
    return 0


__all__ = ["LedgerDamaged", "app", "main"]
