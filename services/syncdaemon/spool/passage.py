"""The way of a delivered file where nothing is held (`SYNC_HOLD_SECONDS=0`): out of reach, looked at, deleted.

First all files of a batch are renamed into a folder of the hold, where no name of theirs can become another file's.
`GRACE` later each is looked at and deleted, with nothing in between. A file that is not the version that was recorded
goes back to its place as a new file.

The grace is for a program that opened the file before it was renamed: what it writes in that time is seen. The folder
is synced once, behind the deletions: a rename and the deletion of the same file are then one change for the journal of
the file system. A power cut before that may bring files back, to their places or to this folder. The ledger has them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from syncdaemon.base.beneath import LISTING, names_in
from syncdaemon.base.disk import fsync_dir
from syncdaemon.base.model import Content, Receipt
from syncdaemon.spool.hold import Hold, new_bucket
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.moves import At, is_version, move_beside, there
from syncdaemon.spool.retired import Retired, each, synced

GRACE = 0.02
"""Seconds between the two."""


class Passing(NamedTuple):
    """The files of a batch that are out of reach and not looked at yet: in which folder, and under which names there.

    Beside each name stands what was recorded of the file.
    """

    folder: bytes
    files: list[tuple[bytes, Content]]


class Passed(NamedTuple):
    """`gone`: how many files are deleted. `back`: the paths of files that turned out to be changed, and are back.

    `error`: why files could not be deleted, which are held now; empty where all were. `unsynced`: as in `Retired`.
    """

    gone: int
    back: list[bytes]
    error: str = ""
    unsynced: str = ""


class Passage:
    """Deletes delivered files by way of a folder of its own, which lies among the buckets of the hold.

    So what a crash leaves in it is held at the next start, and no file is forgotten. The folder is none of the hold's
    buckets until something stays in it. For one thread.
    """

    def __init__(self, directory: ReplayDirectory, hold: Hold) -> None:
        self._directory = directory
        self._hold = hold
        self._folder = b""  # its name; empty: there is none yet

    def enter(self, receipts: Sequence[Receipt]) -> tuple[Retired, Passing]:
        """Renames the files of these receipts out of reach. `leave` is to follow, for as many batches as entered."""
        files: list[tuple[bytes, Content]] = []
        try:
            target = self._open()
        except OSError as error:
            return Retired(0, [(receipt, error.strerror or str(error)) for receipt in receipts]), Passing(b"", files)

        name_of, rename = self._hold.name_of, os.rename

        def step(receipt: Receipt, folder: int, name: bytes) -> bool:
            new = name_of(receipt)
            try:
                rename(name, new, src_dir_fd=folder, dst_dir_fd=target)
            except FileNotFoundError:
                if there(At(folder, name)):  # then it is the folder of the target that is gone
                    raise
                return False
            files.append((new, receipt.content))
            return True

        try:
            return each(self._directory, receipts, step), Passing(self._folder, files)
        finally:
            os.close(target)

    def leave(self, passing: Passing, now: float) -> Passed:
        """Deletes these files, but for those that are not what was recorded, which go back. Durable when it returns."""
        gone, back, errors = 0, list[bytes](), list[OSError]()
        if passing.folder != self._folder:  # it is the hold's by now, or an operator has removed it
            return Passed(0, back)
        try:
            folder = os.open(passing.folder, LISTING, dir_fd=self._directory.held)
        except FileNotFoundError:  # an operator has removed it just now
            return Passed(0, back)
        except OSError as error:
            self._leave_to_the_hold(len(passing.files), now)
            return Passed(0, back, str(error))
        try:
            stat, unlink = os.stat, os.unlink
            for name, content in passing.files:
                try:
                    if is_version(stat(name, dir_fd=folder, follow_symlinks=False), content.stamp):
                        unlink(name, dir_fd=folder)
                        gone += 1
                    else:
                        back.append(self._give_back(At(folder, name), content))
                except FileNotFoundError:
                    continue
                except OSError as error:
                    errors.append(error)
            if errors:
                self._leave_to_the_hold(len(names_in(folder)), now)
            unsynced = synced(folder) if passing.files else ""
        finally:
            os.close(folder)
        return Passed(gone, back, str(errors[0]) if errors else "", unsynced)

    def close(self) -> None:
        """Removes the folder, where it is empty."""
        if self._folder:
            with suppress(OSError):
                os.rmdir(self._folder, dir_fd=self._directory.held)

    def _leave_to_the_hold(self, files: int, now: float) -> None:
        self._hold.adopt(self._folder, files, now)
        self._folder = b""

    def _open(self) -> int:
        if self._folder:
            with suppress(FileNotFoundError):  # an operator may have removed it
                return os.open(self._folder, LISTING, dir_fd=self._directory.held)
        self._folder, fd = new_bucket(self._directory)
        return fd

    def _give_back(self, file: At, content: Content) -> bytes:
        """Renames a changed file to its place, or beside it; its path. Raises OSError."""
        above, _, name = content.path.rpartition(b"/")
        try:
            folders = self._directory.folders
            folder = folders.again(content.path, content.folder).fd
            name = move_beside(file, At(folder, name))
        except OSError:  # its folder is gone, or takes no file now
            return move_beside(file, At(self._directory.root, b"changed-while-held-" + file.name))
        with suppress(OSError):  # a folder that we may not list can't be synced
            fsync_dir(folder)
        return os.path.join(above, name)
