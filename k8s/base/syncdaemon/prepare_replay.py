"""Makes the replay directory in a claim: `replay`, of the user that runs this, with mode 3770 and the claim's group.

    python3 prepare_replay.py CLAIM

A claim's root belongs to root, or to the storage class: a pod may neither own it nor make it sticky. A folder in it
may be the daemon's own. What lies beside `replay` was dropped where the daemon does not look: by a version that had
the claim's root as its replay directory, or by a producer that mounts the root. It is moved in, each entry by one
rename that replaces nothing, so an end at any instant leaves each file in exactly one of the two places.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_MODE = 0o3770
_NAME = "replay"
_UNFINISHED = (".tmp", ".part", ".partial")  # a producer renames these when they are complete
_NOREPLACE = 1  # RENAME_NOREPLACE of renameat2(2)

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The directory can't be used as it is; the text says what to do."""


def main(path: str) -> None:
    """Raises Refused, or OSError where the claim can't be written to."""
    with _opened(path) as claim:
        _make(claim)
        with _opened(_NAME, claim) as replay:
            owner = os.fstat(replay).st_uid
            if owner != os.geteuid():
                raise Refused(
                    f"it belongs to user {owner}, and files are in it: a producer was started before the daemon. Stop "
                    f"the producers, give the folder another name, start the daemon, then the producers"
                )
            os.fchmod(replay, _MODE)
            for name in sorted(os.listdir(claim)):
                if _is_evidence(name, claim):
                    _move(name, claim, replay)
            os.fsync(replay)
        os.fsync(claim)


@contextmanager
def _opened(name: str, folder: int | None = None) -> Iterator[int]:
    """A folder that is no symlink."""
    opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield opened
    finally:
        os.close(opened)


def _make(claim: int) -> None:
    """Also in the place of an empty folder of somebody else: Kubernetes makes one for a producer that comes first."""
    try:
        found = os.stat(_NAME, dir_fd=claim, follow_symlinks=False)
    except FileNotFoundError:
        os.mkdir(_NAME, 0o700, dir_fd=claim)
        return
    if stat.S_ISDIR(found.st_mode) and found.st_uid != os.geteuid():
        try:
            os.rmdir(_NAME, dir_fd=claim)
        except OSError:
            return  # files are in it
        os.mkdir(_NAME, 0o700, dir_fd=claim)


def _is_evidence(name: str, claim: int) -> bool:
    """Whether the daemon would take it, or it is the daemon's own."""
    if name == ".syncdaemon":
        return True
    if name in (_NAME, "lost+found") or name.startswith(".") or name.endswith(_UNFINISHED):
        return False
    mode = os.stat(name, dir_fd=claim, follow_symlinks=False).st_mode
    return stat.S_ISDIR(mode) or stat.S_ISREG(mode)


def _move(name: str, claim: int, replay: int) -> None:
    """What can't be moved stays where it is, and the log says so: the rest is delivered all the same."""
    encoded = os.fsencode(name)
    if _libc.renameat2(claim, encoded, replay, encoded, _NOREPLACE):
        print(f"prepare_replay: {name!a} stays beside {_NAME}: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
    else:
        print(f"prepare_replay: {name!a} lay beside {_NAME}, and is in it now", file=sys.stderr)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (Refused, OSError) as error:
        sys.exit(f"prepare_replay: {os.path.join(sys.argv[1], _NAME)}: {error}")
