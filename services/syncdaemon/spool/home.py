"""The replay directory and the daemon's own folder in it: the lock, and the places that files are moved to.

That folder lies in the replay directory so that every move is a rename within one file system.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable
from typing import TypeVar

from syncdaemon.base.disk import has_writer, lock_file, make_dirs
from syncdaemon.base.errors import SettingsError

NAME = b".syncdaemon"
T = TypeVar("T")
_CLOCK_SLACK_NS = 50_000_000  # a kernel's file times lag by a tick; more than this is another clock


class Away(OSError):
    """The directory that was locked is not at its path now: it was moved, unmounted, or replaced by another."""


class ReplayDirectory:
    """The replay directory, locked by this process from `open` until `close`.

    `replay_dir` is its path, `path` that of the daemon's own folder in it; the other paths are places in that folder.
    """

    def __init__(self, replay_dir: bytes) -> None:
        self.replay_dir = replay_dir
        self.path = os.path.join(replay_dir, NAME)
        self.held = os.path.join(self.path, b"held")
        self.quarantine = os.path.join(self.path, b"quarantine")
        self.requeue = os.path.join(self.path, b"requeue")
        self.lock = os.path.join(self.path, b"lock")
        self.archive = os.path.join(self.path, b"archive")
        self._lock = -1
        self._offset_ns = 0

    def open(self) -> None:
        """Makes the folders and takes the lock.

        Raises SettingsError where the directory is missing or not writable, or another daemon works on it.
        """
        shown = os.fsdecode(self.replay_dir)
        if not os.path.isdir(self.replay_dir):
            raise SettingsError(f"SYNC_REPLAY_DIR: {shown} is not a directory; create it or name another")
        try:
            for folder in (self.path, self.held, self.quarantine, self.requeue):
                make_dirs(folder)
            if not os.access(self.replay_dir, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
            self._lock = lock_file(self.lock)
        except BlockingIOError:
            raise SettingsError(
                f"SYNC_REPLAY_DIR: another syncdaemon works on {shown}; stop it, or give this one its own directory"
            ) from None
        except OSError as error:
            raise SettingsError(
                f"SYNC_REPLAY_DIR: {shown} is not writable ({error.strerror}); "
                "delivered files could not be moved out of it"
            ) from None

    def close(self) -> None:
        """Gives the lock back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def act_as_owner(self) -> None:
        """For a command that root calls: from here on it has the rights of the daemon's user, and makes its files."""
        owner = os.stat(self.path)
        if os.geteuid() == 0 and owner.st_uid:
            try:
                os.initgroups(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
            except KeyError:  # a user that has no name here
                os.setgroups([owner.st_gid])
            os.setegid(owner.st_gid)
            os.seteuid(owner.st_uid)

    def check(self) -> None:
        """Raises Away, or returns: what is at the path is the directory that this process has locked."""
        try:
            found = os.stat(self.lock)
        except OSError:
            found = None
        if found is None or not os.path.samestat(found, os.fstat(self._lock)):
            raise Away(
                f"{os.fsdecode(self.replay_dir)} is not the directory that the daemon began with; "
                "put that back, or start the daemon again, and it takes the one that is there"
            )

    def do(self, work: Callable[[], T]) -> T:
        """Does `work`, which goes by paths. Raises Away where these may have led out of the locked directory."""
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


def clock_offset_ns(fd: int) -> int:
    """How far the clock of this file's file system is ahead of ours, in ns; 0 where they are one clock.

    A network file system stamps files with its server's clock.
    """
    before = time.time_ns()
    os.utime(fd)
    offset = os.fstat(fd).st_ctime_ns - before
    return offset if abs(offset) > _CLOCK_SLACK_NS else 0
