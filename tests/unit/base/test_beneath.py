"""Opening files below a folder: never through a symlink, never out of it, whether the kernel can do it in one call."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncdaemon.base import beneath
from syncdaemon.base.beneath import FOLDER, LISTING, lstat_beneath, make_beneath, names_in, open_beneath


def unknown(*_: object) -> int:
    """A kernel before Linux 5.6, or a container's filter."""
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture(params=["one call", "step by step"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the path is walked."""
    monkeypatch.setattr(beneath, "_in_one_call", None)
    if request.param == "step by step":
        monkeypatch.setattr(beneath, "_openat2", unknown)
    return str(request.param)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A directory with things in it, beside a secret; no descriptor is left open."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_bytes(b"secret")
    inside = tmp_path / "root"
    (inside / "a" / "b").mkdir(parents=True)
    (inside / "a" / "b" / "file").write_bytes(b"evidence")
    (inside / "file").write_bytes(b"evidence")
    os.symlink("../secrets", inside / "folder link")
    os.symlink("../../secrets", inside / "a" / "folder link")
    os.symlink("../secrets/key", inside / "link")
    os.symlink("b/file", inside / "a" / "link")
    before = os.listdir("/proc/self/fd")
    fd = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)
    assert os.listdir("/proc/self/fd") == before


def read(root: int, path: bytes) -> bytes:
    """What the file holds."""
    with os.fdopen(open_beneath(root, path, os.O_RDONLY), "rb") as file:
        return file.read()


def test_the_kernel_is_asked_which_way_it_knows(root: int, way: str) -> None:
    """Once; and here it knows the faster one, or this suite tests one way only."""
    assert read(root, b"a/b/file") == b"evidence"
    assert beneath._in_one_call == (way == "one call")


@pytest.mark.parametrize("path", [b"file", b"a/b/file"])
def test_a_file_is_opened(root: int, path: bytes) -> None:
    assert read(root, path) == b"evidence"
    assert lstat_beneath(root, path).st_size == 8


@pytest.mark.parametrize(
    "path", [b"folder link/key", b"a/folder link/key", b"link", b"a/link", b"folder link", b"folder link/nothing"]
)
def test_no_symlink_is_followed(root: int, path: bytes) -> None:
    """Neither on the way nor at its end, not even one that stays inside."""
    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_NONBLOCK, FOLDER, LISTING):
        with pytest.raises(OSError, match=f"{os.strerror(errno.ELOOP)}|{os.strerror(errno.ENOTDIR)}"):
            os.close(open_beneath(root, path, flags))


@pytest.mark.parametrize("path", [b"..", b"../secrets/key", b"a/../../secrets/key", b"a/b/../../../secrets/key"])
def test_no_path_leads_out(root: int, path: bytes) -> None:
    """Whoever made it up."""
    for open_it in (lambda: read(root, path), lambda: lstat_beneath(root, path)):
        with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
            open_it()


def test_an_absolute_path_leads_out(root: int, tmp_path: Path) -> None:
    for path in (b"/etc/passwd", os.fsencode(tmp_path / "secrets" / "key")):
        with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
            read(root, path)


def test_a_zero_byte_ends_no_path(root: int) -> None:
    """For the kernel it would."""
    for path in (b"a/b/file\0x", b"file\0x"):
        with pytest.raises(ValueError, match="null"):
            open_beneath(root, path, os.O_RDONLY)


@pytest.mark.parametrize("path", [b"nothing", b"a/nothing", b"no/where"])
def test_what_is_not_there_is_missing(root: int, path: bytes) -> None:
    with pytest.raises(FileNotFoundError):
        open_beneath(root, path, os.O_RDONLY)
    with pytest.raises(FileNotFoundError):
        lstat_beneath(root, path)


def test_a_path_that_is_too_long_is_too_long_either_way(root: int) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):
        open_beneath(root, b"/".join([b"a" * 250] * 20), os.O_RDONLY)


def test_a_symlink_is_told_as_one(root: int) -> None:
    """`lstat` says what is at the end of the path; on the way to it there is none."""
    assert stat.S_ISLNK(lstat_beneath(root, b"link").st_mode)
    assert stat.S_ISLNK(lstat_beneath(root, b"a/link").st_mode)
    with pytest.raises(OSError, match=f"{os.strerror(errno.ELOOP)}|{os.strerror(errno.ENOTDIR)}"):
        lstat_beneath(root, b"folder link/key")


def test_a_folder_is_made_with_those_above_it(root: int) -> None:
    """One that is there is fine."""
    for _ in range(2):
        os.close(make_beneath(root, b"new/deep/folder"))
    assert sorted(names_in(root)) == sorted([b"a", b"file", b"folder link", b"link", b"new"])


@pytest.mark.parametrize("path", [b"folder link/new", b"a/folder link/new", b"link", b"file/new", b"a/b/file"])
def test_no_folder_is_made_through_a_symlink_or_a_file(root: int, tmp_path: Path, path: bytes) -> None:
    with pytest.raises((NotADirectoryError, FileExistsError)):
        os.close(make_beneath(root, path))
    assert os.listdir(tmp_path / "secrets") == ["key"]
