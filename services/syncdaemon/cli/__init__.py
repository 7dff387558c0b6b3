"""The commands. Each is a few lines: settings in, one part called, an exit code out."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from syncdaemon import __version__
from syncdaemon.cli.options import FOUND, with_settings
from syncdaemon.daemon import Daemon, install_signals
from syncdaemon.dev import Dev
from syncdaemon.errors import ConnectTimeout, SettingsError
from syncdaemon.ledger import sites
from syncdaemon.put import put as put_file
from syncdaemon.settings import Loaded
from syncdaemon.verify import audit

log = structlog.get_logger(__name__)

_COLUMNS = (
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn("files"),
    TextColumn("{task.fields[size]}, {task.fields[rate]}/s"),
    TimeRemainingColumn(),
)

app = typer.Typer(
    name="syncdaemon",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Delivers every file that is dropped into a directory to NATS JetStream, exactly once, with receipts. "
    "Settings are environment variables, a .env file, or the flags of each command; `syncdaemon config` shows them.",
)


def main() -> None:
    """The `syncdaemon` program."""
    app()


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
    console, began = Console(stderr=True), time.monotonic()
    with Progress(*_COLUMNS, console=console, disable=not console.is_terminal) as bar:
        files = bar.add_task("", total=None, size=decimal(0), rate=decimal(0))

        def progress(daemon: Daemon) -> None:
            report = daemon.report
            done, size = report.delivered + report.refused, report.delivered_bytes
            rate = decimal(int(size / max(0.1, time.monotonic() - began)))
            bar.update(files, completed=done, total=done + daemon.spool.backlog.depth, size=decimal(size), rate=rate)

        loaded.settings.check_files()

        async def live() -> None:
            stop = asyncio.Event()
            install_signals(stop)
            await daemon.drain(timeout, progress, stop)

        daemon = Daemon(loaded.settings)
        asyncio.run(live())
    seconds = time.monotonic() - began
    typer.echo(
        f"{daemon.report.delivered} files delivered ({daemon.report.delivered_bytes} bytes) in {seconds:.1f} s",
        err=True,
    )
    if daemon.report.refused:
        typer.echo(
            f"syncdaemon: {daemon.report.refused} files refused: see .syncdaemon/quarantine in the replay directory",
            err=True,
        )
    return FOUND if daemon.report.refused else 0


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
