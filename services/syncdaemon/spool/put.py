"""Putting a file into the replay directory the way a producer should: under a hidden name, then renamed."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from syncdaemon.base.disk import fsync_dir
from syncdaemon.base.errors import SyncError
from syncdaemon.spool import settle


class PutError(SyncError):
    """The file was not put; the text says why."""


def put(source: Path, replay_dir: Path) -> Path:
    """Copies `source` into the replay directory, complete or not at all; where it is now.

    Raises PutError where that can't be, or where a file of that name still waits there.
    """
    if settle.ignored(os.fsencode(source.name)):
        raise PutError(f"{source}: a file of this name is never taken; rename it")
    if not replay_dir.is_dir():
        raise PutError(f"SYNC_REPLAY_DIR: {replay_dir} is not a directory")
    target = replay_dir / source.name
    temporary = replay_dir / f".put-{secrets.token_hex(8)}.part"
    try:
        with source.open("rb") as read, temporary.open("xb") as write:
            shutil.copyfileobj(read, write, 1 << 20)
            write.flush()
            os.fsync(write.fileno())
        os.link(temporary, target)
    except FileExistsError:
        raise PutError(f"{target}: a file of this name still waits there; rename yours, or wait") from None
    except OSError as error:
        raise PutError(f"{source}: not put into {replay_dir}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    fsync_dir(replay_dir)
    return target
