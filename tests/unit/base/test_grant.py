"""Which mode lets the daemon read a file of somebody else, and whom else it never lets in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncdaemon.base.grant import ALL, READ, DaemonUser, NotGranted, daemon_user, grant, mode_for
from syncdaemon.base.model import Owned

DAEMON, PRODUCER, GROUP = 10_001, 10_002, 10_003


@pytest.mark.parametrize(
    ("uid", "groups", "alone", "before", "owner", "after"),
    [
        (0, (), False, 0o600, PRODUCER, 0o600),  # root reads anything
        (DAEMON, (), False, 0o200, DAEMON, 0o600),
        (DAEMON, (GROUP,), False, 0o600, PRODUCER, 0o640),
        (DAEMON, (), True, 0o600, PRODUCER, 0o644),  # nobody else gets through the directory
        (DAEMON, (), False, 0o644, PRODUCER, 0o644),  # everybody can already
        (DAEMON, (), False, 0o600, PRODUCER, None),
        (DAEMON, (), False, 0o640, PRODUCER, None),  # it may be in that group, or not
    ],
)
def test_the_mode_of_a_file(
    uid: int, groups: tuple[int, ...], alone: bool, before: int, owner: int, after: int | None
) -> None:
    """Never more than the daemon needs."""
    daemon = DaemonUser(uid, frozenset(groups), True, alone)
    assert mode_for(Owned(before, owner, GROUP), daemon, READ) == after


def test_a_folder_needs_all_rights() -> None:
    """The daemon moves files out of it."""
    daemon = DaemonUser(DAEMON, frozenset({GROUP}), True, False)
    assert mode_for(Owned(0o2700, PRODUCER, GROUP), daemon, ALL) == 0o2770


def test_the_daemon_is_whoever_owns_its_folder(tmp_path: Path) -> None:
    """Or the directory, where it has never run. The directory's group is its own if it could not write there else."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        tmp_path.chmod(0o700)
        assert daemon_user(fd)[2:] == (True, True)
        assert daemon_user(fd).uid == os.geteuid()
        (tmp_path / ".syncdaemon").mkdir()
        if os.geteuid() == 0:
            os.chown(tmp_path, 0, GROUP)
            tmp_path.chmod(0o2775)
            os.chown(tmp_path / ".syncdaemon", DAEMON, GROUP)
            assert daemon_user(fd) == DaemonUser(DAEMON, frozenset({GROUP}), False, False)
            tmp_path.chmod(0o777)
            assert daemon_user(fd) == DaemonUser(DAEMON, frozenset(), False, False)
    finally:
        os.close(fd)


def test_a_file_system_without_modes_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is the mode that the file has in the end."""
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: None)
    monkeypatch.setattr(os, "fchown", lambda fd, uid, gid: None)
    fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        with pytest.raises(NotGranted) as refused:
            grant(fd, DaemonUser(DAEMON, frozenset(), True, True), READ)
        assert "could not read it with the mode 0600" in str(refused.value.strerror)
    finally:
        os.close(fd)
