"""`syncdaemon drain`: delivers what is in the replay directory now, and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from syncdaemon.base.errors import ConnectTimeout, SettingsError
from syncdaemon.base.tasks import background, finish
from syncdaemon.daemon import FINISH_SECONDS, Daemon
from syncdaemon.spool.spool import Spool

_LOOK_SECONDS = 0.01  # between two looks at whether files are left

Progress = Callable[[Daemon], None]


async def deliver_all(
    daemon: Daemon, within: float | None, progress: Progress | None = None, stop: asyncio.Event | None = None
) -> None:
    """Delivers what is in the directory now, and returns; sooner where `stop` is set.

    `progress` is called many times a second. Raises ConnectTimeout where there was no connection in `within` seconds,
    TimeoutError where files are left by then, or by `stop`; SettingsError or LedgerDamaged where it can't begin.
    """
    stop = stop or asyncio.Event()
    async with daemon.opened():
        await _scan(daemon.spool)
        async with background(*daemon.upkeep()) as failed:
            work = asyncio.create_task(daemon.delivery.run(stop))
            drained = asyncio.create_task(_drained(daemon, progress))
            await asyncio.wait((work, drained, failed), timeout=within, return_when=asyncio.FIRST_COMPLETED)
            in_time = drained.done()
            drained.cancel()
            stop.set()
            await finish(work, stop, failed, FINISH_SECONDS)
            if not in_time:
                raise _late(daemon)
            drained.result()


async def _drained(daemon: Daemon, progress: Progress | None) -> None:
    """Returns when no file is left. Files that came after the last scan are not waited for."""
    spool = daemon.spool
    while True:
        if progress is not None:
            progress(daemon)
        if spool.problem:
            raise SettingsError(spool.problem)
        if spool.wants_scan:
            await _scan(spool)
        elif spool.idle and not _held_unseen(daemon):
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _held_unseen(daemon: Daemon) -> bool:
    """Whether held files may have to be sent again, as far as is known now."""
    hold = daemon.spool.hold
    return bool(hold.count) and daemon.link.proved() and not daemon.lane.trusted


async def _scan(spool: Spool) -> None:
    try:
        await spool.scan()
    except OSError as error:
        raise SettingsError(f"SYNC_REPLAY_DIR can't be read: {error}") from None


def _late(daemon: Daemon) -> Exception:
    """Why files are left."""
    if daemon.link.connects:
        why = daemon.lane.paused or daemon.objects.paused or daemon.ledger.problem or "stopped, or out of time"
        spool = daemon.spool
        settling = f", {spool.settling.files} of them not complete yet" if spool.settling.files else ""
        return TimeoutError(f"{spool.depth} files left{settling}; {why}")
    return ConnectTimeout(f"NATS_URL: no connection: {daemon.link.problem}")
