"""A closed day is compressed. Its plain file goes only when the compressed one was read back, and is on the disk.

After a crash both may lie side by side: whole and equal, or without the compressed one under its name. One that is not
equal was not made here, and neither of the two is touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from syncdaemon.base.disk import fsync_dir, rename_new, sync
from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.base.packing import pack_stream
from syncdaemon.ledger.day_files import PACKED, open_day

_PIECE = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def compress(plain: Path, rest: Callable[[], None]) -> Path:
    """Puts the compressed file of a closed day in the place of its plain one.

    `rest` is called between pieces of 1 MiB; what it raises ends the work, and another call begins it anew.
    Raises OSError where the disk does not take it; LedgerDamaged where a compressed file of that day is there that
    holds something else, or where the day can't be read. The plain file is there then.
    """
    packed = plain.with_name(plain.name + PACKED)
    if not os.path.lexists(packed):
        _make(plain, packed, rest)
    elif not _are_equal(plain, packed, rest):
        raise LedgerDamaged(
            f"{plain} and {packed} hold different rows of the same day: neither was touched; find out which one is "
            "right (`syncdaemon verify` reads the first), and move the other away"
        )
    _sync_file(packed)
    fsync_dir(plain.parent)
    os.unlink(plain)
    fsync_dir(plain.parent)
    return packed


def _make(plain: Path, packed: Path, rest: Callable[[], None]) -> None:
    temporary = packed.with_name(f".{packed.name}")  # a name that no reader takes for a day
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        with open_day(plain) as source, os.fdopen(os.open(temporary, _NEW, 0o640), "wb") as target:
            pack_stream(source, target.write, rest, _PIECE)
            target.flush()
            sync(target.fileno())
        if not _are_equal(plain, temporary, rest):
            raise LedgerDamaged(f"{temporary} does not read back as {plain}: the disk or the memory is not sound")
        rename_new(os.fsencode(temporary), os.fsencode(packed))
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _are_equal(plain: Path, packed: Path, rest: Callable[[], None]) -> bool:
    """Raises LedgerDamaged where one of them can't be read."""
    with open_day(plain) as one, open_day(packed) as other:
        while True:
            rest()
            piece = one.read(_PIECE)
            if piece != other.read(_PIECE):
                return False
            if not piece:
                return True


def _sync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)
