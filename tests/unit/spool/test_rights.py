"""How a command of root gets the rights of the daemon's user."""

from __future__ import annotations

import os
import pwd
from types import SimpleNamespace

import pytest

from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.rights import act_as_owner

USER, OWN_GROUP, PRODUCERS = 996, 995, 997


def test_root_gets_the_users_own_group_beside_that_of_the_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon's files, such as a login, belong to its own group; the directory belongs to the producers'."""
    done: dict[str, object] = {}
    owner = SimpleNamespace(st_uid=USER, st_gid=PRODUCERS)
    account = SimpleNamespace(pw_name="syncdaemon", pw_gid=OWN_GROUP)
    directory: ReplayDirectory = SimpleNamespace(own=3)  # type: ignore[assignment]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", lambda _: owner)
        patch.setattr(os, "geteuid", lambda: 0)
        patch.setattr(pwd, "getpwuid", lambda _: account)
        patch.setattr(os, "initgroups", lambda name, group: done.update(groups=(name, group)))
        patch.setattr(os, "setegid", lambda group: done.update(group=group))
        patch.setattr(os, "seteuid", lambda user: done.update(user=user))
        act_as_owner(directory)
    assert done == {"groups": ("syncdaemon", OWN_GROUP), "group": PRODUCERS, "user": USER}
