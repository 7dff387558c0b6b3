"""Putting a file into the replay directory the way a producer should: under a hidden name, then renamed.

A rename tells the daemon that the file is complete, whoever its user is; a second link would not. The copy keeps the
time of its original, and the daemon can read it, whatever the umask.

The replay directory is a producer's, who may move it or put another in its place at any time. So it is opened once,
and all names are looked up in what was opened (openat(2), renameat2(2)).
"""

from __future__ import annotations

import asyncio
import os
import secrets
import select
import stat
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiofiles
from aiofiles.os import wrap

from syncdaemon.base.beneath import make_beneath
from syncdaemon.base.disk import rename_new, sync
from syncdaemon.base.errors import SyncError
from syncdaemon.spool import settle
from syncdaemon.spool.grant import ALL, READ, DaemonUser, daemon_user, grant

_PIECE = 1 << 20  # bytes that are copied in one go
_MODE = 0o666  # as for any new file: the umask takes its part away
_FOLDER_MODE = 0o777
_LONGEST = 255  # bytes of a name
_WAIT_SECONDS = 0.2  # at most until an interrupt ends a read from a pipe
_STRAYS = (b"", b".", b"..")

_fsync = wrap(sync)
_rename_new = wrap(rename_new)
_make_beneath = wrap(make_beneath)


class PutError(SyncError):
    """The file was not put; the text says why."""


class NoReplayDirectory(PutError):
    """Nor can any other file be put there."""


async def put(source: Path | int, replay_dir: Path, name: bytes = b"") -> Path:
    """Copies `source` into the replay directory, complete or not at all; where it is now.

    `source`: a file, or a descriptor that is read to its end, as that of standard input. `name`: the path below the
    replay directory, if not the file's own name; folders that are missing are made.

    Raises PutError where that can't be, or where a file of that name still waits there.
    """
    shown = "standard input" if isinstance(source, int) else str(source)
    if not name and isinstance(source, Path):
        name = os.fsencode(source.name)
    if any(part in _STRAYS or len(part) > _LONGEST for part in name.split(b"/")) or b"\0" in name:
        raise PutError(f"{shown}: {os.fsdecode(name)!r} is no path below the replay directory")
    if settle.path_ignored(name):
        raise PutError(f"{shown}: a file of this name is never taken; rename it")
    target = replay_dir / os.fsdecode(name)
    root = _opened_directory(replay_dir)
    try:
        await _put(source, root, name)
    except FileExistsError:
        raise PutError(f"{target}: a file of this name still waits there; rename yours, or wait") from None
    except OSError as error:
        raise PutError(f"{shown}: not put into {replay_dir}: {error.strerror}") from None
    finally:
        os.close(root)
    return target


def _opened_directory(replay_dir: Path) -> int:
    try:
        return os.open(replay_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise NoReplayDirectory(f"SYNC_REPLAY_DIR: {replay_dir} is not a directory") from None
    except OSError as error:
        raise NoReplayDirectory(f"SYNC_REPLAY_DIR: {replay_dir} can't be opened: {error.strerror}") from None


async def _put(source: Path | int, root: int, path: bytes) -> None:
    daemon = daemon_user(root)
    above, _, name = path.rpartition(b"/")
    grant_all = partial(grant, daemon=daemon, need=ALL)
    folder = await _make_beneath(root, above, _FOLDER_MODE, grant_all) if above else root
    try:
        await _copy(source, folder, name, daemon)
    finally:
        if folder != root:
            os.close(folder)


async def _copy(source: Path | int, folder: int, name: bytes, daemon: DaemonUser) -> None:
    """Into this folder, under this name, and durable. Raises OSError; FileExistsError where the name is taken."""
    temporary = f".put-{secrets.token_hex(8)}.part"
    opener = partial(os.open, mode=_MODE, dir_fd=folder)
    reading = aiofiles.open(source, "rb", closefd=not isinstance(source, int))
    try:
        async with (
            _opened(reading) as read,
            _opened(aiofiles.open(temporary, "xb", opener=opener)) as write,
        ):
            async for piece in _pieces(read, source):
                await write.write(piece)
            await write.flush()
            grant(write.fileno(), daemon, READ)
            _keep_time(read.fileno(), write.fileno())
            await _fsync(write.fileno())
        await _rename_new(os.fsencode(temporary), name, folder, folder)
    finally:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
    await _fsync(folder)


async def _pieces(read: Any, source: Path | int) -> AsyncIterator[bytes]:
    """All bytes. A thread that waits for a descriptor can't be called back, so it never waits for long."""
    if not isinstance(source, int):
        while piece := await read.read(_PIECE):
            yield piece
        return
    while (piece := await asyncio.to_thread(_read_soon, source)) != b"":
        if piece is not None:
            yield piece


def _read_soon(fd: int) -> bytes | None:
    """What can be read; None where nothing came yet, empty at the end."""
    return os.read(fd, _PIECE) if select.select([fd], [], [], _WAIT_SECONDS)[0] else None


def _keep_time(original: int, copy: int) -> None:
    """The copy has the mtime of a file; what came through a pipe is as old as the copy."""
    found = os.fstat(original)
    if stat.S_ISREG(found.st_mode):
        os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))


@asynccontextmanager
async def _opened(opening: Awaitable[Any]) -> AsyncIterator[Any]:
    """The file, which is closed at the end.

    A cancellation waits until the thread has opened it. Else the thread might make the file after it was removed, or
    below another folder that has the number of ours by then.
    """
    task = asyncio.ensure_future(opening)
    try:
        await asyncio.wait((task,))
        yield task.result()
    finally:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait((task,))
        if task.exception() is None:
            await task.result().close()
