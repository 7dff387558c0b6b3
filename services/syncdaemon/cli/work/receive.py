"""`syncdaemon receive`: the other end, until it is stopped."""

from __future__ import annotations

import asyncio

from syncdaemon.daemon.process import Signals
from syncdaemon.daemon.supervisor import supervised
from syncdaemon.receive import Receiver, ReceiveSettings
from syncdaemon.settings.values import Loaded


def receive(loaded: Loaded, own: ReceiveSettings) -> None:
    """Receives until SIGTERM. Raises SyncError where it can't begin."""

    signals = Signals()

    async def live() -> None:
        stop = asyncio.Event()
        signals.install(stop)
        loaded.settings.check_files()
        await supervised(Receiver(loaded.settings, own).run, stop)

    asyncio.run(live())
    signals.die()
