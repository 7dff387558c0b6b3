"""What concerns the whole process: its signals and its garbage collector."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from typing import NoReturn

import structlog

from syncdaemon.base.outlet import last_words

# Signals that end a process, by signal(7), and mean no fault of its own. A system lacks some of them.
_DEADLY = ("SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGXCPU", "SIGPWR", "SIGSTKFLT")

log = structlog.get_logger(__name__)


class Signals:
    """What the signals of one command do.

    SIGTERM and SIGINT end it in good order. So does every signal that would end a Unix tool, and then the process dies
    of that signal, so that its parent sees which one it was. A second signal ends the process at once, which is safe at
    every instant. SIGHUP calls what `install` was given, or with `hangup_ends` is the same as SIGTERM.
    """

    def __init__(self, *, hangup_ends: bool = False) -> None:
        self._hangup_ends = hangup_ends
        self._number = 0

    @property
    def interrupted(self) -> bool:
        """Whether the end was asked for at a terminal, by Ctrl-C."""
        return self._number == signal.SIGINT

    def install(self, stop: asyncio.Event, hung_up: Callable[[], None] | None = None) -> None:
        """From now on the signals set `stop`. `hung_up` is called for a SIGHUP that is no end."""
        loop = asyncio.get_running_loop()

        def ask(number: int) -> None:
            if stop.is_set():
                os._exit(128 + number)
            self._number = number
            log.info("stopping", signal=_name(number))
            stop.set()

        orderly = _deadly() | ({int(signal.SIGHUP)} if self._hangup_ends else set())
        for number in {int(signal.SIGTERM), int(signal.SIGINT), *filter(_is_heard, orderly)}:
            loop.add_signal_handler(number, ask, number)
        if not self._hangup_ends:
            loop.add_signal_handler(signal.SIGHUP, hung_up or _hung_up)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # a log line of a background job must not stop the process

    def die(self) -> None:
        """After the end in good order: dies of the signal that asked for it, if that is a deadly one."""
        if self._number in _deadly():
            _die(self._number)


def ignore_broken_leases() -> None:
    """The kernel sends SIGIO when a read lease is broken; by default that signal would end the process."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)


def spare_the_collector() -> None:
    """What is there at the start stays, and what a batch makes has no cycles: the collector need hardly look."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _deadly() -> set[int]:
    named = {int(number) for name in _DEADLY if (number := getattr(signal, name, None)) is not None}
    realtime = range(signal.SIGRTMIN, signal.SIGRTMAX + 1) if hasattr(signal, "SIGRTMIN") else ()
    return named | set(realtime)


def _is_heard(number: int) -> bool:
    """Whether our parent left this signal to us: `nohup` and shells have some ignored."""
    return signal.getsignal(number) is not signal.SIG_IGN


def _hung_up() -> None:
    log.info("nothing_to_reload", signal="SIGHUP", remedy="settings are read at the start: restart it")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a realtime signal
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def _die(number: int) -> NoReturn:
    last_words()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # the signal is blocked
