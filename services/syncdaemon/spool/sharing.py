"""Who else may write to the replay directory, what they can do there, and the commands that cure it. Pure."""

from __future__ import annotations

import shlex
import stat
from typing import NamedTuple

from syncdaemon.base.model import Owned

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_ROOT = 0


class Danger(NamedTuple):
    """What is wrong with a folder, and what can happen; `cure`: the commands, for root."""

    said: str
    cure: str


def danger_of(path: str, found: Owned, user: int) -> Danger | None:
    """What is wrong with the replay directory where others write to it; None where nothing is.

    `user`: the daemon's. A directory is never given the sticky bit here while another user owns it: the daemon could
    then move nobody's files out of it but its own.
    """
    place, sticky, ours = shlex.quote(path), bool(found.mode & stat.S_ISVTX), found.user == user
    give = "" if ours else f"chown {user} {place} && "
    group = f"chgrp GROUP {place} && " if found.mode & stat.S_IWOTH else ""
    cure = f"{give}{group}chmod 3770 {place}"
    if group:
        cure += ", where GROUP is one that all producers are in"
    if sticky and not ours and user != _ROOT:
        said = f"{path} is sticky and belongs to user {found.user}: the daemon, user {user}, can move nothing out of it"
        return Danger(said, cure)
    if found.mode & _OTHERS_WRITE and not sticky:
        said = f"other users may write to {path}, and each can rename or remove the files of the others and .syncdaemon"
        return Danger(said, cure)
    return None


def stuck_in(path: str, found: Owned, user: int, group: int) -> Danger:
    """A folder below the replay directory that the daemon can't rename files out of. `group`: the producers'."""
    place = shlex.quote(path)
    if found.mode & stat.S_ISVTX and found.user != user:
        return Danger(f"{path} is sticky and belongs to user {found.user}", f"chmod -t {place}")
    said = f"{path} belongs to user {found.user}, and user {user} may not write to it"
    return Danger(said, f"chgrp {group} {place} && chmod 2770 {place}, with user {user} in group {group}")
