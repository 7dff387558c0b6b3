"""`syncdaemon drain`: what is in the directory now, with a bar on a terminal."""

from __future__ import annotations

import asyncio
import time

from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from syncdaemon.base.errors import ConnectTimeout
from syncdaemon.cli.say import say
from syncdaemon.cli.work.bar import bar
from syncdaemon.daemon import Daemon
from syncdaemon.daemon.drain import deliver_all
from syncdaemon.daemon.process import Signals
from syncdaemon.settings.values import Loaded

_SHOWN_SECONDS = 0.1  # between two pictures of the bar
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
            picture = _Picture(shown, began)
            try:
                await deliver_all(daemon, timeout, None if shown.disable else picture.look, stop)
            finally:
                picture.finish(daemon)

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


class _Picture:
    """What the bar shows, ten times a second and once more at the end."""

    def __init__(self, shown: Bar, began: float) -> None:
        self._shown, self._began, self._due = shown, began, began
        self._files = shown.add_task("", total=None, size=decimal(0), rate=decimal(0), settling="")
        self._looked = False

    def look(self, daemon: Daemon) -> None:
        """Draws it, but not sooner than a moment after the last time."""
        self._looked = True
        if (now := time.monotonic()) >= self._due:
            self._due = now + _SHOWN_SECONDS
            self._draw(daemon, now)

    def finish(self, daemon: Daemon) -> None:
        """Draws how it ended. A drain that could not begin shows no numbers."""
        if self._looked:
            self._draw(daemon, time.monotonic())

    def _draw(self, daemon: Daemon, now: float) -> None:
        tally, spool = daemon.tally, daemon.spool
        done, size = tally.delivered + tally.refused, tally.delivered_bytes
        if (upload := daemon.objects.progress) is not None:
            size += upload.stored
        rate = decimal(int(size / max(0.1, now - self._began)))
        settling = f"{spool.queue.waiting} not complete yet" if spool.queue.waiting else ""
        total = done + spool.depth
        self._shown.update(self._files, completed=done, total=total, size=decimal(size), rate=rate, settling=settling)
