"""What Ctrl-C does to a command: it ends at once while nothing has begun, and cleans up first when something has.

A KeyboardInterrupt in the middle of an import ends in a traceback, or is swallowed by a library that tries whether it
can import another one.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT


def end_at_once() -> None:
    """From now on Ctrl-C ends the process: nothing has begun yet, or everything is done."""
    _set(_end)


def clean_up() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt: something has begun that wants a tidy end."""
    _set(signal.default_int_handler)


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


def _set(handler: signal._HANDLER) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as nohup and shells leave it for background jobs
        signal.signal(signal.SIGINT, handler)
