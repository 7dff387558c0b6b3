"""What the daemon, or a worker that receives, tells systemd by the protocol of sd_notify(3).

This is the only module that speaks to systemd. Nothing is told where `NOTIFY_SOCKET` is not set. A message that can't
be sent stops neither start nor delivery.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple

import structlog

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.base.tasks import cancel

READY, ALIVE, STOPPING = b"READY=1", b"WATCHDOG=1", b"STOPPING=1"
_SEND_SECONDS = 5.0  # longer than that, and systemd itself hangs
_BEATS_IN_TIME = 4  # words in the time after which systemd ends a silent process; sd_watchdog_enabled(3) asks for two

Run = Callable[[asyncio.Event, Callable[[int], None]], Coroutine[Any, Any, None]]
"""Lives until the event is set, and calls the other argument, with the port of its web side, when its start is done."""

log = structlog.get_logger(__name__)
_once_a_minute = OnceAMinute()


class Supervisor(NamedTuple):
    """Where systemd listens, and within how many seconds it wants to hear of us again: 0 where it does not."""

    address: str
    watchdog_seconds: float

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> Supervisor | None:
        """As the unit's process finds it in its environment; None where systemd asked for no word."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return None
        return cls(address, _watchdog(environ, pid))

    async def run(self, ready: asyncio.Event, stop: asyncio.Event) -> None:
        """Says that the start is done when `ready` is set, then that the loop turns, and the end when `stop` is set.

        All of it is said from the event loop: a loop that hangs says nothing more, and systemd ends the process.
        """
        async with asyncio.TaskGroup() as group:
            living = group.create_task(self._live(ready))
            await stop.wait()
            living.cancel()
        await self._say(STOPPING)

    async def _live(self, ready: asyncio.Event) -> None:
        await ready.wait()
        await self._say(READY)
        while self.watchdog_seconds:
            await self._say(ALIVE)
            await asyncio.sleep(self.watchdog_seconds / _BEATS_IN_TIME)

    async def _say(self, word: bytes) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.connect(f"\0{self.address[1:]}" if self.address.startswith("@") else self.address)
                async with asyncio.timeout(_SEND_SECONDS):
                    await asyncio.get_running_loop().sock_sendall(sender, word)
        except (OSError, TimeoutError) as error:
            if _once_a_minute.due(time.monotonic()):
                log.warning("systemd_not_told", word=word.decode(), error=str(error) or type(error).__name__)


async def supervised(run: Run, stop: asyncio.Event) -> None:
    """Runs a process that ends with `stop`, and tells systemd about it where the process is a unit's.

    `run` calls its second argument when its start is done. Raises what `run` raises.
    """
    supervisor = Supervisor.of(os.environ, os.getpid())
    ready = asyncio.Event()
    if supervisor is None:
        await run(stop, lambda _port: ready.set())
        return
    telling = asyncio.create_task(supervisor.run(ready, stop))
    try:
        await run(stop, lambda _port: ready.set())
    finally:
        await cancel([telling])


def _watchdog(environ: Mapping[str, str], pid: int) -> float:
    """As sd_watchdog_enabled(3): microseconds, for the process that is named, or for any."""
    text, meant = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID") or str(pid)
    return int(text) / 1e6 if text.isdecimal() and meant == str(pid) else 0.0
