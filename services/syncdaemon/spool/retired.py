"""Many delivered files, moved out of the way at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from syncdaemon.base.disk import fsync_dir
from syncdaemon.base.model import UNKNOWN_FOLDER, Receipt
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


Step = Callable[[Receipt, int, bytes], bool]
"""Moves the file of a receipt out of an open folder, where it has that name; whether it was moved. Raises OSError."""


def move_all(
    directory: ReplayDirectory, receipts: Iterable[Receipt], target: int, name_of: Callable[[Receipt], bytes]
) -> Retired:
    """Moves the file of each receipt out of the folder that it was read in, to its name in the folder `target`.

    Durable when it returns, unless `unsynced` says otherwise.
    """

    def step(receipt: Receipt, folder: int, name: bytes) -> bool:
        return move(At(folder, name), At(target, name_of(receipt)), receipt.content.stamp)

    retired = each(directory, receipts, step)
    return retired._replace(unsynced=synced(target)) if retired.moved else retired


def synced(folder: int) -> str:
    """Makes what was done in this folder durable. Returns why it could not, empty where it could."""
    try:
        fsync_dir(folder)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def each(directory: ReplayDirectory, receipts: Iterable[Receipt], step: Step) -> Retired:
    """Takes a step for the file of each receipt. Nothing of it is durable yet."""
    folders = directory.folders
    moved = 0
    kept: list[tuple[Receipt, str]] = []
    known, folder = UNKNOWN_FOLDER, -1
    for receipt in receipts:
        content = receipt.content
        try:
            above, _, name = content.path.rpartition(b"/")
            if content.folder != known or known == UNKNOWN_FOLDER:
                known = UNKNOWN_FOLDER
                folder = folders.again(content.path, content.folder).fd
                known = content.folder
            try:
                moved += step(receipt, folder, name)
            except PermissionError as error:
                kept.append((receipt, _denied(error, stuck(directory, above, folder))))
        except OSError as error:
            kept.append((receipt, error.strerror or str(error)))
    return Retired(moved, kept)


def _denied(error: PermissionError, danger: Danger | None) -> str:
    said = error.strerror or str(error)
    return f"{said}: {danger.said}; {danger.cure}" if danger else said
