"""Looking at this machine beside a running daemon: its lock is not taken, its files are not touched.

What can only be known by trying is tried with a hidden file of our own, which no daemon takes.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from syncdaemon.base import taken
from syncdaemon.base.beneath import TOP
from syncdaemon.base.disk import PRIVATE
from syncdaemon.base.leases import refusal
from syncdaemon.base.room import DiskRoom
from syncdaemon.check.diagnosis import Folder, ReplayFacts
from syncdaemon.settings.values import Settings
from syncdaemon.spool import inotify
from syncdaemon.spool.home import ReplayDirectory, clock_offset_ns
from syncdaemon.spool.own import NAME
from syncdaemon.spool.quarantine import names
from syncdaemon.spool.rights import danger, stuck
from syncdaemon.spool.scan import files
from syncdaemon.spool.sharing import Danger
from syncdaemon.spool.watch import blind

_MOST = 100_000  # files that are looked at; where there are more, that is said
_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "virtiofs", "fuse.sshfs", "fuse.glusterfs")
_HARMLESS = Danger("", "")
_WATCHES = "/proc/sys/fs/inotify/max_user_watches"


class _Waiting(NamedTuple):
    files: int
    oldest: float
    folders: int
    all: bool
    stuck: list[Danger]


def look(settings: Settings) -> ReplayFacts:
    """Everything about the replay directory and its file system."""
    home = ReplayDirectory(os.fsencode(os.path.abspath(settings.sync_replay_dir)))
    folder = look_at_folder(home.replay_dir)
    if folder.problem:
        return ReplayFacts(folder)
    home.reach()
    try:
        return _look(home, folder)
    finally:
        home.close()


def _look(home: ReplayDirectory, folder: Folder) -> ReplayFacts:
    with _trial(home.root) as (fd, _):
        refused, ahead = refusal(fd), clock_offset_ns(fd) / 1e9
    kind, mounts = _mounts(os.path.realpath(home.replay_dir))
    waiting = _waiting(home)
    shared = danger(home) or _HARMLESS
    immovable = waiting.stuck[0] if waiting.stuck else _HARMLESS
    return ReplayFacts(
        folder=folder,
        running=home.in_use(),
        kind=kind,
        remote=kind in _REMOTE,
        unmovable=_unmovable(home, mounts),
        mounts=tuple(os.fsdecode(mount) for mount in mounts if not _is_own(mount)),
        leases=refused,
        blind=blind(),
        clock_ahead=ahead,
        watch=_watch(home.root),
        folders=waiting.folders,
        watches=_number(_WATCHES),
        waiting=waiting.files,
        oldest=waiting.oldest,
        counted_all=waiting.all,
        quarantined=_quarantined(home),
        danger=shared.said,
        danger_cure=shared.cure,
        stuck=immovable.said,
        stuck_cure=immovable.cure,
        stuck_folders=len(waiting.stuck),
    )


def look_at_folder(path: bytes) -> Folder:
    """Whether a file can be made there, and how much room an ordinary process has."""
    shown = os.fsdecode(path)
    try:
        fd = os.open(path, TOP)
        try:
            with _trial(fd):
                room = DiskRoom.at(path)
        finally:
            os.close(fd)
    except (FileNotFoundError, NotADirectoryError):
        return Folder(shown, f"{shown} is not a directory")
    except OSError as error:
        return Folder(shown, f"{shown} can't be written to: {_used_up(path) or error.strerror}")
    return Folder(shown, "", room.free, room.files)


def _used_up(path: bytes) -> str:
    """What its disk lacks, in words; empty where it lacks nothing, or where that can't be told."""
    try:
        return DiskRoom.at(path).lacking
    except OSError:
        return ""


@contextmanager
def _trial(folder: int) -> Iterator[tuple[int, bytes]]:
    """A file of our own in this folder for a moment: open, and its name. Raises OSError where there can be none."""
    name = b".doctor-%b.part" % secrets.token_hex(8).encode()
    flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, os.O_RDONLY | flags, PRIVATE, dir_fd=folder)
    try:
        yield fd, name
    finally:
        os.close(fd)
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)


def _unmovable(home: ReplayDirectory, mounts: list[bytes]) -> str | None:
    """Why a rename from the replay directory to our own folders does not work; None before there are any."""
    try:
        own = home.own
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror or str(error)
    mounted = [mount for mount in mounts if _is_own(mount)]
    if mounted:
        return f"{os.fsdecode(mounted[0])} is a mount"
    try:
        with _trial(home.root) as (_, name):
            os.rename(name, name, src_dir_fd=home.root, dst_dir_fd=own)
            os.unlink(name, dir_fd=own)
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
            if _is_own(inside) or not taken.path_ignored(inside):
                below.append(inside)
        elif (root + b"/").startswith(place.rstrip(b"/") + b"/") and len(place) >= longest:
            kind, longest = fields[fields.index(b"-") + 1].decode(), len(place)
    return kind, below


def _is_own(path: bytes) -> bool:
    return path.split(b"/")[0] == NAME


def _watch(root: int) -> str | None:
    """Why the kernel does not let us watch the directory; empty where it does, None where it has no inotify."""
    if not inotify.is_here():
        return None
    limit = "fs.inotify.max_user_instances"
    try:
        events = inotify.Inotify()
        limit = "fs.inotify.max_user_watches"
        try:
            events.add(root)
        finally:
            events.close()
    except OSError as error:
        full = error.errno in (errno.EMFILE, errno.ENOSPC)
        return f"{limit} is used up" if full else error.strerror or str(error)
    return ""


def _number(path: str) -> int | None:
    try:
        with open(path, "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _waiting(home: ReplayDirectory) -> _Waiting:
    """The files that are to be delivered, as far as they are looked at, and for how long one of them has been there."""
    count = folders = 0
    oldest = now = time.time()
    found_stuck: list[Danger] = []

    def entered(path: bytes, fd: int) -> None:
        nonlocal folders
        folders += 1
        if path and (why := stuck(home, path, fd)) is not None:
            found_stuck.append(why)

    for _, found in files(home.root, entered=entered):
        if found is None:
            continue
        oldest = min(oldest, found.st_ctime)
        count += 1
        if count == _MOST:
            return _Waiting(count, now - oldest, folders, False, found_stuck)
    return _Waiting(count, now - oldest, folders, True, found_stuck)


def _quarantined(home: ReplayDirectory) -> int:
    try:
        return len(names(home))
    except OSError:
        return 0
