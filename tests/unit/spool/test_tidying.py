"""The life of the archive and of empty folders: what goes, what stays, and what nobody can make us delete."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncdaemon.base.keep import Keep
from syncdaemon.spool.archive_life import ArchiveLife, Deleted
from syncdaemon.spool.empty_folders import EmptyFolders
from syncdaemon.spool.home import ReplayDirectory

DAY = 86_400


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[ReplayDirectory]:
    home = ReplayDirectory(os.fsencode(tmp_path))
    home.open()
    yield home
    home.close()


def archived(root: Path, ago: float, name: str, size: int = 100) -> Path:
    """A file that was archived so many days ago, by the folder of its day."""
    day = time.strftime("%Y%m%d", time.gmtime(time.time() - ago * DAY))
    path = root / ".syncdaemon/archive" / day / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def left(*paths: Path) -> list[bool]:
    return [path.exists() for path in paths]


def test_what_is_older_than_kept_goes_and_its_folders_with_it(directory: ReplayDirectory, tmp_path: Path) -> None:
    old, deep, young = archived(tmp_path, 40, "a"), archived(tmp_path, 40, "b/c/d"), archived(tmp_path, 3, "a")
    assert ArchiveLife(directory, Keep(seconds=30 * DAY), 0).once() == Deleted(2, 200)
    assert left(old, deep, young) == [False, False, True]
    assert sorted(path.name for path in (tmp_path / ".syncdaemon/archive").iterdir()) == [young.parent.name]


def test_of_what_is_too_much_the_oldest_goes_first(directory: ReplayDirectory, tmp_path: Path) -> None:
    """By day, and within a day by the time of its archiving; no more than has to go."""
    files = [archived(tmp_path, 5, "b"), archived(tmp_path, 4, "z")]
    time.sleep(0.02)
    files += [archived(tmp_path, 4, "sub/a"), archived(tmp_path, 0, "y")]
    assert ArchiveLife(directory, Keep(size=250), 0).once() == Deleted(2, 200)
    assert left(*files) == [False, False, True, True]
    assert ArchiveLife(directory, Keep(size=250), 0).once() == Deleted(0, 0)


@pytest.mark.parametrize("keep", [Keep(seconds=1), Keep(size=1)])
def test_what_the_server_could_still_lose_stays(directory: ReplayDirectory, tmp_path: Path, keep: Keep) -> None:
    """As for a file that is held: for SYNC_HOLD_SECONDS nothing is deleted."""
    young, old = archived(tmp_path, 0, "young"), archived(tmp_path, 2, "old")
    ArchiveLife(directory, keep, 150).once()
    assert left(young, old) == [True, False]


def test_nothing_but_the_archives_own_files_is_deleted(directory: ReplayDirectory, tmp_path: Path) -> None:
    """Neither what a symlink leads to, nor what is no file, nor what lies beside the days."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"x" * 100)
    archived(tmp_path, 40, "a")
    archive = tmp_path / ".syncdaemon/archive"
    day = next(archive.iterdir())
    (day / "link").symlink_to(outside)
    (day / "file").symlink_to(outside / "precious")
    (archive / "20200101").symlink_to(outside)
    os.mkfifo(day / "pipe")
    stray = archive / "notes"
    stray.mkdir()
    (stray / "readme").write_bytes(b"x")
    for keep in (Keep(seconds=1), Keep(size=1)):
        ArchiveLife(directory, keep, 0).once()
    assert (outside / "precious").exists()
    assert (stray / "readme").exists()
    assert not (day / "a").exists()
    assert sorted(path.name for path in day.iterdir()) == ["file", "link", "pipe"]


def test_an_archive_that_is_a_symlink_is_not_followed(directory: ReplayDirectory, tmp_path: Path) -> None:
    outside = tmp_path / "outside/20200101"
    outside.mkdir(parents=True)
    (outside / "precious").write_bytes(b"x")
    (tmp_path / ".syncdaemon/archive").symlink_to(outside.parent)
    with pytest.raises(OSError, match=r"symbolic|directory"):
        ArchiveLife(directory, Keep(seconds=1), 0).once()
    assert (outside / "precious").exists()


def test_without_an_archive_nothing_is_done(directory: ReplayDirectory) -> None:
    assert ArchiveLife(directory, Keep(size=1), 0).once() == Deleted(0, 0)


# Empty folders.


def test_an_empty_folder_goes_when_nothing_happened_in_it_for_long(directory: ReplayDirectory, tmp_path: Path) -> None:
    """By its last change: its making, and whatever came or went. Folders with anything in them stay."""
    for name in ("old", "used", "full/inner", ".hidden/empty"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "full/file").touch()
    (tmp_path / "full/inner/.half.part").touch()
    time.sleep(0.3)
    (tmp_path / "used/file").touch()
    (tmp_path / "used/file").unlink()
    (tmp_path / "new").mkdir()
    assert EmptyFolders(directory, 0.25).once() == 1
    assert not (tmp_path / "old").exists()
    for name in ("used", "new", "full/inner", ".hidden/empty", ".syncdaemon/held"):
        assert (tmp_path / name).is_dir()


def test_a_time_that_a_producer_sets_makes_no_folder_old(directory: ReplayDirectory, tmp_path: Path) -> None:
    """The time of the last change of the folder itself can't be set (ctime)."""
    (tmp_path / "a").mkdir()
    os.utime(tmp_path / "a", (0, 0))
    assert EmptyFolders(directory, 60).once() == 0
    assert (tmp_path / "a").is_dir()


def test_a_file_that_comes_at_the_last_moment_keeps_its_folder(
    directory: ReplayDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the removal: the kernel refuses to remove a folder with anything in it."""
    (tmp_path / "a").mkdir()
    time.sleep(0.05)
    is_old = EmptyFolders._is_old

    def late(self: EmptyFolders, found: os.stat_result, now: int) -> bool:
        (tmp_path / "a/file").write_bytes(b"evidence")
        return is_old(self, found, now)

    monkeypatch.setattr(EmptyFolders, "_is_old", late)
    assert EmptyFolders(directory, 0.01).once() == 0
    assert (tmp_path / "a/file").read_bytes() == b"evidence"


def test_what_was_used_since_the_look_stays(directory: ReplayDirectory, tmp_path: Path) -> None:
    """A file came and went while other folders were looked at: the folder's time began anew."""
    (tmp_path / "a").mkdir()
    time.sleep(0.2)
    folders = EmptyFolders(directory, 0.15)
    now = directory.now_ns()
    (tmp_path / "a/file").touch()
    (tmp_path / "a/file").unlink()
    assert not folders._remove(directory.root, b"a", now)


def test_a_symlink_in_a_folders_place_is_not_followed(directory: ReplayDirectory, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    (outside / "empty").mkdir(parents=True)
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "empty").symlink_to(outside / "empty")
    time.sleep(0.05)
    assert EmptyFolders(directory, 0.01).once() == 0
    assert (outside / "empty").is_dir()
