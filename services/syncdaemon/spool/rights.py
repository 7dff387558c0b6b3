"""What the daemon may do in the replay directory, and what other users may, looked up by descriptors."""

from __future__ import annotations

import os
import pwd
import stat

from syncdaemon.base.model import Owned
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.sharing import Danger, danger_of, stuck_in

_ROOT = 0


def act_as_owner(directory: ReplayDirectory) -> None:
    """For a command that root calls: from here on it has the rights of the daemon's user, and makes its files.

    Raises OSError where no daemon has run here yet.
    """
    owner = os.fstat(directory.own)
    if os.geteuid() == _ROOT and owner.st_uid:
        try:
            user = pwd.getpwuid(owner.st_uid)  # its own group is another one where the directory has the producers'
            os.initgroups(user.pw_name, user.pw_gid)
        except KeyError:  # a user that has no name here
            os.setgroups([owner.st_gid])
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)


def danger(directory: ReplayDirectory) -> Danger | None:
    """What other users can do in the directory as it is, and the cure; None where they can do no harm."""
    try:
        user = os.fstat(directory.own).st_uid
    except OSError:  # no daemon has run here yet
        user = os.geteuid()
    return danger_of(os.fsdecode(directory.replay_dir), _owned(directory.root), user)


def stuck(directory: ReplayDirectory, path: bytes, fd: int) -> Danger | None:
    """Why this process can't rename files out of the folder at `path`, open as `fd`; None where it can."""
    found, user = _owned(fd), os.geteuid()
    sticky = found.mode & stat.S_ISVTX and user not in (found.user, _ROOT)
    if not sticky and os.access(b".", os.W_OK | os.X_OK, dir_fd=fd, effective_ids=True):
        return None
    shown = os.fsdecode(os.path.join(directory.replay_dir, path))
    return stuck_in(shown, found, user, _owned(directory.root).group)


def _owned(fd: int) -> Owned:
    found = os.fstat(fd)
    return Owned(found.st_mode, found.st_uid, found.st_gid)
