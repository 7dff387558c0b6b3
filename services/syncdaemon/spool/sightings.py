"""What was seen of each file: is it being written, or did it come to its end? Pure bookkeeping of the kernel's events.

A file of another user shows its writers to nobody, so the way that it came decides whether it is complete:

    written to last                     OPEN      its writer has not closed it
    made, and not written to            MADE      its writer has not begun, or it came by link(2) with all its bytes
    closed after writing, or renamed    ENDED     complete, if nothing changed it since
    anything else                       NOTHING   we can't tell

What is known hangs on a folder's watch and not on its path. So it goes along when the folder is renamed, and is never
taken for that of another folder with the same path.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from syncdaemon.base import taken
from syncdaemon.spool.inotify import (
    ATTRIB,
    CLOSE_WRITE,
    CREATE,
    DELETE,
    IGNORED,
    IS_FOLDER,
    MODIFY,
    MOVED_FROM,
    MOVED_TO,
    Event,
)
from syncdaemon.spool.settle import Came

MOST = 262_144  # files of which something is remembered: more than a window of names
_MOST_MOVES = 1_024  # halves of renames that wait for the other half


class Sighting(NamedTuple):
    """`came` at the latest when the file system's clock showed `by_ns`."""

    came: Came
    by_ns: int


class NewFolder(NamedTuple):
    """A folder has come that is to be watched. `whole`: it was renamed into place, with what lies in it."""

    path: bytes
    whole: bool


