"""Whether the replay directory is still the one that was locked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncdaemon.spool.home import Away, ReplayDirectory


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the directory is."""
    (tmp_path / "replay").mkdir()
    return tmp_path / "replay"


@pytest.fixture
def directory(place: Path) -> Iterator[ReplayDirectory]:
    """The daemon's own folder in it, locked."""
    directory = ReplayDirectory(os.fsencode(place))
    directory.open()
    yield directory
    directory.close()


def moved(place: Path) -> None:
    place.rename(place.with_name("away"))


def replaced(place: Path) -> None:
    moved(place)
    shutil.copytree(place.with_name("away"), place)


def emptied(place: Path) -> None:
    shutil.rmtree(place / ".syncdaemon")


@pytest.mark.parametrize("happens", [moved, replaced, emptied])
def test_another_directory_is_noticed(directory: ReplayDirectory, place: Path, happens: Callable[[Path], None]) -> None:
    """Whatever is at its path by then: nothing, a copy of it, or the same without the lock."""
    directory.check()
    happens(place)
    with pytest.raises(Away, match="is not the directory that the daemon began with"):
        directory.check()


def test_it_is_the_same_again_when_it_is_back(directory: ReplayDirectory, place: Path) -> None:
    """A name says nothing; the directory does."""
    moved(place)
    place.with_name("away").rename(place)
    directory.check()
    assert not directory.deleted()


def test_only_what_is_deleted_never_comes_back(directory: ReplayDirectory, place: Path) -> None:
    """A directory that was moved exists, and is waited for."""
    moved(place)
    assert not directory.deleted()
    shutil.rmtree(place.with_name("away"))
    assert directory.deleted()


def test_work_that_began_there_and_ended_elsewhere_does_not_count(directory: ReplayDirectory, place: Path) -> None:
    """Nor does work that did not begin there; and then it is not even begun."""
    assert directory.do(lambda: 1) == 1
    with pytest.raises(Away):
        directory.do(lambda: moved(place))
    done: list[int] = []
    with pytest.raises(Away):
        directory.do(lambda: done.append(1))
    assert not done
