"""Names in the replay directory: those that are never taken, and the daemon's own. Pure."""

from __future__ import annotations

from collections.abc import Iterable

OWN_FOLDER = b".syncdaemon"
"""The daemon's own folder in the replay directory."""

SOCKET = b"socket"
"""The local door in that folder."""

IGNORED_ENDINGS = (b".tmp", b".part", b".partial")
LONGEST = 255
"""Bytes of a name."""

_STRAYS = (b"", b".", b"..")


def ignored(name: bytes) -> bool:
    """Whether a file or folder of this name is none of ours: hidden, or a producer's work in progress."""
    return name.startswith(b".") or name.endswith(IGNORED_ENDINGS)


def path_ignored(path: bytes) -> bool:
    """Whether the file at this relative path is none of ours: by its own name, or by a folder above it."""
    *folders, name = path.split(b"/")
    return ignored(name) or _hidden(folders)


def leads_below(path: bytes) -> bool:
    """Whether this is a relative path of names that a file system takes, and leads to no other place."""
    return not any(part in _STRAYS or len(part) > LONGEST for part in path.split(b"/")) and b"\0" not in path


def _hidden(folders: Iterable[bytes]) -> bool:
    return any(folder.startswith(b".") for folder in folders)
