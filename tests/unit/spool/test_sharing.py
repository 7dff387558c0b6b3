"""What is said of a directory that several users write to, and that its cure makes nothing worse."""

from __future__ import annotations

import pytest

from syncdaemon.base.model import Owned
from syncdaemon.spool.sharing import danger_of, stuck_in

DAEMON, OTHER, GROUP = 10001, 10002, 10003


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o2750, 0o3770, 0o1777, 0o1770])
def test_a_directory_in_which_others_can_do_no_harm_is_fine(mode: int) -> None:
    """They may not write to it; or it is sticky, and ours, so that we may move what is in it."""
    assert danger_of("/replay", Owned(mode, DAEMON, GROUP), DAEMON) is None


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o2770, 0o757])
def test_without_the_sticky_bit_others_can_replace_what_is_in_it(mode: int) -> None:
    """Also our own folder."""
    danger = danger_of("/replay", Owned(mode, DAEMON, GROUP), DAEMON)
    assert danger is not None
    assert "each can rename or remove the files of the others and .syncdaemon" in danger.said
    assert "chmod 3770 /replay" in danger.cure
    assert "chown" not in danger.cure
    assert ("chgrp GROUP /replay" in danger.cure) == bool(mode & 0o002)


@pytest.mark.parametrize("mode", [0o777, 0o2775, 0o1777, 0o3770, 0o1755])
def test_the_sticky_bit_is_never_advised_where_another_user_stays_the_owner(mode: int) -> None:
    """The daemon could let go of nothing then: it becomes the owner first."""
    danger = danger_of("/replay", Owned(mode, OTHER, GROUP), DAEMON)
    assert danger is not None
    assert danger.cure.startswith(f"chown {DAEMON} /replay && ")
    assert danger.cure.index("chown") < danger.cure.index("chmod")
    assert ("can move nothing out of it" in danger.said) == bool(mode & 0o1000)


def test_root_may_move_what_it_likes() -> None:
    """So a sticky directory of another user is fine for it."""
    assert danger_of("/replay", Owned(0o1777, OTHER, GROUP), 0) is None
    assert danger_of("/replay", Owned(0o777, 0, 0), 0) is not None


def test_the_commands_can_be_pasted_into_a_shell() -> None:
    danger = danger_of("/my replay; rm -rf /", Owned(0o770, DAEMON, GROUP), DAEMON)
    assert danger is not None
    assert danger.cure == "chmod 3770 '/my replay; rm -rf /'"


def test_a_folder_that_nothing_can_be_moved_out_of() -> None:
    """A sticky one of another user loses the bit; into the others the daemon comes by the group."""
    sticky = stuck_in("/replay/a", Owned(0o1777, OTHER, OTHER), DAEMON, GROUP)
    assert sticky.cure == "chmod -t /replay/a"
    closed = stuck_in("/replay/a", Owned(0o755, OTHER, OTHER), DAEMON, GROUP)
    assert closed.said == f"/replay/a belongs to user {OTHER}, and user {DAEMON} may not write to it"
    assert closed.cure.startswith(f"chgrp {GROUP} /replay/a && chmod 2770 /replay/a")
