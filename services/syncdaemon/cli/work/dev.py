"""`syncdaemon dev`: a site on a developer's machine, until it is stopped."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from syncdaemon.base.outlet import Outlet, plain_notice
from syncdaemon.base.printable import printable_lines
from syncdaemon.daemon.process import Signals
from syncdaemon.dev.site import Dev
from syncdaemon.settings.values import Loaded

_END_SECONDS = 1.0


def dev(loaded: Loaded, folder: Path) -> None:
    """Runs server and daemon until SIGTERM, Ctrl-C or the end of the terminal.

    Raises SettingsError where there is no nats-server, or the folder can't be written.
    """
    signals = Signals(hangup_ends=True)
    outlet = Outlet(sys.stdout.fileno(), plain_notice)  # a reader of it that stands still must not stop the delivery

    def say(text: str) -> None:
        outlet.add(f"{printable_lines(text)}\n", sys.stdout.encoding)

    async def live() -> None:
        stop = asyncio.Event()
        signals.install(stop)
        await Dev(folder, loaded, say).run(stop)

    try:
        asyncio.run(live())
    finally:
        outlet.flush(_END_SECONDS)
    signals.die()
