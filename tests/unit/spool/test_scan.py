"""The scan, on a real file system: what it takes, what it counts, and where it cuts."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncdaemon.base import taken
from syncdaemon.base.beneath import open_beneath
from syncdaemon.spool import scan as module
from syncdaemon.spool.backlog import Listing
from syncdaemon.spool.scan import files, scan

NONE: frozenset[bytes] = frozenset()
FUTURE = 1 << 62
PLENTY = 1000


def put(root: Path, path: bytes, mtime_ns: int = 0) -> bytes:
    """A file below `root`, with its folders; the full path."""
    full = os.path.join(os.fsencode(root), path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as file:
        file.write(path)
    os.utime(full, ns=(0, mtime_ns))
    return full


@contextmanager
def opened(root: Path) -> Iterator[int]:
    """The descriptor of a directory, as the daemon has it."""
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def look(root: Path, mine: frozenset[bytes] = NONE, room: int = PLENTY, since_ns: int = FUTURE) -> Listing:
    """A scan, the oldest first."""
    with opened(root) as fd:
        return scan(fd, mine, room, False, since_ns)


def found(root: Path) -> list[bytes]:
    """The names of all that a scan takes, sorted."""
    return sorted(path for _, path in look(root).first)


def test_an_empty_directory_holds_nothing(tmp_path: Path) -> None:
    """No files, none missing, nothing odd."""
    assert look(tmp_path) == Listing([], set(), 0, set(), 0)


def test_files_come_in_order_of_their_mtime(tmp_path: Path) -> None:
    """The oldest first, to the nanosecond; by name where two are equal."""
    for path, mtime_ns in ((b"b", 5), (b"a", 5), (b"c", 4), (b"sub/d", 6), (b"z", 10**18 + 1), (b"y", 10**18 + 2)):
        put(tmp_path, path, mtime_ns)

    order = [b"c", b"a", b"b", b"sub/d", b"z", b"y"]
    assert [path for _, path in look(tmp_path).first] == order
    assert [key for key, _ in look(tmp_path).first] == [4, 5, 5, 6, 10**18 + 1, 10**18 + 2]


def test_the_newest_come_first_where_asked(tmp_path: Path) -> None:
    """The order is turned round, and the cut with it."""
    for number in range(5):
        put(tmp_path, b"%d" % number, number)

    with opened(tmp_path) as fd:
        listing = scan(fd, NONE, 2, True, FUTURE)
    assert listing.first == [(-4, b"4"), (-3, b"3")]
    assert listing.beyond == 3


def test_nested_folders_are_searched(tmp_path: Path) -> None:
    """Folders at any depth, whatever they are called, unless they are hidden."""
    paths = [b"a", b"b/c", b"b/d/e/f/g", b"x.tmp/taken", b"y.partial/z.part/taken", b" /\xff"]
    for path in paths:
        put(tmp_path, path)
    (tmp_path / "empty").mkdir()

    assert found(tmp_path) == sorted(paths)


def test_hidden_names_and_work_in_progress_are_ignored(tmp_path: Path) -> None:
    """They are neither taken nor counted as odd, and hidden folders are not entered."""
    ignored = [b".a", b".git/config", b"b/.c/d", b"a.tmp", b"a.part", b"b/a.partial", b".syncdaemon/held/1/x"]
    for path in ignored:
        put(tmp_path, path)
    os.symlink("a", tmp_path / ".link")
    os.symlink("a", tmp_path / "link.tmp")
    put(tmp_path, b"b/taken")

    seen = look(tmp_path)
    assert seen == Listing([(0, b"b/taken")], set(), 0, set(), 0, arrived={b"b/taken": seen.arrived[b"b/taken"]})


def test_a_name_that_is_no_utf8_is_taken_as_it_is(tmp_path: Path) -> None:
    """The file system's bytes go through untouched: nothing is decoded."""
    names = [b"\xff\xfe", b"caf\xe9", b"a\nb", b"\x01", "ü".encode(), b"a" * 255]
    for name in names:
        put(tmp_path, name)

    assert found(tmp_path) == sorted(names)


def test_everything_that_is_no_file_is_counted_as_odd(tmp_path: Path) -> None:
    """Symlinks to files, to folders and to nowhere, pipes and sockets: not taken, not followed, not hung on."""
    put(tmp_path, b"file")
    put(tmp_path, b"folder/inside")
    os.symlink("file", tmp_path / "to_a_file")
    os.symlink("folder", tmp_path / "to_a_folder")
    os.symlink(tmp_path, tmp_path / "folder" / "round")
    os.symlink("nowhere", tmp_path / "dangling")
    os.mkfifo(tmp_path / "pipe")
    os.mknod(tmp_path / "socket", stat.S_IFSOCK | 0o600)

    listing = look(tmp_path)
    assert listing.odd == 6
    assert found(tmp_path) == [b"file", b"folder/inside"]


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    """A size of nought is a size."""
    (tmp_path / "empty").touch()

    assert found(tmp_path) == [b"empty"]


