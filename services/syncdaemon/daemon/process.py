"""What concerns the whole process: its signals and its garbage collector."""

from __future__ import annotations

import asyncio
import gc
import os
import signal


def install_signals(stop: asyncio.Event) -> None:
    """SIGTERM and SIGINT set `stop`; a second one ends the process at once, which is safe at every instant."""
    loop = asyncio.get_running_loop()

    def ask(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, number)


def ignore_broken_leases() -> None:
    """The kernel sends SIGIO when a read lease is broken; by default that signal would end the process."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)


def spare_the_collector() -> None:
    """What is there at the start stays, and what a batch makes has no cycles: the collector need hardly look."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
