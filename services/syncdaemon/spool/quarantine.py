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

from syncdaemon.base.disk import fsync_dir, write_durably
from syncdaemon.base.model import Refusal
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.moves import NAME_MAX, free_name, move, stamp_of

SIDECAR = b".reason.json"
_LONGEST = NAME_MAX - len(SIDECAR) - 8  # leaves room for the sidecar's ending and a number
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
        changed_ns = os.stat(self._directory.quarantine).st_mtime_ns
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
        target = free_name(os.path.join(self._directory.quarantine, name), SIDECAR)
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
        write_durably(target + SIDECAR, json.dumps(sidecar, indent=2, sort_keys=True).encode() + b"\n")
        source = os.path.join(self._directory.replay_dir, content.path)
        known = content.stamp if content.stamp.ino else stamp_of(source)
        moved = False
        try:
            moved = known is not None and move(source, target, known, self._directory.path)
        finally:
            if not moved:
                os.unlink(target + SIDECAR)
            fsync_dir(self._directory.quarantine)
        self.count += moved


def clean(directory: ReplayDirectory) -> None:
    """Removes what a crash left of setting a file aside: a reason whose file was not moved, or a part of one."""
    there = set(os.listdir(directory.quarantine))
    for name in there:
        alone = name.endswith(SIDECAR) and name.removesuffix(SIDECAR) not in there and name + SIDECAR not in there
        if name.endswith(SIDECAR + b".tmp") or (alone and not _read(os.path.join(directory.quarantine, name))[1]):
            os.unlink(os.path.join(directory.quarantine, name))


def names(directory: ReplayDirectory) -> list[bytes]:
    """The refused files, by name. Raises OSError."""
    with os.scandir(directory.quarantine) as found:
        there = {entry.name for entry in found if entry.is_file(follow_symlinks=False)}
    return sorted(name for name in there if not _is_sidecar(directory, name, there))


def _is_sidecar(directory: ReplayDirectory, name: bytes, there: set[bytes]) -> bool:
    if not name.endswith(SIDECAR):
        return name.endswith(SIDECAR + b".tmp")
    if name.removesuffix(SIDECAR) in there:
        return True
    # Alone: the reason of a file that is just being moved here, or a file whose own reason somebody removed.
    return name + SIDECAR not in there and not _read(os.path.join(directory.quarantine, name))[1]


def entries(directory: ReplayDirectory) -> list[Entry]:
    """The refused files with their reasons, by name; none where nothing was ever refused. Raises OSError."""
    try:
        there = names(directory)
    except FileNotFoundError:
        return []
    return [found for name in there if (found := _entry(directory, name)) is not None]


def _entry(directory: ReplayDirectory, name: bytes) -> Entry | None:
    place = os.path.join(directory.quarantine, name)
    try:
        size = os.lstat(place).st_size
    except FileNotFoundError:  # put back, or removed, since the folder was listed
        return None
    sidecar, problem = _read(place + SIDECAR)
    path = unquote_to_bytes(sidecar.pop("path", ""))
    return Entry(name=name, size=size, path=path, problem=problem, **{**_NOTHING, **sidecar})


_NOTHING: dict[str, Any] = {"reason": "", "error": "", "attempts": 0, "first": "", "last": "", "sha256": ""}


def _read(sidecar: bytes) -> tuple[dict[str, Any], str]:
    """What a sidecar says, as far as it can be read, and what is wrong with it."""
    try:
        with open(sidecar, "rb") as file:
            sidecar = json.loads(file.read())
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
