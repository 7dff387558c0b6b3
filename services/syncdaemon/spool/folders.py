"""The folders below the replay directory, each open by a descriptor while its files are on their way.

A file is read in its folder and moved out of the very same one, whatever somebody does to the names above it meanwhile:
renames the folder, puts another in its place, or a symlink to a folder that is none of the producer's business.
"""

from __future__ import annotations

import os
import resource
from collections import OrderedDict
from typing import NamedTuple

from syncdaemon.base.beneath import FOLDER, lstat_beneath, open_beneath
from syncdaemon.base.model import UNKNOWN_FOLDER, FolderId, Stamp

MOST = 128
"""Folders that are open at once, for all batches together; fewer where the process may open few files."""

_SHARE = 4  # they take at most this part of the descriptors that the process may have


class FolderReplaced(OSError):
    """Another folder is at the path of the one that a file was read in."""


class OpenFolder(NamedTuple):
    """An open folder, and which one it is."""

    fd: int
    id: FolderId


class OpenFolders:
    """The folders below `root`, the descriptor of the replay directory. For one thread, but for `open_alone`.

    A folder that was used stays open until so many others were used after it. So it is mostly still open when its files
    are moved. If it is not, it is opened again, and counts only if it is the same one.
    """

    def __init__(self, root: int) -> None:
        self.root = OpenFolder(root, _id(root))
        self._most = min(MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE)
        self._open: OrderedDict[FolderId, OpenFolder] = OrderedDict()  # the one that was not used for longest first
        self._here: dict[bytes, OpenFolder] = {b"": self.root}

    def close(self) -> None:
        """Closes them all, but for `root`, which is the caller's."""
        self.begin()
        while self._open:
            os.close(self._open.popitem()[1].fd)

    def begin(self) -> None:
        """A batch begins: what is at a path is looked up anew, once for the batch."""
        self._here = {b"": self.root}

    def full(self, path: bytes) -> bool:
        """Whether the batch has to end before it reads in the folder at `path`."""
        return path not in self._here and len(self._here) > self._most

    def enter(self, path: bytes) -> OpenFolder:
        """The folder that is at this path, in this batch. Raises OSError."""
        if (folder := self._here.get(path)) is None:
            folder = self._here[path] = self._keep(open_beneath(self.root.fd, path, FOLDER))
        return folder

    def open_here(self, path: bytes, flags: int) -> tuple[int, FolderId]:
        """Opens the file at `path`, and says in which folder it was. Raises OSError."""
        above, _, name = path.rpartition(b"/")
        folder = self.enter(above)
        return os.open(name, flags, dir_fd=folder.fd), folder.id

    def open_alone(self, path: bytes, flags: int) -> tuple[int, FolderId]:
        """As `open_here`, for any thread and without a batch: its folder is closed again."""
        above, _, name = path.rpartition(b"/")
        fd = open_beneath(self.root.fd, above, FOLDER)
        try:
            return os.open(name, flags, dir_fd=fd), _id(fd)
        finally:
            os.close(fd)

    def stamp_at(self, path: bytes) -> Stamp:
        """The version of what is at a path now. Raises OSError; ValueError where no file can have this name."""
        found = lstat_beneath(self.root.fd, path)
        return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def again(self, path: bytes, known: FolderId) -> OpenFolder:
        """The folder that a file at `path` was read in; where none is `known`, the one that is there.

        Raises FolderReplaced, or another OSError where there is none.
        """
        if known == self.root.id:
            return self.root
        if known in self._open:
            self._open.move_to_end(known)
            return self._open[known]
        fd = open_beneath(self.root.fd, path.rpartition(b"/")[0], FOLDER)
        found = _id(fd)
        if known not in (found, UNKNOWN_FOLDER):
            os.close(fd)
            raise FolderReplaced(None, "its folder was moved, or replaced by another one")
        return self._keep(fd)

    def _keep(self, fd: int) -> OpenFolder:
        which = _id(fd)
        if which in self._open:
            os.close(fd)
            self._open.move_to_end(which)
            return self._open[which]
        while len(self._open) >= self._most:
            os.close(self._open.popitem(last=False)[1].fd)
        folder = self._open[which] = OpenFolder(fd, which)
        return folder


def _id(fd: int) -> FolderId:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino
