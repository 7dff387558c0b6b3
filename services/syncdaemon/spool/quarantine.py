"""The quarantine: files that can't be delivered, each with the reason beside it.

A name there is a sidecar if it ends in `.reason.json` and the file of the name before that is there; every other
name is a refused file, whatever it is called.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from syncdaemon.base.beneath import names_in
from syncdaemon.base.disk import PRIVATE, fsync_dir, read_small, write_durably
from syncdaemon.base.model import Content, Refusal
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.moves import NAME_MAX, At, free_name, move, stamp_of

SIDECAR = b".reason.json"
_LONGEST = NAME_MAX - len(SIDECAR) - 8  # leaves room for the sidecar's ending and a number
_LARGEST_SIDECAR = 1 << 20  # bytes: many times the longest path and error text
_FIELDS = {"path": str, "reason": str, "error": str, "attempts": int, "first": str, "last": str, "sha256": str}
_SAME_TICK_NS = 1_000_000_000  # a folder that changed so lately may change again without another mtime


class Entry(NamedTuple):
    """A file in quarantine, with what its sidecar says.

    `path` in raw bytes, relative to the replay directory. `problem`: what is wrong with the sidecar; what it
    does not tell is empty then, and 0 attempts.
    """

    name: bytes
    size: int
    path: bytes
    reason: str
    error: str
    attempts: int
    first: str
    last: str
    sha256: str
    problem: str


class Quarantine:
    """Sets files aside, and knows how many there are."""

    def __init__(self, directory: ReplayDirectory) -> None:
        self._directory = directory
        self._seen_ns: int | None = None
        self.count = 0

    def load(self) -> None:
        """Removes what a crash left, and counts."""
        clean(self._directory)
        self.count_again()

    def count_again(self) -> None:
        """Counts again if something was added or taken away, by us or by anyone else."""
        changed_ns = os.fstat(self._directory.quarantine).st_mtime_ns
        if changed_ns != self._seen_ns:
            self.count = len(names(self._directory))
            self._seen_ns = changed_ns if time.time_ns() - changed_ns > _SAME_TICK_NS else None

    def set_aside(self, refusal: Refusal, first: str, last: str) -> None:
        """Moves a refused file here, its sidecar first: a file never lies here without its reason.

        `first` and `last`: when it was first tried and when it was refused, RFC 3339. A file that is gone, or
        another version by now, needs nothing. Raises OSError where it can't be moved; it is where it was then.
        """
        content = refusal.content
        name = os.path.basename(content.path)
        if len(name) > _LONGEST:
            name = name[: _LONGEST - 1] + b"~"  # cut off at a .tmp, it would be called like an unfinished sidecar
        folder = self._directory.quarantine
        target = At(folder, free_name(At(folder, name), SIDECAR))
        sidecar = {
            "reason": refusal.reason,
            "error": refusal.detail,
            "attempts": content.attempts,
            "first": first,
            "last": last,
            "sha256": content.sha256,
            "path": content.name,
            "size": content.stamp.size,
        }
        text = json.dumps(sidecar, indent=2, sort_keys=True).encode() + b"\n"
        write_durably(target.name + SIDECAR, text, folder, PRIVATE)
        moved = False
        try:
            moved = self._move(content, target)
        finally:
            if not moved:
                os.unlink(target.name + SIDECAR, dir_fd=folder)
            fsync_dir(folder)
        self.count += moved

    def _move(self, content: Content, target: At) -> bool:
        """Whether the file was there, in the version that was refused, and is at `target` now. Raises OSError."""
        folders = self._directory.folders
        try:
            above = folders.again(content.path, content.folder)
        except (FileNotFoundError, NotADirectoryError):
            return False
        source = At(above.fd, os.path.basename(content.path))
        known = content.stamp if content.stamp.ino else stamp_of(source.name, source.folder)
        return known is not None and move(source, target, known)


def clean(directory: ReplayDirectory) -> None:
    """Removes what a crash left of setting a file aside: a reason whose file was not moved, or a part of one."""
    folder = directory.quarantine
    there = set(names_in(folder))
    for name in there:
        alone = name.endswith(SIDECAR) and name.removesuffix(SIDECAR) not in there and name + SIDECAR not in there
        if name.endswith(SIDECAR + b".tmp") or (alone and not _read(folder, name)[1]):
            os.unlink(name, dir_fd=folder)


def names(directory: ReplayDirectory) -> list[bytes]:
    """The refused files, by name. Raises OSError."""
    folder = directory.quarantine
    there = {name for name in names_in(folder) if stamp_of(name, folder, files_only=True) is not None}
    return sorted(name for name in there if not _is_sidecar(folder, name, there))


def _is_sidecar(folder: int, name: bytes, there: set[bytes]) -> bool:
    if not name.endswith(SIDECAR):
        return name.endswith(SIDECAR + b".tmp")
    if name.removesuffix(SIDECAR) in there:
        return True
    # Alone: the reason of a file that is just being moved here, or a file whose own reason somebody removed.
    return name + SIDECAR not in there and not _read(folder, name)[1]


def entries(directory: ReplayDirectory) -> list[Entry]:
    """The refused files with their reasons, by name; none where nothing was ever refused. Raises OSError."""
    try:
        there = names(directory)
    except FileNotFoundError:
        return []
    return [found for name in there if (found := _entry(directory.quarantine, name)) is not None]


def _entry(folder: int, name: bytes) -> Entry | None:
    if (stamp := stamp_of(name, folder)) is None:  # put back, or removed, since the folder was listed
        return None
    sidecar, problem = _read(folder, name + SIDECAR)
    path = unquote_to_bytes(sidecar.pop("path", ""))
    return Entry(name=name, size=stamp.size, path=path, problem=problem, **{**_NOTHING, **sidecar})


_NOTHING: dict[str, Any] = {"reason": "", "error": "", "attempts": 0, "first": "", "last": "", "sha256": ""}


def _read(folder: int, name: bytes) -> tuple[dict[str, Any], str]:
    """What a sidecar says, as far as it can be read, and what is wrong with it."""
    try:
        sidecar = json.loads(read_small(name, folder, _LARGEST_SIDECAR))
    except FileNotFoundError:
        return {}, "no sidecar"
    except OSError as error:
        return {}, f"the sidecar can't be read: {error.strerror}"
    except (ValueError, RecursionError):
        return {}, "the sidecar is damaged: not JSON"
    if not isinstance(sidecar, dict):
        return {}, "the sidecar is damaged: not a JSON object"
    good = {name: sidecar[name] for name, kind in _FIELDS.items() if type(sidecar.get(name)) is kind}
    if not good.get("path", "").isascii():  # ours are percent-encoded
        del good["path"]
    missing = [name for name in _FIELDS if name not in good]
    return good, f"the sidecar is damaged: no {', '.join(missing)}" if missing else ""
