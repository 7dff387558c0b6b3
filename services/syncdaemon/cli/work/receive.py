"""`syncdaemon receive`: the other end, until it is stopped."""

from __future__ import annotations

import asyncio

from syncdaemon.daemon.process import install_signals
from syncdaemon.receive import Receiver, ReceiveSettings
from syncdaemon.settings.values import Loaded


def receive(loaded: Loaded, own: ReceiveSettings) -> None:
    """Receives until SIGTERM. Raises SyncError where it can't begin."""

    async def live() -> None:
        stop = asyncio.Event()
        install_signals(stop)
        loaded.settings.check_files()
        await Receiver(loaded.settings, own).run(stop)

    asyncio.run(live())
