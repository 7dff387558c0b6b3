"""The replay directory and its folders, each under a watch: what happens there, and what was seen of a file.

A thread reads the kernel's events, so that new folders are watched at once, however busy the event loop is. Other
threads may read them too: whoever asks what was seen of a file gets an answer in which all events up to the file's last
change are counted (`Tree.came`).
"""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.spool.inotify import OVERFLOW, Inotify
from syncdaemon.spool.settle import Came
from syncdaemon.spool.sightings import NewFolder, Sightings
from syncdaemon.spool.walk import Walk

TICK_NS = 20_000_000  # the kernel stamps files with a clock that stands still for a tick of 1 to 10 ms
_GATHER_MS = 5  # how long events are gathered before they are read again
_HALF_MS = 1_000  # how long the second half of a rename is waited for
_OVERFLOW = "more events than the kernel keeps (fs.inotify.max_queued_events)"
_WAKES = 4_096  # bytes of the pipe that wakes the thread, which are taken in one go
_MOST_NEWS = 262_144  # paths; more of them ask for a scan


class Tree:
    """The open folder `root` and all below it, from `run` until `stop`. Hidden folders are left out.

    `now_ns`: the file system's now. `told`: called in the thread, whenever there is news to take. `said`: what the log
    was told of folders by the trees before this one. Raises OSError where the kernel lets nobody watch.
    """

    def __init__(self, root: int, now_ns: Callable[[], int], told: Callable[[], None], said: OnceAMinute) -> None:
        self._walk = Walk(root, self._watch_folder, self._came_whole, said)
        self._now_ns = now_ns
        self._told = told
        self._lock = threading.Lock()  # for all below
        self._sightings = Sightings()
        self._read_until_ns = 0  # all events before this time are counted
        self._news: dict[bytes, bool] = {}
        self._new: list[NewFolder] = []
        self._inotify = Inotify()
        self._closed = False
        self._broken: Exception | None = None
        self._wake, self._waker = os.pipe()
        for end in (self._wake, self._waker):
            os.set_blocking(end, False)
        self._stopped = False

    def run(self) -> None:
        """Watches until `stop`, or until the watch breaks, which `news` then tells. For a thread of its own."""
        try:
            self._watch()
        except Exception as error:  # whatever it is, scans go on; `news` tells it
            self._broken = error
        finally:
            with self._lock:
                self._closed = True
                self._inotify.close()
                os.close(self._wake)
                os.close(self._waker)
            self._told()

    def _watch(self) -> None:
        self._walk.add(NewFolder(b"", False), must=True)
        self._told()
        events, stopping = select.poll(), select.poll()
        events.register(self._inotify.fd, select.POLLIN)
        for poll in (events, stopping):
            poll.register(self._wake, select.POLLIN)
        while not self._stopped:
            if not events.poll(_HALF_MS if self._sightings.on_their_way else None):
                with self._lock:
                    self._sightings.lose_sight()
                    self._let_go()
            with suppress(BlockingIOError):
                os.read(self._wake, _WAKES)
            if self._step():
                self._told()
            stopping.poll(_GATHER_MS)

    @property
    def folders(self) -> int:
        """How many folders are watched."""
        return self._sightings.folders

    def stop(self) -> None:
        """The thread in `run` ends soon."""
        self._stopped = self._walk.stopped = True
        with self._lock:
            self._wake_up()

    def _wake_up(self) -> None:
        if not self._closed:
            with suppress(BlockingIOError):  # it is full, so the thread wakes anyway
                os.write(self._waker, b"\0")

    def _step(self) -> bool:
        """Takes in what has come, and watches new folders; whether there is news. Raises what has broken the watch."""
        with self._lock:
            self._read()
            if self._broken is not None:
                raise self._broken
            new, self._new = self._new, []
        for folder in new:
            self._walk.add(folder)
        with self._lock:  # only now: what is in a folder is looked at when it is known which files came whole
            self._news.update((folder.path[:-1], True) for folder in new)
            return bool(self._news)

    def _read(self) -> None:
        """Takes in all events that are there, or finds that the watch is broken. The lock is held."""
        while self._broken is None:
            before = self._now_ns()
            try:
                events = self._inotify.read()
            except Exception as error:
                self._broken = error
                return
            if not events:
                self._read_until_ns = before
                return
            if any(event.mask & OVERFLOW for event in events):
                self._broken = OSError(errno.EOVERFLOW, _OVERFLOW)
                return
            touched, new = self._sightings.apply(events, self._now_ns())
            for path, ended in touched.items():
                self._news[path] = ended or self._news.get(path, False)
            if len(self._news) > _MOST_NEWS:
                self._broken = OSError(errno.EOVERFLOW, "more happens than the daemon can look at")
            self._new += new
            self._let_go()

    def _let_go(self) -> None:
        for watch in self._sightings.take_forgotten():
            self._inotify.remove(watch)

    def _watch_folder(self, fd: int, path: bytes) -> None:
        with self._lock:
            self._sightings.watched(path, self._inotify.add(fd))

    def _came_whole(self, path: bytes, by_ns: int) -> None:
        with self._lock:
            self._sightings.came_whole(path, by_ns)

    def news(self) -> dict[bytes, bool]:
        """The paths at which something happened since the last call, each with whether it came to its end.

        Raises what has broken the watch: only a scan can tell then, and nothing was seen of any file.
        """
        with self._lock:
            if self._broken is not None:
                raise self._broken
            news, self._news = self._news, {}
        return news

    def came(self, path: bytes, ctime_ns: int) -> Came:
        """What was seen last of the file at `path`, which had this ctime a moment ago. For any thread.

        What ended a file counts only if nothing has changed the file since: a writer by another name of the file, or on
        another machine, raises no event here.
        """
        with self._lock:
            if self._closed:
                return Came.NOTHING
            if self._read_until_ns < ctime_ns + TICK_NS:
                self._read()
                if self._news or self._new or self._broken is not None:
                    self._wake_up()
            if self._broken is not None or self._read_until_ns < ctime_ns + TICK_NS:
                return Came.NOTHING
            sighting = self._sightings.of(path)
        if sighting is None or (sighting.came is not Came.OPEN and ctime_ns > sighting.by_ns):
            return Came.NOTHING
        return sighting.came
