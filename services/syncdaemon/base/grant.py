"""The rights that the daemon needs to a file or folder that somebody else puts into the replay directory.

Who the daemon is, is read from the directory: `.syncdaemon` is its own, and the whole directory where it has never run.
"""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import suppress
from typing import NamedTuple

from syncdaemon.base.model import Owned
from syncdaemon.base.taken import OWN_FOLDER

READ, ALL = 0o4, 0o7
"""Of a file the daemon needs the first; of a folder the second, since it moves files out of it."""

_ROOT = 0
_SEARCH = 0o1


class NotGranted(OSError):
    """The daemon would not have the rights that it needs; the text says why."""


class DaemonUser(NamedTuple):
    """The user whom the daemon runs as.

    `groups`: those that it is in for certain. `known`: nobody else can have made us believe this. `alone`: no user but
    those of the replay directory's group gets through that directory.
    """

    uid: int
    groups: frozenset[int]
    known: bool
    alone: bool


def daemon_user(root: int) -> DaemonUser:
    """Of the replay directory that is open as `root`. Raises OSError."""
    place = os.fstat(root)
    try:
        uid = os.stat(OWN_FOLDER, dir_fd=root, follow_symlinks=False).st_uid
    except FileNotFoundError:
        uid = place.st_uid
    groups = set(_groups_by_name(uid))
    if uid != place.st_uid and not place.st_mode & stat.S_IWOTH:
        groups.add(place.st_gid)  # else it could not have made anything there
    known = uid in (place.st_uid, _ROOT, os.geteuid())
    return DaemonUser(uid, frozenset(groups), known, not place.st_mode & _SEARCH)


def _groups_by_name(uid: int) -> list[int]:
    try:
        user = pwd.getpwuid(uid)
        return os.getgrouplist(user.pw_name, user.pw_gid)
    except (KeyError, OSError):
        return []


def mode_for(found: Owned, daemon: DaemonUser, need: int) -> int | None:
    """The mode with which the daemon has the rights `need`; None where it would take rights for all users.

    Users who do not get through the replay directory count for nothing. Pure.
    """
    if daemon.uid == _ROOT:
        return found.mode
    if daemon.uid == found.user:
        return found.mode | need << 6
    if found.group in daemon.groups:
        return found.mode | need << 3
    for_any = need << 3 | need
    return found.mode | for_any if daemon.alone or found.mode & for_any == for_any else None


def grant(fd: int, daemon: DaemonUser, need: int) -> None:
    """Gives the daemon these rights to what is open and was just made by us. Root gives it to the daemon altogether.

    Raises NotGranted.
    """
    if os.geteuid() == _ROOT and daemon.known and daemon.uid:
        with suppress(OSError):  # not in every container
            os.fchown(fd, daemon.uid, -1)
    before = _owned(fd)
    mode = mode_for(before, daemon, need)
    if mode is not None and mode != before.mode:
        with suppress(OSError):  # what matters is what it is then
            os.fchmod(fd, mode)
    if mode is None or _owned(fd).mode & mode != mode:
        remedy = "put it with umask 022, or as the daemon's user"
        raise NotGranted(
            None, f"the daemon, user {daemon.uid}, could not read it with the mode {before.mode:04o}; {remedy}"
        )


def _owned(fd: int) -> Owned:
    found = os.fstat(fd)
    return Owned(stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
