"""The watch of a real folder: what it sees of files, in any thread, and what it does not claim to have seen."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.spool import inotify
from syncdaemon.spool.settle import Came
from syncdaemon.spool.tree import Tree
from tests.support.process import eventually


class Watched:
    """A tree that is being watched in a thread of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.told = threading.Event()
        self.fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
        self.tree = Tree(self.fd, time.time_ns, self.told.set, OnceAMinute())
        self.thread = threading.Thread(target=self.tree.run)
        self.thread.start()
        assert self.told.wait(10)

    def came(self, path: str | bytes) -> Came:
        """What was seen of a file, a moment after its last change."""
        time.sleep(0.05)
        path = os.fsencode(path)
        return self.tree.came(path, os.lstat(os.path.join(os.fsencode(self.root), path)).st_ctime_ns)

    def folders(self, count: int) -> None:
        """Waits until so many are watched."""
        eventually(lambda: self.tree.folders == count, 5, f"{count} folders are watched")

    def stop(self) -> None:
        self.tree.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()
        os.close(self.fd)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A folder with one folder in it; all descriptors are given back at the end."""
    (tmp_path / "a").mkdir()
    before = os.listdir("/proc/self/fd")
    made = Watched(tmp_path)
    yield made
    made.stop()
    assert os.listdir("/proc/self/fd") == before


def test_a_file_is_open_until_it_is_closed(watched: Watched) -> None:
    with (watched.root / "a" / "f").open("wb", buffering=0) as file:
        assert watched.came("a/f") is Came.MADE
        file.write(b"x")
        assert watched.came("a/f") is Came.OPEN
    assert watched.came("a/f") is Came.ENDED
    (watched.root / "a" / "f").chmod(0o600)
    assert watched.came("a/f") is Came.ENDED


def test_a_name_that_is_no_utf8_is_just_a_name(watched: Watched) -> None:
    name = b"a/\xff\xfe"
    with open(os.path.join(os.fsencode(watched.root), name), "wb"):
        pass
    assert watched.came(name) is Came.ENDED
    assert watched.tree.news()[name]


def test_a_change_that_raised_no_event_is_not_overlooked(watched: Watched) -> None:
    """A writer by another name of the same file, or on another machine: the end that was seen counts no more."""
    (watched.root / ".other").write_bytes(b"one")
    os.link(watched.root / ".other", watched.root / ".g")
    os.rename(watched.root / ".g", watched.root / "g")
    assert watched.came("g") is Came.ENDED
    with (watched.root / ".other").open("ab", buffering=0) as other:
        other.write(b"two")
        assert watched.came("g") is Came.NOTHING


def test_a_second_link_is_not_an_end(watched: Watched) -> None:
    (watched.root / ".f").write_bytes(b"whole?")
    os.link(watched.root / ".f", watched.root / "f")
    assert watched.came("f") is Came.MADE


def test_a_folder_that_is_renamed_into_place_brings_whole_files(watched: Watched) -> None:
    """But for those that were changed later than that; the folders in it are watched too."""
    (watched.root / ".in" / "deep").mkdir(parents=True)
    for name in ("f", "deep/f", "deep/changed"):
        (watched.root / ".in" / name).write_bytes(b"x")
    time.sleep(0.05)
    (watched.root / ".in").rename(watched.root / "in")
    time.sleep(0.05)
    with (watched.root / "in" / "deep" / "changed").open("ab", buffering=0) as file:
        file.write(b"y")
        eventually(lambda: b"in" in watched.tree.news(), 5, "the folder is told of")
        assert watched.tree.folders == 4
        assert watched.came("in/f") is Came.ENDED
        assert watched.came("in/deep/f") is Came.ENDED
        assert watched.came("in/deep/changed") in (Came.OPEN, Came.NOTHING)
        file.write(b"z")
        assert watched.came("in/deep/changed") is Came.OPEN


def test_files_in_a_folder_that_was_filled_after_it_came_are_not_claimed(tmp_path: Path, watched: Watched) -> None:
    """A file is put into it at once, in place, before its watch can be on: of none is it known."""
    (watched.root / ".in").mkdir()
    (watched.root / ".in").rename(watched.root / "in")
    with (watched.root / "in" / "f").open("wb", buffering=0) as file:
        file.write(b"first half")
        watched.folders(3)
        assert watched.came("in/f") is not Came.ENDED


def test_a_folder_that_moves_keeps_what_was_seen(watched: Watched) -> None:
    with (watched.root / "a" / "f").open("wb", buffering=0) as file:
        file.write(b"x")
        (watched.root / "a").rename(watched.root / "b")
        (watched.root / "a").mkdir()
        (watched.root / "a" / "f").write_bytes(b"another")
        assert watched.came("b/f") is Came.OPEN
    assert watched.came("b/f") is Came.ENDED


def test_a_symlink_is_not_followed(tmp_path_factory: pytest.TempPathFactory, watched: Watched) -> None:
    """Not even where a folder was when its event came."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (watched.root / "link").symlink_to(elsewhere)
    (watched.root / "a").rename(watched.root / ".a")
    (watched.root / "a").symlink_to(elsewhere)
    watched.folders(1)
    (elsewhere / "f").write_bytes(b"secret")
    time.sleep(0.1)
    assert {b"a/f", b"link/f"} & watched.tree.news().keys() == set()


def test_a_deep_tree_costs_no_descriptors(watched: Watched) -> None:
    """However deep it is."""
    path = "/".join("d" * 200)
    (watched.root / ".deep" / path).mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    (watched.root / ".deep").rename(watched.root / "deep")
    watched.folders(203)
    assert len(os.listdir("/proc/self/fd")) == before


def test_lost_events_end_the_watch_and_nothing_is_claimed_after(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    (watched.root / "f").write_bytes(b"x")
    assert watched.came("f") is Came.ENDED
    overflow = [inotify.Event(-1, inotify.OVERFLOW, 0, b"")]
    monkeypatch.setattr(watched.tree._inotify, "read", lambda: overflow)
    (watched.root / "f").touch()
    watched.thread.join(10)
    with pytest.raises(OSError, match="max_queued_events"):
        watched.tree.news()
    assert watched.came("f") is Came.NOTHING


def test_what_is_no_folder_can_not_be_watched(tmp_path: Path) -> None:
    told = threading.Event()
    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    tree = Tree(fd, time.time_ns, told.set, OnceAMinute())
    tree.run()
    os.close(fd)
    assert told.is_set()
    with pytest.raises(NotADirectoryError):
        tree.news()


def test_every_event_is_counted_before_it_is_told_what_was_seen(watched: Watched) -> None:
    """However late the thread is: whoever asks takes in what is there."""
    for number in range(200):
        path = watched.root / f"{number}"
        path.write_bytes(b"x")
        ctime_ns = path.stat().st_ctime_ns
        time.sleep(0.021)
        assert watched.tree.came(b"%d" % number, ctime_ns) is Came.ENDED
