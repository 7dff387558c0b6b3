"""Looking at this machine beside a running daemon: its lock is not taken, its files are not touched.

What can only be known by trying is tried with a hidden file of our own, which no daemon takes.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from syncdaemon.base.disk import is_locked
from syncdaemon.check.diagnosis import Folder, ReplayFacts
from syncdaemon.settings.values import Settings
from syncdaemon.spool import settle
from syncdaemon.spool.home import NAME, ReplayDirectory, clock_offset_ns
from syncdaemon.spool.quarantine import names

_MOST = 100_000  # files that are looked at; where there are more, that is said
_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "virtiofs", "fuse.sshfs", "fuse.glusterfs")
_IN_CREATE = 0x100  # inotify(7)
_WATCHES = "/proc/sys/fs/inotify/max_user_watches"


class _Waiting(NamedTuple):
    files: int
    oldest: float
    folders: int
    all: bool


def look(settings: Settings) -> ReplayFacts:
    """Everything about the replay directory and its file system."""
    home = ReplayDirectory(os.fsencode(os.path.abspath(settings.sync_replay_dir)))
    folder = look_at_folder(home.replay_dir)
    if folder.problem:
        return ReplayFacts(folder)
    with _trial(home.replay_dir) as (fd, _):
        leases, ahead = _leases(fd), clock_offset_ns(fd) / 1e9
    kind, mounts = _mounts(os.path.realpath(home.replay_dir))
    waiting = _waiting(home.replay_dir)
    return ReplayFacts(
        folder=folder,
        running=is_locked(home.lock),
        kind=kind,
        remote=kind in _REMOTE,
        unmovable=_unmovable(home, mounts),
        mounts=tuple(os.fsdecode(mount) for mount in mounts if not _is_own(mount)),
        leases=leases,
        clock_ahead=ahead,
        watch=_watch(home.replay_dir),
        folders=waiting.folders,
        watches=_number(_WATCHES),
        waiting=waiting.files,
        oldest=waiting.oldest,
        counted_all=waiting.all,
        quarantined=_quarantined(home),
    )


def look_at_folder(path: bytes) -> Folder:
    """Whether a file can be made there, and how much room an ordinary process has."""
    shown = os.fsdecode(path)
    try:
        if not os.path.isdir(path):
            return Folder(shown, f"{shown} is not a directory")
        with _trial(path):
            disk = os.statvfs(path)
    except OSError as error:
        return Folder(shown, f"{shown} can't be written to: {error.strerror}")
    return Folder(shown, "", disk.f_bavail * disk.f_frsize)


@contextmanager
def _trial(folder: bytes) -> Iterator[tuple[int, bytes]]:
    """A file of our own for a moment: open for reading, and its path. Raises OSError where there can be none."""
    path = os.path.join(folder, b".doctor-%b.part" % secrets.token_hex(8).encode())
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd, path
    finally:
        os.close(fd)
        with suppress(FileNotFoundError):
            os.unlink(path)


def _leases(fd: int) -> str:
    """Why the kernel grants no read lease on this file system; empty where it does (fcntl(2), F_SETLEASE)."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _unmovable(home: ReplayDirectory, mounts: list[bytes]) -> str | None:
    """Why a rename from the replay directory to our own folders does not work; None before there are any."""
    if not os.path.isdir(home.path):
        return None
    own = [mount for mount in mounts if _is_own(mount)]
    if own:
        return f"{os.fsdecode(own[0])} is a mount"
    try:
        with _trial(home.replay_dir) as (_, path):
            os.rename(path, os.path.join(home.path, os.path.basename(path)))
            os.unlink(os.path.join(home.path, os.path.basename(path)))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _mounts(root: bytes) -> tuple[str, list[bytes]]:
    """The kind of the file system at `root`, and the mounts below it that matter, relative to it (proc(5))."""
    kind, below, longest = "", [], -1
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return "", []
    for line in lines:
        fields = line.split(b" ")
        place = re.sub(rb"\\(\d{3})", lambda octal: bytes([int(octal[1], 8)]), fields[4])
        if place.startswith(root + b"/"):
            inside = place[len(root) + 1 :]
            if _is_own(inside) or not settle.path_ignored(inside):
                below.append(inside)
        elif (root + b"/").startswith(place.rstrip(b"/") + b"/") and len(place) >= longest:
            kind, longest = fields[fields.index(b"-") + 1].decode(), len(place)
    return kind, below


def _is_own(path: bytes) -> bool:
    return path.split(b"/")[0] == NAME


def _watch(root: bytes) -> str | None:
    """Why the kernel does not let us watch the directory; empty where it does, None where it has no inotify."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "inotify_init1"):
        return None
    fd = libc.inotify_init1(os.O_CLOEXEC)
    if fd < 0:
        return _inotify_error("fs.inotify.max_user_instances")
    try:
        watch = libc.inotify_add_watch(fd, root, _IN_CREATE)
        return "" if watch >= 0 else _inotify_error("fs.inotify.max_user_watches")
    finally:
        os.close(fd)


def _inotify_error(limit: str) -> str:
    number = ctypes.get_errno()
    return f"{limit} is used up" if number in (errno.EMFILE, errno.ENOSPC) else os.strerror(number)


def _number(path: str) -> int | None:
    try:
        with open(path, "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _waiting(root: bytes) -> _Waiting:
    """The files that are to be delivered, as far as they are looked at, and the age of the oldest by its mtime."""
    files = folders = 0
    oldest = now = time.time()
    for folder, below, names_there in os.walk(root):
        folders += 1
        below[:] = [name for name in below if not name.startswith(b".")]
        for name in names_there:
            if settle.ignored(name):
                continue
            with suppress(OSError):
                oldest = min(oldest, os.lstat(os.path.join(folder, name)).st_mtime)
            files += 1
            if files == _MOST:
                return _Waiting(files, now - oldest, folders, False)
    return _Waiting(files, now - oldest, folders, True)


def _quarantined(home: ReplayDirectory) -> int:
    try:
        return len(names(home))
    except OSError:
        return 0
