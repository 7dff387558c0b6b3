"""The few calls on files that have to survive a power cut, and the locks between processes.

Two of them have another name on macOS, and one is missing there. This is the only module that calls them.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How a file is opened that another process may be writing to: neither through a symlink, nor waiting for the other end
of a pipe."""

PRIVATE = 0o600
"""The mode of a file that no other user has to do with."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOKS, _LOOK_SECONDS = 5, 0.02  # a process that only looks whether a file is locked has it for an instant
_LIBC = ctypes.CDLL(None, use_errno=True)
if sys.platform == "darwin":  # renameatx_np(2); the numbers are those of <sys/fcntl.h> and <sys/stdio.h>
    _RENAME, _WORKING_DIRECTORY, _ONLY_NEW = "renameatx_np", -2, 0x4
else:  # renameat2(2)
    _RENAME, _WORKING_DIRECTORY, _ONLY_NEW = "renameat2", -100, 0x1
# EPERM: also what a container's seccomp filter says. ENOTSUP: what macOS says of a file system that can't.
_NO_SUCH_RENAME = (errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.ENOTSUP)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
_NO_FULL_SYNC = (errno.ENOTSUP, errno.ENOTTY, errno.EINVAL)


def lock_file(path: bytes | Path, folder: int | None = None, mode: int = 0o640) -> int:
    """Makes the file if need be, with `mode`, and locks it for as long as the descriptor that is returned is open.

    `folder`: the descriptor of the folder that `path` begins at. Raises BlockingIOError where another process has it,
    OSError where it can't be made, is a symlink or is no file.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode, dir_fd=folder)
    try:
        _must_be_file(fd, path)
        for _ in range(_LOOKS - 1):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return fd
            except BlockingIOError:
                time.sleep(_LOOK_SECONDS)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def is_locked(path: bytes | Path, folder: int | None = None) -> bool:
    """Whether a process has locked this file. One that is not there, or can't be opened, is not."""
    try:
        fd = os.open(path, READ, dir_fd=folder)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _must_be_file(fd: int, path: bytes | Path) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(errno.EINVAL, "is not a file", path)


def rename_new(
    source: bytes, target: bytes, source_folder: int | None = None, target_folder: int | None = None
) -> None:
    """Renames a file or folder, and never onto something that is there.

    In one step where the file system can (renameat2(2) with RENAME_NOREPLACE; on macOS renameatx_np(2) with
    RENAME_EXCL); else by a second hard link, with both names there for an instant; where there is neither, by looking
    first. The folders are descriptors; without them a path begins at the working directory.

    Raises FileExistsError where `target` is taken, OSError where it can't be done; nothing has changed then.
    """
    try:
        _renameat2(source, target, source_folder, target_folder)
    except OSError as error:
        if error.errno not in _NO_SUCH_RENAME:
            raise
        _rename_by_link(source, target, source_folder, target_folder)


def _renameat2(source: bytes, target: bytes, source_folder: int | None, target_folder: int | None) -> None:
    function = getattr(_LIBC, _RENAME, None)
    if function is None:  # glibc before 2.28, musl before 1.2.5
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    folders = (_WORKING_DIRECTORY if folder is None else folder for folder in (source_folder, target_folder))
    if function(next(folders), source, next(folders), target, _ONLY_NEW):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), source, None, target)


def _rename_by_link(source: bytes, target: bytes, source_folder: int | None, target_folder: int | None) -> None:
    try:
        os.link(source, target, src_dir_fd=source_folder, dst_dir_fd=target_folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with suppress(FileNotFoundError):
            os.stat(target, dir_fd=target_folder, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.rename(source, target, src_dir_fd=source_folder, dst_dir_fd=target_folder)
    else:
        os.unlink(source, dir_fd=source_folder)


def sync(fd: int) -> None:
    """Returns when the disk has what was written to this file, or what was done in this folder. Raises OSError.

    On macOS fsync(2) leaves it in the disk's own memory, which a power cut empties; F_FULLFSYNC of fcntl(2) does not.
    A file system that has no F_FULLFSYNC gets fsync(2).
    """
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is None:
        os.fsync(fd)
        return
    try:
        fcntl.fcntl(fd, full)
    except OSError as error:
        if error.errno not in _NO_FULL_SYNC:
            raise
        os.fsync(fd)


def sync_data(fd: int) -> None:
    """As `sync`, but what is not needed to read the data, such as the file's times, may be left out."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        sync(fd)


def begin_sync(fd: int) -> None:
    """Tells the kernel that what was written to this file may go to the disk now, and does not wait for it.

    A hint: nothing is durable by it, and macOS has no such call.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Writes all of it: a disk that gets full takes a part first, and refuses only the next write. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_durably(path: bytes, data: bytes, folder: int | None = None, mode: int = 0o640) -> None:
    """Writes a whole file so that after a power cut there is all of it, or none.

    `folder`: the descriptor of the folder that `path` begins at. The temporary file is always a new one: what lies at
    its name is removed, be it the rest of a crash or a symlink, and nothing is written through it.
    """
    temporary = path + b".tmp"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)
    fd = os.open(temporary, _NEW, mode, dir_fd=folder)
    try:
        write_all(fd, data)
        sync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path, src_dir_fd=folder, dst_dir_fd=folder)
    fsync_dir(os.path.dirname(path) if folder is None else folder)


def read_small(name: bytes, folder: int, most: int) -> bytes:
    """The whole of a small file, at this name in the open folder.

    Raises OSError where it is a symlink, no file, or larger than `most` bytes.
    """
    fd = os.open(name, READ, dir_fd=folder)
    try:
        _must_be_file(fd, name)
        data = b""
        while len(data) <= most and (more := os.read(fd, most + 1 - len(data))):
            data += more
    finally:
        os.close(fd)
    if len(data) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), name)
    return data


def make_dirs(path: bytes, root: bytes = b"/") -> None:
    """Makes a folder and what is missing between it and `root`, each durable in its parent. One that is there is fine.

    Raises OSError; FileExistsError or NotADirectoryError where a name on the way is a file's, FileNotFoundError where
    `root` is missing.
    """
    if os.path.isdir(path):
        return
    if path == root:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    parent = os.path.dirname(path)
    make_dirs(parent, root)
    os.mkdir(path, 0o750)
    fsync_dir(parent)


def fsync_dir(folder: bytes | Path | int) -> None:
    """Makes the renames, creations and removals in this folder durable: the one at a path, or of a descriptor."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    fd = os.open(b".", flags, dir_fd=folder) if isinstance(folder, int) else os.open(folder, flags)
    try:
        sync(fd)
    finally:
        os.close(fd)
