"""Putting a file into the replay directory the way a producer should: under a hidden name, then renamed.

A rename tells the daemon that the file is complete, whoever its user is; a second link would not. The daemon can read
the copy, whatever the umask. The copy of a file keeps the time of its original.

The replay directory is a producer's, who may move it or put another in its place at any time. So it is opened once,
and all names are looked up in what was opened (openat(2), renameat2(2)).
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

from syncdaemon.base.beneath import make_beneath
from syncdaemon.base.disk import rename_new, sync, write_all
from syncdaemon.base.grant import ALL, READ, daemon_user, grant
from syncdaemon.base.taken import leads_below, path_ignored
from syncdaemon.base.tickets import TicketKey
from syncdaemon.client.errors import GivenUp, NoReplayDirectory, NotPut

_PIECE = 1 << 20  # bytes that are copied in one go
_MODE = 0o666  # as for any new file: the umask takes its part away
_FOLDER_MODE = 0o777
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Piece = bytes | bytearray | memoryview
Source = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO
"""What a file is made of: bytes, the path of a file, or an open file that is read to its end."""


class _Opened(NamedTuple):
    """`pieces`: all bytes. `times`: the atime and mtime that the copy is to have, in ns; None: those of now."""

    pieces: Iterable[Piece]
    times: tuple[int, int] | None = None


def put(source: Source, replay_dir: Path, name: bytes, given_up: Callable[[], bool] = bool) -> TicketKey:
    """Copies `source` into the replay directory, complete or not at all, and durable when this returns.

    `name`: the path below the replay directory; folders that are missing are made. `given_up`: whether nobody wants
    the file any more; it is asked while the file is not there yet.

    Raises NotPut, or FileExistsError where a file of that name still waits there; GivenUp.
    """
    if not leads_below(name):
        raise NotPut(f"{os.fsdecode(name)!r} is no path below the replay directory")
    if path_ignored(name):
        raise NotPut(f"{os.fsdecode(name)!r}: a file of this name is never taken; name it otherwise")
    root = opened_directory(replay_dir)
    try:
        return TicketKey.of(name, _put(source, root, name, given_up))
    except FileExistsError as error:
        target = replay_dir / os.fsdecode(name)
        words = "a file of this name still waits there; rename yours, or wait"
        raise FileExistsError(error.errno, words, str(target)) from None
    except OSError as error:
        raise NotPut(f"{os.fsdecode(name)}: not put into {replay_dir}: {error.strerror or error}") from None
    finally:
        os.close(root)


def opened_directory(replay_dir: Path) -> int:
    """The descriptor of the replay directory. Raises NoReplayDirectory."""
    try:
        return os.open(replay_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise NoReplayDirectory(f"SYNC_REPLAY_DIR: {replay_dir} is not a directory") from None
    except OSError as error:
        raise NoReplayDirectory(f"SYNC_REPLAY_DIR: {replay_dir} can't be opened: {error.strerror}") from None


def _put(source: Source, root: int, path: bytes, given_up: Callable[[], bool]) -> str:
    daemon = daemon_user(root)
    above, _, name = path.rpartition(b"/")
    folder = make_beneath(root, above, _FOLDER_MODE, partial(grant, daemon=daemon, need=ALL)) if above else root
    temporary = f".put-{secrets.token_hex(8)}.part".encode()
    try:
        try:
            fd = os.open(temporary, _NEW, _MODE, dir_fd=folder)
            try:
                digest = _write(source, fd, given_up)
                grant(fd, daemon, READ)
                sync(fd)
            finally:
                os.close(fd)
            rename_new(temporary, name, folder, folder)
        finally:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
        sync(folder)
    finally:
        if folder != root:
            os.close(folder)
    return digest


def _write(source: Source, fd: int, given_up: Callable[[], bool]) -> str:
    """All of the source, with its times; its digest."""
    digest = sha256()

    def seen(piece: Piece) -> None:
        if given_up():
            raise GivenUp("nobody wants the file any more")
        digest.update(piece)

    if isinstance(source, str | os.PathLike):
        with open(source, "rb", buffering=0) as file:
            _copy(_of_file(file), fd, seen)
    elif isinstance(source, bytes | bytearray | memoryview):
        _copy(_Opened([source]), fd, seen)
    else:
        _copy(_of_file(source), fd, seen)
    seen(b"")
    return digest.hexdigest()


def _copy(opened: _Opened, fd: int, seen: Callable[[Piece], None]) -> None:
    for piece in opened.pieces:
        seen(piece)
        write_all(fd, piece)
    if opened.times is not None:
        os.utime(fd, ns=opened.times)


def _of_file(file: BinaryIO) -> _Opened:
    """What an open file has from its position on. What is no regular file is as old as its copy."""
    try:
        found = os.fstat(file.fileno())
    except OSError:  # it has no descriptor, as one in memory
        return _Opened(_pieces(file))
    times = (found.st_atime_ns, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None
    return _Opened(_pieces(file), times)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece
