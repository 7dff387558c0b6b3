"""What a command writes to, and what it does when that fails. Any text can be written in any locale."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import NoReturn, TextIO

from syncdaemon.base.outlet import take_over_stderr

UNWRITTEN = 1  # exit codes: standard output can't be written,
READER_GONE = 141  # or its reader has ended: that of a Unix tool that died of SIGPIPE


class Output(io.TextIOBase):
    """Standard output of the process, as the object `sys.stdout`. Where it can't be written, the command ends."""

    def __init__(self, stream: TextIO) -> None:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the user's environment has it. A character that it lacks is written as an escape."""
        return self._stream.encoding

    def write(self, text: str) -> int:
        """Raises SystemExit where it can't be written, TypeError for bytes."""
        if not isinstance(text, str):
            raise TypeError(f"text is written here, not {type(text).__name__}")
        try:
            return self._stream.write(text)
        except OSError as error:
            self._end(error)

    def flush(self) -> None:
        """Raises SystemExit where what waited can't be written."""
        try:
            self._stream.flush()
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> NoReturn:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # what still waits must not fail once more
        if isinstance(error, BrokenPipeError):
            raise SystemExit(READER_GONE) from None
        sys.stderr.write(f"syncdaemon: standard output can't be written: {error.strerror}\n")
        raise SystemExit(UNWRITTEN) from None

    def isatty(self) -> bool:
        """Whether a terminal shows it."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The descriptor."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """True."""
        return True


def prepare() -> None:
    """Makes `sys.stdout` and `sys.stderr` ours. A standard stream that was closed at the start leads nowhere.

    No file that is opened later may get the number of such a stream: other programs' output would go into the file.
    """
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(spare, True)
    os.close(spare)
    take_over_stderr()
    sys.stdout = Output(sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False))


def is_plain(stream: TextIO) -> bool:
    """Whether only text goes there: no colours, no bars. So it is for anything but a terminal, and where users ask.

    The user's words are NO_COLOR (no-color.org: any value but an empty one) and TERM=dumb.
    """
    return not stream.isatty() or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", "unknown")
