"""`syncdaemon drain`: what is in the directory now, with a bar on a terminal."""

from __future__ import annotations

import asyncio
import time

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from syncdaemon.daemon import Daemon
from syncdaemon.daemon.drain import deliver_all
from syncdaemon.daemon.process import install_signals
from syncdaemon.settings.values import Loaded

_COLUMNS = (
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn("files"),
    TextColumn("{task.fields[size]}, {task.fields[rate]}/s"),
    TimeRemainingColumn(),
    TextColumn("{task.fields[settling]}"),
)


def drain(loaded: Loaded, timeout: float | None) -> int:
    """How many files were refused. Raises SyncError where something is left after `timeout` seconds."""
    console, began = Console(stderr=True), time.monotonic()
    with Progress(*_COLUMNS, console=console, disable=not console.is_terminal) as bar:
        files = bar.add_task("", total=None, size=decimal(0), rate=decimal(0), settling="")

        def progress(daemon: Daemon) -> None:
            tally, spool = daemon.tally, daemon.spool
            done, size = tally.delivered + tally.refused, tally.delivered_bytes
            if (upload := daemon.objects.progress) is not None:
                size += upload.stored
            rate = decimal(int(size / max(0.1, time.monotonic() - began)))
            settling = f"{spool.queue.settling} not complete yet" if spool.queue.settling else ""
            total = done + spool.depth
            bar.update(files, completed=done, total=total, size=decimal(size), rate=rate, settling=settling)

        loaded.settings.check_files()

        async def live() -> None:
            stop = asyncio.Event()
            install_signals(stop)
            await deliver_all(daemon, timeout, progress, stop)

        daemon = Daemon(loaded.settings)
        asyncio.run(live())
    tally, seconds = daemon.tally, time.monotonic() - began
    typer.echo(f"{tally.delivered} files delivered ({tally.delivered_bytes} bytes) in {seconds:.1f} s", err=True)
    if tally.refused:
        typer.echo(f"syncdaemon: {tally.refused} files refused: `syncdaemon quarantine list` tells why", err=True)
    return tally.refused
