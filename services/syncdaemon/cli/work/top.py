"""`syncdaemon top`: the live page in a terminal, drawn at most once a second, until a key ends it."""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from functools import partial

from syncdaemon.base.errors import ConnectTimeout
from syncdaemon.cli import port
from syncdaemon.cli.say import say
from syncdaemon.cli.streams import is_plain
from syncdaemon.cli.work import screen
from syncdaemon.cli.work.following import Following
from syncdaemon.cli.work.picture import lines
from syncdaemon.cli.work.screen import Screen
from syncdaemon.cli.work.told import PageTold
from syncdaemon.client.door import LocalDoor
from syncdaemon.settings.given import Given

_DRAW_SECONDS = 1.0
_FIRST_SECONDS = 10.0  # for the first word
_PAGE = "/events"
_COLUMNS, _LINES = 100, 60  # where no terminal is


def top(given: Given) -> None:
    """Until a key. Where no terminal is, once. Raises ConnectTimeout or SettingsError where no daemon tells us."""
    values = given.values
    door = LocalDoor(values["SYNC_REPLAY_DIR"], frozenset({os.geteuid()}))
    ways = [
        partial(port.ask, values["SYNC_HTTP_ADDR"], values["SYNC_HTTP_TOKEN_FILE"], _PAGE),
        partial(door.follow, _PAGE),
    ]
    awake, wake = os.pipe()
    top = _Top(awake)
    following = Following(ways, top.take, wake)
    following.start()
    top.wait_for_first(following)
    if sys.stdin.isatty() and sys.stdout.isatty():
        with screen.opened() as shown:
            top.show(shown, following)
    else:
        for line in top.lines(None, _COLUMNS, _LINES)[:-1]:
            say(line)


class _Top:
    """What was told, for the thread that hears it and the one that draws. `awake`: can be read when something came."""

    def __init__(self, awake: int) -> None:
        self._told, self._lock, self._awake = PageTold(), threading.Lock(), awake

    def take(self, data: bytes) -> None:
        """An event came. Raises ValueError where it is none."""
        with self._lock:
            self._told.take(data, time.time())

    def wait_for_first(self, following: Following) -> None:
        """Returns when there is something to show. Raises SyncError where there is not."""
        select.select([self._awake], [], [], _FIRST_SECONDS)
        if following.heard is None:
            raise following.failed or ConnectTimeout("SYNC_HTTP_ADDR: the daemon says nothing")

    def lines(self, silent: float | None, width: int, height: int) -> list[str]:
        """The picture now."""
        colours = None if is_plain(sys.stdout) else "standard"
        with self._lock:
            return lines(self._told, time.time(), silent, width=width, height=height, colours=colours)

    def show(self, shown: Screen, following: Following) -> None:
        """Draws, until a key ends it."""
        drawn = 0.0
        while True:
            if (rest := drawn + _DRAW_SECONDS - time.monotonic()) <= 0:
                drawn = time.monotonic()
                shown.draw(self.lines(following.silent(drawn), *shown.size()))
                rest = _DRAW_SECONDS
            ready, _, _ = select.select([sys.stdin, self._awake], [], [], rest)
            if self._awake in ready:
                os.read(self._awake, 4096)
            if sys.stdin in ready and screen.ends(os.read(sys.stdin.fileno(), 64)):
                return
