"""The replay directory: opened once, locked, and still the same one. Everything in it is reached from there."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import TypeVar

from syncdaemon.base.beneath import TOP
from syncdaemon.base.disk import READ, is_locked
from syncdaemon.base.errors import SettingsError
from syncdaemon.base.leases import has_writer
from syncdaemon.base.room import DiskRoom
from syncdaemon.spool.folders import OpenFolders
from syncdaemon.spool.own import HELD, LOCK, NAME, QUARANTINE, REQUEUE, NotOurs, OwnFolder

T = TypeVar("T")
_CLOCK_SLACK_NS = 50_000_000  # a kernel's file times lag by a tick; more than this is another clock


class Away(OSError):
    """The directory that was locked is not at its path now: it was moved, unmounted, or replaced by another."""


class ReplayDirectory:
    """The replay directory, locked by this process from `open` until `close`.

    `replay_dir` is its path, which is looked up once. After that everything in the directory is reached by descriptors:
    `root` is the directory's, `own` that of the daemon's own folder in it, `held` and the others are those of the
    folders in that one. `folders` are those of the producers, open while their files are on their way.
    """

    def __init__(self, replay_dir: bytes) -> None:
        self.replay_dir = replay_dir
        self.root = self._lock = -1
        self._offset_ns = 0

    def reach(self) -> None:
        """Opens the directory, and makes and locks nothing, as the commands do. Raises OSError."""
        self.root = os.open(self.replay_dir, TOP)
        self.folders = OpenFolders(self.root)
        self._own = OwnFolder(self.root)

    def open(self) -> None:
        """Makes our folders and takes the lock.

        Raises SettingsError where the directory is missing or not writable, another daemon works on it, or somebody
        else has made our folders.
        """
        shown = os.fsdecode(self.replay_dir)
        try:
            self.reach()
        except OSError as error:
            words = f"can't be opened: {error.strerror}"
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                words = "is not a directory; create it or name another"
            raise SettingsError(f"SYNC_REPLAY_DIR: {shown} {words}") from None
        try:
            self._take()
        except BlockingIOError:
            words = f"another syncdaemon works on {shown}; stop it, or give this one its own directory"
        except NotOurs as error:
            words = (
                f"{shown}/{error.strerror}: somebody else made it; "
                f"look what is in it and remove it, or give it to the daemon: chown -hR {os.geteuid()} "
                f"{os.path.join(shown, os.fsdecode(NAME))}"
            )
        except OSError as error:
            words = f"{shown} is not writable ({error.strerror}); delivered files could not be moved out of it"
        else:
            return
        self.close()
        raise SettingsError(f"SYNC_REPLAY_DIR: {words}")

    def _take(self) -> None:
        self._own.make()
        if not os.access(b".", os.W_OK | os.X_OK, dir_fd=self.root):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        self._lock = self._own.lock()

    def close(self) -> None:
        """Gives the lock back."""
        if self.root < 0:
            return
        self.folders.close()
        self._own.close()
        for fd in (self.root, self._lock):
            if fd >= 0:
                os.close(fd)
        self.root = self._lock = -1

    @property
    def own(self) -> int:
        """The descriptor of our own folder. Raises OSError where there is none, and so do the others."""
        return self._own.fd()

    @property
    def held(self) -> int:
        """That of the hold."""
        return self._own.fd(HELD)

    @property
    def quarantine(self) -> int:
        """That of the quarantine."""
        return self._own.fd(QUARANTINE)

    @property
    def requeue(self) -> int:
        """That of the orders."""
        return self._own.fd(REQUEUE)

    def make_requeue(self) -> None:
        """For a command on a directory of an older daemon. Raises OSError."""
        self._own.make_one(REQUEUE)

    def open_file(self, path: bytes) -> int:
        """Opens a file for reading, in any thread; its descriptor. Raises OSError."""
        return self.folders.open_alone(path, READ)[0]

    def room(self) -> DiskRoom:
        """What an ordinary process may still write on the directory's disk. Raises OSError."""
        return DiskRoom.at(self.root)

    def in_use(self) -> bool:
        """Whether a daemon has locked it."""
        try:
            return is_locked(LOCK, self.own)
        except OSError:
            return False

    def check(self) -> None:
        """Raises Away, or returns: what is at the path is the directory that this process has locked."""
        if not _is(self.replay_dir, self.root):
            moved = self.replay_dir
        elif not (_is(NAME, self.own, self.root) and _is(LOCK, self._lock, self.own)):
            moved = os.path.join(self.replay_dir, NAME)
        else:
            return
        raise Away(
            f"{os.fsdecode(moved)} is not the directory that the daemon began with; "
            "put that back, or start the daemon again, and it takes the one that is there"
        )

    def do(self, work: Callable[[], T]) -> T:
        """Does `work`, which looks and changes nothing. Raises Away where the directory was not at its path all along.

        What `work` did, it did in the locked directory. But while another one is at the path, nothing is delivered.
        """
        self.check()
        done = work()
        self.check()
        return done

    def deleted(self) -> bool:
        """Whether it can never come back: the lock has no name any more, in no directory."""
        return os.fstat(self._lock).st_nlink == 0

    def has_leases(self) -> bool:
        """Whether the file system shows us who has a file open for writing."""
        return has_writer(self._lock) is not None

    def clock_offset_ns(self) -> int:
        """How far the file system's clock is ahead of ours, in ns."""
        return clock_offset_ns(self._lock)

    def set_clock(self) -> None:
        """From here on `now_ns` goes by the file system's clock as it is now."""
        self._offset_ns = self.clock_offset_ns()

    def now_ns(self) -> int:
        """The file system's now."""
        return time.time_ns() + self._offset_ns


def _is(name: bytes, fd: int, folder: int | None = None) -> bool:
    """Whether what is at this name is what is open as `fd`. The replay directory's own path may lead over symlinks."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=folder is None)
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(fd))


def clock_offset_ns(fd: int) -> int:
    """How far the clock of this file's file system is ahead of ours, in ns; 0 where they are one clock.

    A network file system stamps files with its server's clock.
    """
    before = time.time_ns()
    os.utime(fd)
    offset = os.fstat(fd).st_ctime_ns - before
    return offset if abs(offset) > _CLOCK_SLACK_NS else 0
