"""The calls on files that more than one part relies on."""

from __future__ import annotations

import errno
import fcntl
import importlib
import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from syncdaemon.base import disk
from syncdaemon.base.disk import is_locked, lock_file, read_small, rename_new, sync, sync_data, write_durably


@pytest.fixture(params=["renameat2", "link", "neither"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One that knows RENAME_NOREPLACE, one that has hard links instead, and one without both."""

    def unknown(*_: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    if request.param != "renameat2":
        monkeypatch.setattr(disk, "_renameat2", unknown)
    if request.param == "neither":
        monkeypatch.setattr(os, "link", no_links)
    return str(request.param)


@pytest.mark.usefixtures("file_system")
def test_a_file_gets_its_new_name(tmp_path: Path) -> None:
    """And loses the old one."""
    source, target = tmp_path / "a\n\udcff", tmp_path / "b"
    source.write_bytes(b"evidence")
    rename_new(os.fsencode(source), os.fsencode(target))

    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert target.read_bytes() == b"evidence"


@pytest.mark.usefixtures("file_system")
def test_a_folder_gets_its_new_name(tmp_path: Path) -> None:
    """With all that is in it."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/inside").write_bytes(b"evidence")
    rename_new(os.fsencode(tmp_path / "a"), os.fsencode(tmp_path / "b"))

    assert (tmp_path / "b/inside").read_bytes() == b"evidence"


@pytest.mark.usefixtures("file_system")
@pytest.mark.parametrize("there", ["file", "folder", "symlink"])
def test_nothing_is_ever_overwritten(tmp_path: Path, there: str) -> None:
    """Not even a symlink that points nowhere."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"evidence")
    if there == "file":
        target.write_bytes(b"another")
    elif there == "folder":
        target.mkdir()
    else:
        target.symlink_to("nowhere")

    with pytest.raises(FileExistsError):
        rename_new(os.fsencode(source), os.fsencode(target))
    assert source.read_bytes() == b"evidence"
    assert there != "file" or target.read_bytes() == b"another"
    assert target.is_symlink() == (there == "symlink")


@pytest.mark.usefixtures("file_system")
def test_what_is_not_there_cannot_be_renamed(tmp_path: Path) -> None:
    """The error is the usual one."""
    with pytest.raises(FileNotFoundError):
        rename_new(os.fsencode(tmp_path / "a"), os.fsencode(tmp_path / "b"))


def test_a_lock_is_seen_and_not_disturbed(tmp_path: Path) -> None:
    """By a look from outside, as often as one likes."""
    path = tmp_path / "lock"
    assert not is_locked(path)
    fd = lock_file(path)
    assert is_locked(path)
    assert is_locked(path)
    os.close(fd)
    assert not is_locked(path)


def test_a_look_at_the_lock_does_not_keep_a_daemon_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the lock for an instant, and who takes it waits that out."""
    path = tmp_path / "lock"
    os.close(lock_file(path))
    looking = os.open(path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda _: os.close(looking))

    os.close(lock_file(path))


def test_a_lock_that_is_held_is_refused(tmp_path: Path) -> None:
    """After a moment, not for ever."""
    fd = lock_file(tmp_path / "lock")
    with pytest.raises(BlockingIOError):
        lock_file(tmp_path / "lock")
    os.close(fd)


@pytest.mark.parametrize("by", ["its path", "the folder's descriptor"])
def test_nothing_is_written_through_what_lies_at_the_temporary_name(tmp_path: Path, by: str) -> None:
    """A symlink that somebody planted, a hard link, or the rest of a crash: the temporary file is always a new one."""
    ledger = tmp_path / "ledger"
    ledger.write_bytes(b"rows")
    temporary = tmp_path / "x.reason.json.tmp"
    for plant in (partial(os.symlink, ledger), partial(os.link, ledger), partial(shutil.copy, ledger)):
        plant(temporary)
        if by == "its path":
            write_durably(os.fsencode(tmp_path / "x.reason.json"), b"{}")
        else:
            folder = os.open(tmp_path, os.O_RDONLY)
            write_durably(b"x.reason.json", b"{}", folder)
            os.close(folder)
        assert (tmp_path / "x.reason.json").read_bytes() == b"{}"
        assert not (tmp_path / "x.reason.json").is_symlink()
        assert ledger.read_bytes() == b"rows"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger", "x.reason.json"]


def test_a_lock_is_never_taken_through_a_symlink_or_on_what_is_no_file(tmp_path: Path) -> None:
    """Nor is one seen there."""
    target = tmp_path / "target"
    fd = lock_file(target)
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "dangling", "pipe"):
        with pytest.raises(OSError, match=f"{os.strerror(errno.ELOOP)}|is not a file"):
            lock_file(tmp_path / name)
        assert not is_locked(tmp_path / name)
    assert not (tmp_path / "nowhere").exists()
    os.close(fd)


def test_a_small_file_is_read_to_its_end_and_nothing_else_is(tmp_path: Path) -> None:
    """Neither through a symlink, nor from a pipe without a writer, nor more than is good for our memory."""
    (tmp_path / "file").write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    folder = os.open(tmp_path, os.O_PATH)
    assert read_small(b"file", folder, 100) == b"x" * 100
    for name, most in ((b"file", 99), (b"link", 100), (b"pipe", 100), (b"folder", 100), (b"nothing", 100)):
        with pytest.raises(OSError, match=r"."):
            read_small(name, folder, most)
    os.close(folder)


@pytest.mark.parametrize("known", [True, False])
def test_on_macos_what_is_synced_is_past_the_disks_own_memory(
    known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By F_FULLFSYNC, which is 51 there, and where a file system does not know that, by fsync(2)."""
    asked: list[object] = []

    def control(fd: int, command: int) -> None:
        asked.append(command)
        if not known:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", lambda fd: asked.append("fsync"))
    monkeypatch.delattr(os, "fdatasync", raising=False)
    with (tmp_path / "file").open("wb") as file:
        sync(file.fileno())
        sync_data(file.fileno())
    assert asked == ([51, 51] if known else [51, "fsync", 51, "fsync"])


def test_a_sync_that_fails_is_no_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a file system that does not know the call gets another one: a disk that fails must not look well."""

    def control(fd: int, command: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", control)
    with (tmp_path / "file").open("wb") as file, pytest.raises(OSError, match=os.strerror(errno.EIO)):
        sync(file.fileno())


def test_macos_renames_by_its_own_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """renameatx_np(2) takes other numbers: AT_FDCWD is -2 there, and RENAME_EXCL is 4."""
    asked: list[tuple[object, ...]] = []

    class Apple:
        @staticmethod
        def renameatx_np(*arguments: object) -> int:
            asked.append(arguments)
            return 0

    try:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "platform", "darwin")
            importlib.reload(disk)
            patch.setattr(disk, "_LIBC", Apple)
            disk.rename_new(b"a", b"b")
            disk.rename_new(b"a", b"b", 5, 6)
    finally:
        importlib.reload(disk)
    assert asked == [(-2, b"a", -2, b"b", 4), (5, b"a", 6, b"b", 4)]
