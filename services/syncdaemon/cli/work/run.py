"""`syncdaemon run`: the daemon, until it is stopped."""

from __future__ import annotations

import asyncio

import structlog

from syncdaemon.daemon import Daemon
from syncdaemon.daemon.process import Signals
from syncdaemon.settings.values import Loaded

log = structlog.get_logger(__name__)


def run(loaded: Loaded) -> None:
    """Delivers until SIGTERM. Raises SyncError where it can't go on."""

    signals = Signals()

    async def live() -> None:
        stop = asyncio.Event()
        signals.install(stop)
        loaded.settings.check_files()
        if loaded.sources["SITE"] == "default":
            log.warning("site_by_hostname", site=loaded.settings.site, remedy="set SITE: a pod's hostname changes")
        await Daemon(loaded.settings).run(stop)

    asyncio.run(live())
    signals.die()
