"""What lies beside a file: its sidecar, and the extended attribute that has a traceparent. Read from open descriptors.

A sidecar counts only if it is the file owner's own: everybody who can write to the directory could put one beside the
file of another. So one of another owner, a symlink, what is no file, and a file with a second name say nothing, and
keep nothing from being delivered. The owner's own that can't be read as a sidecar is an error, and the owner is told.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import NamedTuple
from urllib.parse import quote_from_bytes

import structlog

from syncdaemon.base import metadata
from syncdaemon.base.disk import READ
from syncdaemon.base.metadata import BadMetadata, Said, Sidecar, sidecar_of
from syncdaemon.base.model import Beside, Stamp
from syncdaemon.base.pause import OnceAMinute

_ATTRIBUTE = "user.traceparent"
_LISTS = hasattr(os, "listxattr")
_NO_FILE = (errno.ELOOP, errno.ENXIO, errno.EISDIR)

_without_attributes: set[int] = set()  # devices whose file system has none
_said = OnceAMinute()

log = structlog.get_logger(__name__)


class Unusable(NamedTuple):
    """The file's owner has put a sidecar beside it that can't be taken. `why`, in words for the owner."""

    why: str
    stamp: Stamp


class FoundBeside(NamedTuple):
    """What was found beside a file. `stamp`: the version of the sidecar; None: there was none."""

    sidecar: Sidecar
    stamp: Stamp | None

    @property
    def size(self) -> int:
        """Bytes that it takes in a message's headers."""
        return sum(map(len, metadata.header_lines(self.sidecar.said)))

    def with_trace(self, traceparent: str) -> FoundBeside:
        """The same with this traceparent, where the sidecar names none."""
        sidecar = self.sidecar
        said = sidecar.said
        more = said if said.traceparent else said._replace(traceparent=traceparent)
        return self._replace(sidecar=sidecar._replace(said=more))

    def beside(self, digest: str) -> Beside | None:
        """What it says of the file with this digest. A sidecar that is about another content stays where it is."""
        return Beside(self.sidecar.said, self.stamp) if self.sidecar.is_about(digest) else None


def look(fd: int, folder: int, name: bytes, file: os.stat_result) -> FoundBeside | Unusable | None:
    """What is beside the file of this name that is open as `fd`. Two system calls where nothing is.

    `folder`: the descriptor of its folder. Raises OSError where it can't be looked at now.
    """
    found: FoundBeside | Unusable | None = None
    if os.access(sidecar_of(name), os.F_OK, dir_fd=folder):
        found = _sidecar(folder, name, file)
    if _LISTS and file.st_dev not in _without_attributes and (traceparent := _traceparent(fd, file.st_dev)):
        if found is None:
            return FoundBeside(Sidecar(Said("", traceparent)), None)
        if isinstance(found, FoundBeside):
            return found.with_trace(traceparent)
    return found


def _sidecar(folder: int, name: bytes, file: os.stat_result) -> FoundBeside | Unusable | None:
    beside = sidecar_of(name)
    try:
        fd = os.open(beside, READ, dir_fd=folder)
    except FileNotFoundError:
        return None
    except PermissionError:
        return _unreadable(folder, name, file)
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        _ignore(name, "it is a symlink, or no file")
        return None
    try:
        found = os.fstat(fd)
        if why := _not_the_owners(found, file):
            _ignore(name, why)
            return None
        stamp = _stamp(found)
        data = os.read(fd, metadata.LARGEST_SIDECAR + 1)
        try:
            return FoundBeside(metadata.read_sidecar(data), stamp)
        except BadMetadata as error:
            return Unusable(f"its sidecar {quote_from_bytes(beside)}: {error}", stamp)
    finally:
        os.close(fd)


def _not_the_owners(found: os.stat_result, file: os.stat_result) -> str:
    """Why a sidecar may be the word of somebody else than the file's owner; empty where it is the owner's."""
    if not stat.S_ISREG(found.st_mode):
        return "it is no file"
    if found.st_uid != file.st_uid:
        return f"it belongs to user {found.st_uid}, and the file to user {file.st_uid}"
    return "it has a second name" if found.st_nlink != 1 else ""


def _unreadable(folder: int, name: bytes, file: os.stat_result) -> Unusable | None:
    try:
        found = os.stat(sidecar_of(name), dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if why := _not_the_owners(found, file):
        _ignore(name, why)
        return None
    return Unusable(f"its sidecar {quote_from_bytes(sidecar_of(name))}: the daemon may not read it", _stamp(found))


def _ignore(name: bytes, why: str) -> None:
    if _said.due(time.monotonic(), "sidecar_ignored"):
        effect = "the file is delivered without it"
        log.warning("sidecar_ignored", name=quote_from_bytes(name), reason=why, effect=effect)


def _traceparent(fd: int, device: int) -> str:
    """The traceparent of an open file; empty where it has none that is one."""
    try:
        if _ATTRIBUTE not in os.listxattr(fd):
            return ""
        value = os.getxattr(fd, _ATTRIBUTE).decode("ascii", "replace")
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS, errno.EPERM):
            _without_attributes.add(device)
        return ""
    if metadata.is_traceparent(value):
        return value
    if _said.due(time.monotonic(), "traceparent_ignored"):
        log.warning("traceparent_ignored", attribute=_ATTRIBUTE, effect="the file is delivered without it")
    return ""


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
