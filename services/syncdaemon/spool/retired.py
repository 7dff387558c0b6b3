"""Many delivered files, moved out of the way at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from syncdaemon.base.disk import fsync_dir
from syncdaemon.base.model import Receipt
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.moves import At, move
from syncdaemon.spool.rights import stuck
from syncdaemon.spool.sharing import Danger


class Retired(NamedTuple):
    """`moved`: how many files were moved away. `kept`: receipts whose file could not be moved, with the cause.

    `unsynced`: why a power cut may bring moved files back, which are known by their rows then; empty where it can't.
    """

    moved: int
    kept: list[tuple[Receipt, str]]
    unsynced: str = ""


def move_all(
    directory: ReplayDirectory, receipts: Iterable[Receipt], target: int, name_of: Callable[[Receipt], bytes]
) -> Retired:
    """Moves the file of each receipt out of the folder that it was read in, to its name in the folder `target`.

    Durable when it returns, unless `unsynced` says otherwise.
    """
    folders = directory.folders
    moved, unsynced = 0, ""
    kept: list[tuple[Receipt, str]] = []
    for receipt in receipts:
        content = receipt.content
        try:
            above, _, name = content.path.rpartition(b"/")
            folder = folders.again(content.path, content.folder).fd
            try:
                moved += move(At(folder, name), At(target, name_of(receipt)), content.stamp)
            except PermissionError as error:
                kept.append((receipt, _denied(error, stuck(directory, above, folder))))
        except OSError as error:
            kept.append((receipt, error.strerror or str(error)))
    if moved:
        try:
            fsync_dir(target)
        except OSError as error:
            unsynced = error.strerror or str(error)
    return Retired(moved, kept, unsynced)


def _denied(error: PermissionError, danger: Danger | None) -> str:
    said = error.strerror or str(error)
    return f"{said}: {danger.said}; {danger.cure}" if danger else said
