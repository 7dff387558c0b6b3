"""`syncdaemon drain`: what is in the directory now, with a bar on a terminal."""

from __future__ import annotations

import asyncio
import time

from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from syncdaemon.base.errors import ConnectTimeout
from syncdaemon.cli.say import say
from syncdaemon.cli.work.bar import bar
from syncdaemon.daemon import Daemon
from syncdaemon.daemon.drain import Progress, deliver_all
from syncdaemon.daemon.process import Signals
from syncdaemon.settings.values import Loaded

_COLUMNS = (
    BarColumn(None),
    MofNCompleteColumn(),
    TextColumn("files"),
    TextColumn("{task.fields[size]}, {task.fields[rate]}/s"),
    TimeRemainingColumn(),
    TextColumn("{task.fields[settling]}"),
)


def drain(loaded: Loaded, timeout: float | None) -> int:
    """How many files were refused.

    Raises SyncError or TimeoutError where something is left after `timeout` seconds, KeyboardInterrupt after Ctrl-C.
    """
    began = time.monotonic()
    loaded.settings.check_files()
    daemon = Daemon(loaded.settings)
    signals = Signals(hangup_ends=True)

    async def live() -> None:
        stop = asyncio.Event()
        signals.install(stop)
        with bar(*_COLUMNS) as shown:
            files = shown.add_task("", total=None, size=decimal(0), rate=decimal(0), settling="")
            await deliver_all(daemon, timeout, _progress(shown, files, began), stop)

    try:
        asyncio.run(live())
    except (ConnectTimeout, TimeoutError) as error:
        if not signals.interrupted:
            raise
        say(f"syncdaemon: {error}", err=True)
        raise KeyboardInterrupt from None
    finally:
        signals.die()
    tally, seconds = daemon.tally, time.monotonic() - began
    say(f"{tally.delivered} files delivered ({tally.delivered_bytes} bytes) in {seconds:.1f} s", err=True)
    if tally.refused:
        say(f"syncdaemon: {tally.refused} files refused: `syncdaemon quarantine list` tells why", err=True)
    return tally.refused


def _progress(shown: Bar, files: TaskID, began: float) -> Progress:
    """What the bar shows, many times a second."""

    def progress(daemon: Daemon) -> None:
        tally, spool = daemon.tally, daemon.spool
        done, size = tally.delivered + tally.refused, tally.delivered_bytes
        if (upload := daemon.objects.progress) is not None:
            size += upload.stored
        rate = decimal(int(size / max(0.1, time.monotonic() - began)))
        settling = f"{spool.queue.waiting} not complete yet" if spool.queue.waiting else ""
        total = done + spool.depth
        shown.update(files, completed=done, total=total, size=decimal(size), rate=rate, settling=settling)

    return progress
