"""What a worker calls its own in the directory: a folder for what it is writing, and a lock that says it is alive."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

import structlog

from syncdaemon.base.disk import lock_file, make_dirs
from syncdaemon.base.errors import SettingsError

_LOCK = b"lock"

log = structlog.get_logger(__name__)


class ReceiveDirectory:
    """`root` is the directory, `fd` the same opened. Several workers may have one at the same time."""

    def __init__(self, root: bytes) -> None:
        self.root = root
        self.rejected = os.path.join(root, b".rejected")
        self.fd = -1
        self._incoming = os.path.join(root, b".incoming")
        self._own = os.path.join(self._incoming, secrets.token_hex(8).encode())
        self._lock = -1
        self._names = count()

    def open(self) -> None:
        """Makes what is missing and takes a folder. Raises SettingsError where the directory is of no use."""
        try:
            for folder in (self._incoming, self.rejected):
                make_dirs(folder)
            self.fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            with self._alone():
                os.mkdir(self._own, 0o750)
                self._lock = lock_file(os.path.join(self._own, _LOCK))
            self._try_a_link()
        except OSError as error:
            self.close()
            raise SettingsError(
                f"DIR: can't write to {os.fsdecode(self.root)!r} ({error.strerror}); name a directory that takes files"
            ) from None
        self.sweep()

    def _try_a_link(self) -> None:
        """A hard link is how a file gets its place without ever replacing another: not every file system has them."""
        probe = self.draft_name()
        try:
            os.link(os.path.join(self._own, _LOCK), probe)
        except OSError as error:
            raise OSError(error.errno, f"no hard links here: {error.strerror}") from None
        os.unlink(probe)

    def draft_name(self) -> bytes:
        """A name for the next file that is written, in our own folder."""
        return os.path.join(self._own, b"%d" % next(self._names))

    def free_bytes(self) -> int:
        """What is left of the disk for us. Raises OSError."""
        found = os.fstatvfs(self.fd)
        return found.f_bavail * found.f_frsize

    def sweep(self) -> None:
        """Removes what workers that died were writing. Whose lock is held is alive, wherever it runs."""
        with self._alone():
            for name in os.listdir(self._incoming):
                folder = os.path.join(self._incoming, name)
                if folder != self._own and os.path.isdir(folder):
                    _remove_if_dead(folder)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """A folder is made with its lock, or removed, by one worker at a time."""
        fd = os.open(os.path.join(self._incoming, _LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def close(self) -> None:
        """Leaves nothing of ours behind."""
        if self._lock >= 0:
            _remove(self._own)
            os.close(self._lock)
        if self.fd >= 0:
            os.close(self.fd)
        self._lock = self.fd = -1


def _remove_if_dead(folder: bytes) -> None:
    try:
        fd = lock_file(os.path.join(folder, _LOCK))
    except BlockingIOError:
        return
    try:
        log.info("leftovers_removed", drafts=_remove(folder))
    finally:
        os.close(fd)


def _remove(folder: bytes) -> int:
    drafts = [name for name in os.listdir(folder) if name != _LOCK]
    for name in [*drafts, _LOCK]:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))
    os.rmdir(folder)
    return len(drafts)
