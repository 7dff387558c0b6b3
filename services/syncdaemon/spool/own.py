"""The daemon's own folder in the replay directory, `.syncdaemon`, and the folders in it.

It lies in the replay directory so that every move is a rename within one file system. Whoever may write to that
directory could put something in its place. So it is opened once, never through a symlink, and counts only if it is our
user's.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress

from syncdaemon.base.beneath import FOLDER, LISTING
from syncdaemon.base.disk import PRIVATE, fsync_dir, lock_file
from syncdaemon.base.taken import OWN_FOLDER

NAME = OWN_FOLDER
HELD, QUARANTINE, REQUEUE, ARCHIVE, LOCK = b"held", b"quarantine", b"requeue", b"archive", b"lock"
SPARE = b"spare"  # empty: a folder for the hold when the disk is full
OWN_MODE = 0o700
"""Of all folders in it."""

_MODE = 0o710  # the group gets through to what will be for it there
_MADE = (HELD, QUARANTINE, REQUEUE)


class NotOurs(OSError):
    """Something that another user made, or that is no folder, is in the place of a folder of ours."""


class OwnFolder:
    """Descriptors of the folder and of those in it. `root` is the descriptor of the replay directory."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._fds: dict[bytes, int] = {}
        self._removed: list[int] = []  # other threads may be at them yet
        self._made = False

    def fd(self, name: bytes = b"") -> int:
        """Of the folder itself, or of one in it. Raises OSError; FileNotFoundError where there is none."""
        found = self._fds.get(name)
        if found is not None and name and self._made and not os.fstat(found).st_nlink:  # an operator removed it
            self._removed.append(self._fds.pop(name))
            return self.make_one(name)
        if found is None:
            found = os.open(name, LISTING, dir_fd=self.fd()) if name else os.open(NAME, FOLDER, dir_fd=self._root)
            self._fds[name] = found
        return found

    def make(self) -> None:
        """Makes the folders that are missing, and puts the modes of all of them right.

        Raises NotOurs where one is somebody else's, OSError where one can't be made.
        """
        self._take(b"", NAME, self._root, _MODE, group=os.fstat(self._root).st_gid)
        for name in _MADE:
            self._take(name, name, self.fd(), OWN_MODE)
        for name in (ARCHIVE, SPARE):
            with suppress(FileNotFoundError):
                self._own(name, OWN_MODE)
        self._made = True

    def make_one(self, name: bytes) -> int:
        """Makes one of the folders in it, if it is missing; its descriptor. Raises as `make`."""
        self._take(name, name, self.fd(), OWN_MODE)
        return self.fd(name)

    def _take(self, key: bytes, name: bytes, parent: int, mode: int, group: int = -1) -> None:
        with suppress(FileExistsError):
            os.mkdir(name, mode, dir_fd=parent)
            fsync_dir(parent)
        self._own(key, mode, group)

    def _own(self, key: bytes, mode: int, group: int = -1) -> None:
        shown = _shown(key)
        try:
            fd = self.fd(key)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise NotOurs(error.errno, f"{shown} is a symlink or a file, and no folder") from None
            raise
        found = os.fstat(fd)
        self._must_be_ours(found.st_uid, shown)
        with suppress(OSError):  # we are not in that group; or the file system has neither groups nor modes
            if group not in (-1, found.st_gid):
                os.chown(b".", -1, group, dir_fd=fd)
        with suppress(OSError):
            if found.st_mode & 0o7777 != mode:
                os.chmod(b".", mode, dir_fd=fd)

    def lock(self) -> int:
        """Takes the lock; its descriptor. Raises NotOurs, BlockingIOError where another process has it, OSError."""
        try:
            fd = lock_file(LOCK, self.fd(), PRIVATE)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.EINVAL, errno.ENXIO):
                raise NotOurs(error.errno, f"{_shown(LOCK)} is no file") from None
            raise
        try:
            self._must_be_ours(os.fstat(fd).st_uid, _shown(LOCK))
        except OSError:
            os.close(fd)
            raise
        with suppress(OSError):
            os.fchmod(fd, PRIVATE)
        return fd

    def _must_be_ours(self, owner: int, shown: str) -> None:
        if owner != os.geteuid() and owner != self._owner_of_what_we_make():
            raise NotOurs(errno.EPERM, f"{shown} belongs to user {owner}, and the daemon is user {os.geteuid()}")

    def _owner_of_what_we_make(self) -> int:
        """On a file system that has one owner for all files, or that squashes root, another user than ours."""
        name = b"%b-%b" % (NAME, secrets.token_hex(8).encode())
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, PRIVATE, dir_fd=self._root)
        try:
            return os.fstat(fd).st_uid
        finally:
            os.close(fd)
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._root)

    def close(self) -> None:
        """Closes all of them."""
        for fd in (*self._fds.values(), *self._removed):
            os.close(fd)
        self._fds.clear()
        self._removed.clear()


def _shown(name: bytes) -> str:
    return os.fsdecode(os.path.join(NAME, name).rstrip(b"/"))
