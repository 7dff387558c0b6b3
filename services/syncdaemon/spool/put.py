"""Putting a file into the replay directory the way a producer should: under a hidden name, then renamed.

A rename tells the daemon that the file is complete, whoever its user is; a second link would not.

The replay directory is a producer's, who may move it or put another in its place at any time. So it is opened once,
and all names are looked up in what was opened (openat(2), renameat2(2)).
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiofiles
from aiofiles.os import wrap

from syncdaemon.base.disk import rename_new, sync
from syncdaemon.base.errors import SyncError
from syncdaemon.spool import settle

_PIECE = 1 << 20  # bytes that are copied in one go
_MODE = 0o666  # as for any new file: the umask takes its part away

_fsync = wrap(sync)
_rename_new = wrap(rename_new)


class PutError(SyncError):
    """The file was not put; the text says why."""


async def put(source: Path, replay_dir: Path) -> Path:
    """Copies `source` into the replay directory, complete or not at all; where it is now.

    Raises PutError where that can't be, or where a file of that name still waits there.
    """
    if settle.ignored(os.fsencode(source.name)):
        raise PutError(f"{source}: a file of this name is never taken; rename it")
    try:
        folder = os.open(replay_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise PutError(f"SYNC_REPLAY_DIR: {replay_dir} is not a directory") from None
    except OSError as error:
        raise PutError(f"SYNC_REPLAY_DIR: {replay_dir} can't be opened: {error.strerror}") from None
    try:
        await _copy(source, folder)
    except FileExistsError:
        target = replay_dir / source.name
        raise PutError(f"{target}: a file of this name still waits there; rename yours, or wait") from None
    except OSError as error:
        raise PutError(f"{source}: not put into {replay_dir}: {error.strerror}") from None
    finally:
        os.close(folder)
    return replay_dir / source.name


async def _copy(source: Path, folder: int) -> None:
    """Into this folder, under its own name, and durable. Raises OSError; FileExistsError where the name is taken."""
    temporary = f".put-{secrets.token_hex(8)}.part"
    opener = partial(os.open, mode=_MODE, dir_fd=folder)
    try:
        async with (
            _opened(aiofiles.open(source, "rb")) as read,
            _opened(aiofiles.open(temporary, "xb", opener=opener)) as write,
        ):
            while piece := await read.read(_PIECE):
                await write.write(piece)
            await write.flush()
            await _fsync(write.fileno())
        await _rename_new(os.fsencode(temporary), os.fsencode(source.name), folder, folder)
    finally:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
    await _fsync(folder)


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
