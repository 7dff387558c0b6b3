"""`syncdaemon dev`: a site on a developer's machine, until it is stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path

from syncdaemon.cli.say import say_lines
from syncdaemon.daemon.process import install_signals
from syncdaemon.dev.site import Dev
from syncdaemon.settings.values import Loaded


def dev(loaded: Loaded, folder: Path) -> None:
    """Runs server and daemon until SIGTERM. Raises SettingsError where there is no nats-server."""

    async def live() -> None:
        stop = asyncio.Event()
        install_signals(stop)
        await Dev(folder, loaded, say_lines).run(stop)

    asyncio.run(live())
