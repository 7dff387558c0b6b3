"""`syncdaemon ledger ship`, `prune` and `fetch`: by hand what the daemon does by itself, and days brought back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from syncdaemon.base.errors import LanePaused, LinkDown, SettingsError, SyncError
from syncdaemon.base.printable import printable
from syncdaemon.check.fetched_days import fetch_missing
from syncdaemon.cli import interrupt
from syncdaemon.cli.say import say
from syncdaemon.daemon.ledger_days import day_store
from syncdaemon.daemon.ledger_life import LedgerLife, LifeSettings
from syncdaemon.ledger import Ledger
from syncdaemon.link import visit
from syncdaemon.settings import parts
from syncdaemon.settings.values import Loaded, Settings


def ship(loaded: Loaded) -> int:
    """Ships all closed days; 1 where one could not be. Raises SettingsError, ConnectTimeout."""
    interrupt.clean_up()
    return asyncio.run(_with_ledger(loaded.settings, ships=True))


def prune(loaded: Loaded) -> int:
    """Takes away the days that may go; 1 where one that is due may not. Raises SettingsError."""
    if not loaded.settings.sync_ledger_keep_days:
        raise SettingsError("SYNC_LEDGER_KEEP_DAYS: it is 0, so all days stay; say how many are to be kept")
    interrupt.clean_up()
    return asyncio.run(_with_ledger(loaded.settings, ships=False))


async def _with_ledger(settings: Settings, *, ships: bool) -> int:
    ledger = Ledger(
        settings.sync_ledger_dir,
        settings.site,
        settings.sync_min_free_bytes,
        with_tree=settings.sync_checkpoint_key is not None,
    )
    try:
        ledger.open()
        life = LedgerLife.of(ledger, settings)
        await life.compress()
        if ships:
            async with visit(parts.link(settings)) as session:
                done = await life.ship(day_store(session, LifeSettings.of(settings)))
            say(f"{settings.site}: {done} days were shipped to {settings.sync_ledger_stream}")
        else:
            say(f"{settings.site}: {await life.prune()} days were taken away")
    except (LanePaused, LinkDown, PermissionError, OSError) as error:
        raise SyncError(printable(str(error))) from None
    finally:
        await ledger.close()
    if life.problem:
        say(f"syncdaemon: {life.problem}", err=True)
    return bool(life.problem)


def fetch(loaded: Loaded, target: Path) -> int:
    """Fetches the days that were taken away. Raises SettingsError, ConnectTimeout, SyncError."""
    interrupt.clean_up()
    settings = loaded.settings
    if target.resolve() == settings.sync_ledger_dir.resolve():
        raise SettingsError(f"DIR: {target} is the ledger itself; name another folder")
    return asyncio.run(_fetch(settings, target))


async def _fetch(settings: Settings, target: Path) -> int:
    count = 0
    try:
        async with visit(parts.link(settings)) as session:
            store = day_store(session, LifeSettings.of(settings))
            async for path in fetch_missing(store, settings.sync_ledger_dir, settings.site, target):
                say(printable(str(path)))
                count += 1
    except (LanePaused, LinkDown, PermissionError, OSError) as error:
        raise SyncError(printable(str(error))) from None
    say(f"{settings.site}: {count} days were fetched; `verify` reads them together with those that are here")
    return 0
