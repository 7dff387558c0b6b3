"""`syncdaemon run`: the daemon, until it is stopped."""

from __future__ import annotations

import asyncio
import os

import structlog

from syncdaemon.base.tasks import cancel
from syncdaemon.daemon import Daemon
from syncdaemon.daemon.process import Signals
from syncdaemon.daemon.supervisor import Supervisor
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
        await _told(Daemon(loaded.settings), stop)

    asyncio.run(live())
    signals.die()


async def _told(daemon: Daemon, stop: asyncio.Event) -> None:
    """Runs the daemon, and tells systemd about it where the process is a unit's."""
    supervisor = Supervisor.of(os.environ, os.getpid())
    if supervisor is None:
        await daemon.run(stop)
        return
    ready = asyncio.Event()
    telling = asyncio.create_task(supervisor.run(ready, stop))
    try:
        await daemon.run(stop, started=lambda _port: ready.set())
    finally:
        await cancel([telling])
