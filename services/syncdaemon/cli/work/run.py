"""`syncdaemon run`: the daemon, until it is stopped."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from syncdaemon.cli.work.begin import begin
from syncdaemon.cli.work.log import configure
from syncdaemon.daemon import Daemon
from syncdaemon.daemon.process import Signals
from syncdaemon.daemon.reloading import Rereading
from syncdaemon.daemon.supervisor import supervised
from syncdaemon.settings.given import Given

log = structlog.get_logger(__name__)


def run(given: Given) -> None:
    """Delivers until SIGTERM. Raises SyncError where it can't go on."""
    loaded = begin(given)

    signals = Signals()

    async def live() -> None:
        stop = asyncio.Event()
        daemon = Daemon(loaded.settings, Rereading(given, given.again or partial(_same, given), configure))
        signals.install(stop, daemon.hung_up)
        loaded.settings.check_files()
        if loaded.sources["SITE"] == "default":
            log.warning("site_by_hostname", site=loaded.settings.site, remedy="set SITE: a pod's hostname changes")
        await supervised(daemon.run, stop)

    asyncio.run(live())
    signals.die()


def _same(given: Given) -> Given:
    return given