class Sightings:
    """Of all files below one folder.

    Folders have paths with a slash at the end, relative to that folder, which is b"" itself. `most`: files of which
    something is remembered; of others nothing was seen.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._count = 0
        self._paths: dict[int, bytes] = {}  # of watches; those without one are on their way
        self._watches: dict[bytes, int] = {}
        self._seen: dict[int, dict[bytes, Sighting]] = {}
        self._moved: dict[int, Came] = {}  # unfinished files on their way, by the cookie of the rename
        self._moved_folders: dict[int, dict[bytes, int]] = {}  # the same for folders: watches by path below them
        self._forgotten: list[int] = []

    @property
    def folders(self) -> int:
        """How many are watched."""
        return len(self._watches)

    def watched(self, path: bytes, watch: int) -> None:
        """This folder is watched from now on."""
        old = self._paths.get(watch)
        if old is not None and old != path and self._watches.get(old) == watch:
            del self._watches[old]
        self._paths[watch] = path
        self._watches[path] = watch
        self._seen.setdefault(watch, {})

    def of(self, path: bytes) -> Sighting | None:
        """What was seen last of the file at this path; None: nothing."""
        folder, _, name = path.rpartition(b"/")
        watch = self._watches.get(folder + b"/" if folder else b"")
        return None if watch is None else self._seen[watch].get(name)

    def came_whole(self, path: bytes, by_ns: int) -> None:
        """The file came with its folder, which was renamed into place. What was seen of itself is stronger."""
        folder, _, name = path.rpartition(b"/")
        watch = self._watches.get(folder + b"/" if folder else b"")
        if watch is not None and name not in self._seen[watch] and not taken.ignored(name):
            self._note(self._seen[watch], name, Sighting(Came.ENDED, by_ns))

    def apply(self, events: list[Event], now_ns: int) -> tuple[dict[bytes, bool], list[NewFolder]]:
        """Takes in events, which came before `now_ns`, in their order.

        Returns the paths at which something happened, each with whether it came to its end; and the new folders, which
        are not among them.
        """
        touched: dict[bytes, bool] = {}
        new: list[NewFolder] = []
        now = {came: Sighting(came, now_ns) for came in Came}
        for event in events:
            folder = self._paths.get(event.watch)
            if event.mask & IGNORED:
                self._forget(event.watch)
            elif event.mask & IS_FOLDER:
                if folder is not None and event.name and event.mask & (ATTRIB | CREATE | MOVED_TO | MOVED_FROM):
                    new += self._folder(folder + event.name + b"/", event)
                    if event.mask & MOVED_FROM and not event.name.startswith(b"."):
                        touched[folder + event.name] = True
            elif event.watch in self._seen and not taken.ignored(event.name):
                ended = self._file(self._seen[event.watch], event, now)
                if folder is not None:
                    touched[folder + event.name] = ended
        return touched, new

    def _file(self, seen: dict[bytes, Sighting], event: Event, now: dict[Came, Sighting]) -> bool:
        """One event of a file; whether it came to its end."""
        mask, name = event.mask, event.name
        if mask & MODIFY:
            self._note(seen, name, now[Came.OPEN])
        elif mask & CREATE:
            self._note(seen, name, now[Came.MADE])
        elif mask & CLOSE_WRITE:
            self._note(seen, name, now[Came.ENDED])
        elif mask & MOVED_TO:
            # A file that is still being written goes on so under its new name: a log that is turned over, for example.
            came = self._moved.pop(event.cookie, Came.ENDED)
            self._note(seen, name, now[came])
            return came is Came.ENDED
        elif mask & ATTRIB:
            if (before := seen.get(name)) is not None:  # its times move and its bytes do not
                seen[name] = now[before.came]
                return before.came is Came.ENDED
        elif mask & (MOVED_FROM | DELETE) and (before := seen.pop(name, None)) is not None:
            self._count -= 1
            if mask & MOVED_FROM and before.came is not Came.ENDED:
                self._moved[event.cookie] = before.came
                if len(self._moved) > _MOST_MOVES:
                    del self._moved[next(iter(self._moved))]
        return bool(mask & (CLOSE_WRITE | DELETE | MOVED_FROM))

    def _note(self, seen: dict[bytes, Sighting], name: bytes, sighting: Sighting) -> None:
        if name not in seen:
            if self._count >= self._most:
                return
            self._count += 1
        seen[name] = sighting

    def _folder(self, path: bytes, event: Event) -> Iterator[NewFolder]:
        if event.mask & ATTRIB:
            if path not in self._watches and not event.name.startswith(b"."):
                yield NewFolder(path, False)  # it could not be watched before, and may be let in now
            return
        if event.mask & MOVED_FROM:
            if not event.name.startswith(b"."):
                self._take_away(path, event.cookie)
            return
        known = self._moved_folders.pop(event.cookie, None) if event.mask & MOVED_TO else None
        if event.name.startswith(b"."):
            self._forgotten += (known or {}).values()
            return
        for below, watch in (known or {}).items():
            self.watched(path + below, watch)
        yield NewFolder(path, bool(event.mask & MOVED_TO) and known is None)

    def _take_away(self, path: bytes, cookie: int) -> None:
        """The folder leaves its path; if it comes to another one, all that is known of it goes along."""
        below = {place[len(path) :]: watch for place, watch in self._watches.items() if place.startswith(path)}
        for place, watch in below.items():
            del self._watches[path + place]
            del self._paths[watch]
        self._moved_folders[cookie] = below
        while len(self._moved_folders) > _MOST_MOVES:
            self._forgotten += self._moved_folders.pop(next(iter(self._moved_folders))).values()

    def take_forgotten(self) -> list[int]:
        """The watches that are to be ended; their folders have left."""
        forgotten, self._forgotten = self._forgotten, []
        return forgotten

    @property
    def on_their_way(self) -> bool:
        """Whether one half of a rename was seen, and not yet the other."""
        return bool(self._moved or self._moved_folders)

    def lose_sight(self) -> None:
        """The other half of renames does not come any more: those folders have left."""
        self._forgotten += (watch for below in self._moved_folders.values() for watch in below.values())
        self._moved_folders.clear()
        self._moved.clear()

    def _forget(self, watch: int) -> None:
        """The kernel has ended the watch: the folder is gone, or it was asked to."""
        path = self._paths.pop(watch, None)
        if path is not None and self._watches.get(path) == watch:
            del self._watches[path]
        self._count -= len(self._seen.pop(watch, {}))
