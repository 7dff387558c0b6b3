"""Files and folders below an open folder. No symlink is ever followed on the way to them.

The kernel does it in one call where it can: openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, Linux 5.6. Where
it can't, or where a container's seccomp filter forbids that call, each component of the path is opened by itself with
O_NOFOLLOW. Both ways give the same answers. Only Linux has O_PATH, which opens a folder without the right to list it;
elsewhere (macOS) that right is needed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from syncdaemon.base.disk import sync

TOP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
"""How the folder is opened that all paths begin at. Its own path may lead over symlinks."""

FOLDER = TOP | os.O_NOFOLLOW
"""How a folder is opened whose names are looked up. Where there is O_PATH, that needs no right to list it."""

LISTING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a folder is opened that is listed or synced."""

_OPENAT2 = 437  # openat2(2); the number is the same on all architectures but Alpha
_RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x04, 0x08
_PATH_MAX = 4096  # bytes of a path, with the zero at its end, that the kernel takes in one call
_SHORT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_STRAYS = (b"", b".", b"..")  # components that would lead to the folder itself or out of it


class _How(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
_syscall.restype = ctypes.c_long
_in_one_call: bool | None = None  # whether the kernel knows openat2; None: it was not asked yet


def open_beneath(root: int, path: bytes, flags: int) -> int:
    """Opens what is at `path`, relative to the open folder `root`; an empty path is `root` itself.

    Raises OSError: ELOOP or ENOTDIR where a symlink is on the way or at its end, EXDEV where the path leads out of
    `root`. Raises ValueError where the path holds a zero byte.
    """
    if not path:
        return os.open(b".", flags | os.O_CLOEXEC, dir_fd=root)
    if b"/" in path and _kernel_can(root):
        try:
            return _openat2(root, path, flags)
        except BlockingIOError:  # something was renamed on the way just now, and the kernel is not sure
            pass
    return _step_by_step(root, path, flags)


def lstat_beneath(root: int, path: bytes) -> os.stat_result:
    """What is at `path`, relative to the open folder `root`; a symlink at its end is told as one.

    Raises OSError and ValueError as `open_beneath`.
    """
    if b"/" not in path:
        return os.stat(_plain(path, path), dir_fd=root, follow_symlinks=False)
    _must_be_short(path)
    above, _, name = path.rpartition(b"/")
    folder = open_beneath(root, _plain(above, path), FOLDER)
    try:
        return os.stat(_plain(name, path), dir_fd=folder, follow_symlinks=False)
    finally:
        os.close(folder)


def make_beneath(root: int, path: bytes, mode: int = 0o750, made: Callable[[int], object] | None = None) -> int:
    """Opens a folder by its descriptor, and makes it and what is missing above it, each durable in its parent.

    `made` is called with the descriptor of each folder that was missing.

    Raises OSError: FileExistsError or NotADirectoryError where a name on the way is a file's or a symlink's.
    """
    try:
        return open_beneath(root, path, LISTING)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
        raise
    above, _, name = path.rpartition(b"/")
    parent = make_beneath(root, above, mode, made)
    try:
        return _made(parent, _plain(name, path), mode, made)
    finally:
        os.close(parent)


def _made(parent: int, name: bytes, mode: int, made: Callable[[int], object] | None) -> int:
    is_new = False
    with suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=parent)
        is_new = True
        sync(parent)
    fd = os.open(name, LISTING, dir_fd=parent)
    try:
        if is_new and made is not None:
            made(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def names_in(folder: int) -> list[bytes]:
    """The names in an open folder. It is opened once more, since threads that list one descriptor share a position."""
    fd = os.open(b".", LISTING, dir_fd=folder)
    try:
        return [os.fsencode(name) for name in os.listdir(fd)]
    finally:
        os.close(fd)


def _kernel_can(root: int) -> bool:
    global _in_one_call
    if sys.platform != "linux":  # the number is another call's there
        return False
    if _in_one_call is None:
        try:
            os.close(_openat2(root, b".", TOP))
            _in_one_call = True
        except OSError as error:  # ENOSYS, or whatever a filter says
            if error.errno in _SHORT_OF:
                return False
            _in_one_call = False
    return _in_one_call


def _openat2(root: int, path: bytes, flags: int) -> int:
    if b"\0" in path:
        raise ValueError("embedded null byte")
    how = _How(flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS)
    while (fd := _syscall(_OPENAT2, root, path, ctypes.byref(how), ctypes.sizeof(how))) < 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), path)
    return int(fd)


def _step_by_step(root: int, path: bytes, flags: int) -> int:
    _must_be_short(path)
    *folders, name = path.split(b"/")
    at = root
    try:
        for folder in folders:
            below = os.open(_plain(folder, path), FOLDER, dir_fd=at)
            if at != root:
                os.close(at)
            at = below
        return os.open(_plain(name, path), flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    finally:
        if at != root:
            os.close(at)


def _must_be_short(path: bytes) -> None:
    if len(path) >= _PATH_MAX:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)


def _plain(name: bytes, path: bytes) -> bytes:
    if name in _STRAYS:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    return name
