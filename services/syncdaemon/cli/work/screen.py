"""A terminal that is drawn on: only the lines that are not as they were, so it can be used over a slow line."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_BEGIN = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # the other screen, no cursor, long lines are not broken
_END = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_CTRL_C = b"\x03"


class Screen:
    """Standard output and the keys of standard input, between the begin and the end of `opened`."""

    def __init__(self) -> None:
        self._drawn: list[str] = []
        self._size: tuple[int, int] | None = None

    def size(self) -> tuple[int, int]:
        """Its columns and lines now."""
        found = os.get_terminal_size(sys.stdout.fileno())
        return max(24, found.columns), max(4, found.lines)

    def draw(self, lines: Sequence[str]) -> int:
        """Shows these lines. How many characters were written."""
        if (size := self.size()) != self._size:
            self._size, self._drawn = size, []
        written = "" if self._drawn else "\x1b[2J"
        for number, line in enumerate(lines, 1):
            if number > len(self._drawn) or self._drawn[number - 1] != line:
                written += f"\x1b[{number};1H{line}\x1b[m\x1b[K"
        self._drawn = list(lines)
        if written:
            sys.stdout.write(written)
            sys.stdout.flush()
        return len(written)


@contextmanager
def opened() -> Iterator[Screen]:
    """Keys come one by one, and are not shown; at the end the terminal is as it was."""
    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    raw = termios.tcgetattr(keys)
    raw[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)  # Ctrl-C is a key too: then nothing is left as it is
    termios.tcsetattr(keys, termios.TCSADRAIN, raw)
    sys.stdout.write(_BEGIN)
    sys.stdout.flush()
    try:
        yield Screen()
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
        sys.stdout.write(_END)
        sys.stdout.flush()


def ends(keys: bytes) -> bool:
    """Whether one of these keys ends it."""
    return not keys or any(key in keys for key in (b"q", b"Q", _CTRL_C))
