"""Standard error without its dangers: what is written never blocks and never raises.

A log's reader can end, its disk can be full, its pipe can be one that no program reads, its terminal can be stopped.
None of this may stop a delivery. So the text waits in a bounded queue, and a thread of its own writes it.

Lines that find no room, in the queue or at their destination, are lost. They are counted, and when writing works again
a line says how many there were.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

ROOM = 1024 * 1024  # bytes that may wait: a thousand long lines
_OVERHEAD = 128  # bytes of memory that a text costs beside its own
_AT_ONCE = 65_536  # bytes for one call of write
_AGAIN_SECONDS = 2.0  # between two attempts to say that lines were lost
_FLUSH_SECONDS = 0.25  # how long a flush waits for a destination that takes nothing
_END_SECONDS = 1.0  # how long the end of the process waits for its last lines
_NEWLINE = 0x0A
_NOWHERE = -1


class Outlet:
    """Text on its way to a file descriptor. `room`: how many bytes may wait.

    `notice` makes a line of the number of lines that were lost.
    """

    def __init__(self, descriptor: int, notice: Callable[[int], str], *, room: int = ROOM) -> None:
        self._descriptor = descriptor
        self.notice = notice
        self._room = room
        self._changed = threading.Condition()  # its lock is one that the garbage collector's own log lines may enter
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._said = 0  # of the lost ones
        self._torn = False  # what was written last has no end of a line
        self._failed = False  # the newest attempt
        self._writing_since: float | None = None
        self._thread: threading.Thread | None = None

    @property
    def lost(self) -> int:
        """How many lines found no room."""
        return self._lost

    def closed(self) -> None:
        """The descriptor is not standard error's: it was closed at the start, and may be any file's now."""
        self._descriptor = _NOWHERE

    def add(self, text: str, encoding: str = "utf-8") -> None:
        """Writes this soon. Returns at once, and never raises."""
        if self._descriptor == _NOWHERE:
            return
        data = text.encode(encoding, "backslashreplace")
        with self._changed:
            size = len(data) + _OVERHEAD
            if self._size + size > self._room or not self._runs():
                self._lost += _lines(data)
                return
            self._waiting.append(data)
            self._size += size
            self._changed.notify_all()

    def flush(self, within: float) -> bool:
        """Waits until all is written, `within` seconds at most; whether it is."""
        with self._changed:
            return self._changed.wait_for(self._idle, within)

    def flush_unless_stuck(self) -> None:
        """Waits for a destination that takes what is written, and hardly for one that does not."""
        since = self._writing_since
        if since is None or time.monotonic() - since < _FLUSH_SECONDS:
            self.flush(_FLUSH_SECONDS)

    def _idle(self) -> bool:
        return not self._waiting and self._writing_since is None

    def _runs(self) -> bool:
        """Starts the thread when there is something to write. False where the system gives none."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="outlet", daemon=True)  # a stuck one ends with the process
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._changed.wait(_AGAIN_SECONDS if self._said < self._lost else None)
                data = self._take()
                self._writing_since = time.monotonic()
            if self._put(data):
                self._say_loss()
            with self._changed:
                self._writing_since = None
                self._changed.notify_all()

    def _take(self) -> bytes:
        """The next of what waits; empty where nothing does."""
        taken = bytearray()
        while self._waiting and len(taken) < _AT_ONCE:
            data = self._waiting.popleft()
            self._size -= len(data) + _OVERHEAD
            taken += data
        return bytes(taken)

    def _say_loss(self) -> None:
        """Says how many lines were lost and not said yet."""
        lost = self._lost
        if self._said < lost and self._put(self.notice(lost - self._said).encode("utf-8", "backslashreplace"), count=0):
            self._said = lost

    def _put(self, data: bytes, count: int = 1) -> bool:
        """Writes this, however long that takes. Counts what can't be written, unless `count` is 0; whether all was."""
        rest = memoryview(b"\n" + data if data and self._failed and self._torn else data)
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:  # another program made the pipe or terminal that we share a non-blocking one
                self._wait_for_room()
                continue
            except OSError:
                self._failed = True
                with self._changed:
                    self._lost += count * _lines(bytes(rest))
                return False
            self._torn = rest[written - 1] != _NEWLINE
            rest = rest[written:]
        self._failed = self._failed and not data
        return True

    def _wait_for_room(self) -> None:
        with suppress(OSError, ValueError):  # the next write says what is wrong
            select.select((), (self._descriptor,), (), _AGAIN_SECONDS)


class Errors(io.TextIOBase):
    """Standard error of the process, as the object `sys.stderr`: text that is written goes into the outlet."""

    def __init__(self, outlet: Outlet, descriptor: int, encoding: str) -> None:
        self._outlet = outlet
        self._descriptor = descriptor
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the user's environment has it. A character that it lacks is written as an escape."""
        return self._encoding

    def write(self, text: str) -> int:
        """Returns at once, and never raises for what became of the text. Raises TypeError for bytes."""
        if not isinstance(text, str):
            raise TypeError(f"text is written here, not {type(text).__name__}")
        if text:
            self._outlet.add(text, self._encoding)
        return len(text)

    def flush(self) -> None:
        """Waits a moment, so that lines of standard output and of standard error come in their order."""
        self._outlet.flush_unless_stuck()

    def isatty(self) -> bool:
        """Whether a terminal shows it."""
        try:
            return os.isatty(self._descriptor)
        except OSError:
            return False

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def writable(self) -> bool:
        """True."""
        return True


def plain_notice(lines: int) -> str:
    """What is said where no log is set up."""
    return f"syncdaemon: {lines} lines found no room here\n"


STDERR = Outlet(2, plain_notice)


def take_over_stderr() -> None:
    """From now on `sys.stderr` never blocks and never raises. To be called once, and before anything is opened."""
    found = sys.stderr
    if found is None:
        STDERR.closed()
    sys.stderr = Errors(STDERR, 2, getattr(found, "encoding", None) or "utf-8")
    atexit.register(last_words)


def last_words() -> None:
    """Before the process ends: waits a moment for what is not written yet."""
    STDERR.flush(_END_SECONDS)


def _lines(data: bytes) -> int:
    return data.count(b"\n")