def test_what_the_backlog_has_already_is_not_told_again(tmp_path: Path) -> None:
    """Only what of it is missing is."""
    for path in (b"a", b"b", b"sub/c", b"sub/d"):
        put(tmp_path, path)

    listing = look(tmp_path, mine=frozenset([b"a", b"sub/c", b"gone", b"sub/gone", b"nowhere/gone"]))
    assert [path for _, path in listing.first] == [b"b", b"sub/d"]
    assert listing.missing == {b"gone", b"sub/gone", b"nowhere/gone"}
    assert listing.beyond == 0


def test_no_room_means_that_all_are_counted(tmp_path: Path) -> None:
    """A full backlog learns how many there are, and none by name."""
    for number in range(7):
        put(tmp_path, b"%d" % number)

    assert look(tmp_path, room=0) == Listing([], set(), 7, set(), 0)


def test_a_file_beyond_that_is_as_young_as_the_scan_is_named(tmp_path: Path) -> None:
    """Its event may still come, and must not count it a second time; the bound itself is young."""
    full = put(tmp_path, b"file", 5)
    ctime_ns = os.stat(full).st_ctime_ns

    assert look(tmp_path, room=0, since_ns=ctime_ns).fresh == {b"file"}
    assert look(tmp_path, room=0, since_ns=ctime_ns - 1).fresh == {b"file"}
    assert look(tmp_path, room=0, since_ns=ctime_ns + 1).fresh == set()
    assert look(tmp_path, room=1, since_ns=ctime_ns).fresh == set(), "it is known by name"


names = st.sampled_from([b"%s%d" % (folder, number) for folder in (b"", b"a/", b"b/c/") for number in range(12)])


@settings(max_examples=60)
@given(
    st.dictionaries(names, st.integers(0, 9), max_size=30),
    st.sets(names, max_size=10),
    st.integers(0, 12),
    st.booleans(),
    st.booleans(),
)
def test_the_cut_is_what_sorting_all_would_give(
    directory: dict[bytes, int], mine: set[bytes], room: int, newest_first: bool, all_fresh: bool
) -> None:
    """However many there are and in whatever order they are found: the first ones by name, the rest by number."""
    with tempfile.TemporaryDirectory() as root:
        for path, mtime_ns in directory.items():
            put(Path(root), path, mtime_ns)
        with opened(Path(root)) as fd:
            listing = scan(fd, frozenset(mine), room, newest_first, 0 if all_fresh else FUTURE)

    sign = -1 if newest_first else 1
    others = sorted((sign * mtime_ns, path) for path, mtime_ns in directory.items() if path not in mine)
    assert listing.first == others[:room]
    assert listing.beyond == len(others[room:])
    assert listing.missing == mine - directory.keys()
    assert listing.fresh == ({path for _, path in others[room:]} if all_fresh else set())
    assert listing.odd == 0


components = st.sampled_from([b"a", b"b", b".c", b"d.tmp", b"e.part", b"f.partial", b"\xff", b".tmp"])


@settings(max_examples=40)
@given(st.sets(st.lists(components, min_size=1, max_size=3).map(b"/".join), max_size=12))
def test_a_scan_takes_what_an_event_would(paths: set[bytes]) -> None:
    """`taken.path_ignored` judges the paths of events, the scan walks: both draw the same line."""
    with tempfile.TemporaryDirectory() as root:
        made = []
        for path in sorted(paths):
            try:
                put(Path(root), path)
            except OSError:  # the name is a file above, or a folder already
                continue
            made.append(path)
        assert found(Path(root)) == sorted(path for path in made if not taken.path_ignored(path))


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    """A mount that went away must not look like an empty directory."""
    with pytest.raises(FileNotFoundError):
        look(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        look(tmp_path / "file")


def test_a_folder_that_cannot_be_read_is_skipped_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One closed folder does not hold up the others; the directory itself, if it can't be read, is an error."""
    for path in (b"a/1", b"closed/2", b"b/3"):
        put(tmp_path, path)
    real, closed = open_beneath, [b"closed"]

    def opening(root: int, path: bytes, flags: int) -> int:
        if path in closed:
            raise PermissionError(13, "Permission denied")
        return real(root, path, flags)

    monkeypatch.setattr(module, "open_beneath", opening)
    assert found(tmp_path) == [b"a/1", b"b/3"]
    seen = look(tmp_path)
    assert (seen.unread, seen.unread_folders, seen.unread_one) == (1, 1, "closed/: Permission denied")
    closed.append(b"b")
    assert look(tmp_path).unread == 2
    closed.append(b"")
    with pytest.raises(PermissionError):
        look(tmp_path)


def test_what_vanishes_on_the_way_is_skipped(tmp_path: Path) -> None:
    """Files and folders that were listed and are gone when it is their turn."""
    for path in (b"1", b"2", b"3", b"folder/4"):
        put(tmp_path, path)
    with opened(tmp_path) as fd:
        entries: Iterator[Any] = files(fd)
        next(entries)
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()

        assert list(entries) == []


def test_one_folder_can_be_searched_by_itself(tmp_path: Path) -> None:
    """With the paths still relative to the directory; one that is gone is empty."""
    for path in (b"a", b"b/c", b"b/d/e", b"b/.f"):
        put(tmp_path, path)

    with opened(tmp_path) as fd:
        assert sorted(path for path, _ in files(fd, b"b/")) == [b"b/c", b"b/d/e"]
        assert list(files(fd, b"nowhere/")) == []
