"""The commands that deliver, and the one that receives: run, dev, drain and receive."""

from __future__ import annotations

import asyncio
import time
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

from syncdaemon.cli.options import FOUND, with_settings
from syncdaemon.daemon import Daemon
from syncdaemon.daemon.drain import deliver_all
from syncdaemon.daemon.process import install_signals
from syncdaemon.dev.site import Dev
from syncdaemon.receive import Receiver, ReceiveSettings
from syncdaemon.settings import Loaded

log = structlog.get_logger(__name__)

_COLUMNS = (
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn("files"),
    TextColumn("{task.fields[size]}, {task.fields[rate]}/s"),
    TimeRemainingColumn(),
)


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
            tally, spool = daemon.tally, daemon.spool
            done, size = tally.delivered + tally.refused, tally.delivered_bytes
            if (upload := daemon.objects.progress) is not None:
                size += upload.stored
            rate = decimal(int(size / max(0.1, time.monotonic() - began)))
            bar.update(files, completed=done, total=done + spool.depth, size=decimal(size), rate=rate)

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
    return FOUND if tally.refused else 0


@with_settings
def receive(
    loaded: Loaded,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go: DIR/<site>/<path>.")],
    consumer: Annotated[str, typer.Option(help="Durable consumer of SYNC_STREAM; made if missing.")] = "worker-staging",
    subject: Annotated[str, typer.Option("--filter", help="Only these subjects; default: the whole stream.")] = "",
    batch: Annotated[int, typer.Option(help="Messages that are held at the same time.", min=1, max=100_000)] = 512,
) -> int:
    """Receive, until SIGTERM: the other end. Any number may run at once, on one DIR or several."""

    async def live() -> None:
        stop = asyncio.Event()
        install_signals(stop)
        loaded.settings.check_files()
        await Receiver(loaded.settings, ReceiveSettings(folder, consumer, subject, batch)).run(stop)

    asyncio.run(live())
    return 0
