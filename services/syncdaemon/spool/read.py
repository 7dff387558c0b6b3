"""Reading: each file opened once, checked to be complete, hashed while it is read, checked again."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from fcntl import F_RDLCK, F_SETLEASE, F_UNLCK, fcntl
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from syncdaemon import settle
from syncdaemon.backlog import Candidate
from syncdaemon.model import Content, Refusal, Stamp

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20
_SMALL = 64 << 10  # bytes that are read in no time
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)  # says nothing about the file
_ITS_SERVER_AWAY = (  # nor does this: a network file system whose server is not there now
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
)
_TRIES_TO_READ = 6  # looks at a file that can't be read, over some seconds, before it is refused
_UNKNOWN = Stamp(0, 0, 0, 0, 0)


class NotYet(NamedTuple):
    """The file is not complete: look again in `wait` seconds."""

    candidate: Candidate
    wait: float


class Gone(NamedTuple):
    """There is no file at this path (any more), or something else than a file."""

    path: bytes


Look = Content | Refusal | NotYet | Gone


class Reader(NamedTuple):
    """How files are read: below `root`, quiet for `quiet` seconds, in memory up to `largest` bytes each."""

    root: bytes
    quiet: float
    largest: int

    def look(self, candidates: Iterable[Candidate], now_ns: int) -> Iterator[Look]:
        """Each candidate as it was found. `now_ns` is the file system's now."""
        for candidate in candidates:
            yield self._look(candidate, now_ns)

    def _look(self, candidate: Candidate, now_ns: int) -> Look:
        path = candidate.path
        try:
            fd = os.open(os.path.join(self.root, path), _OPEN)
        except OSError as error:
            return self._failed(candidate, error)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return Gone(path)
            size, mtime_ns, ctime_ns = found.st_size, found.st_mtime_ns, found.st_ctime_ns
            wait = settle.quiet_wait(ctime_ns, now_ns, self.quiet, candidate.seen_ctime_ns)
            if wait > 0:
                return NotYet(candidate._replace(seen_ctime_ns=ctime_ns), wait)
            if _has_writer(fd, size):
                return self._again(candidate, ctime_ns)
            data, digest = _read(fd, size, self.largest)
            after = os.fstat(fd)
            if (after.st_size, after.st_mtime_ns, after.st_ctime_ns) != (size, mtime_ns, ctime_ns):
                return self._again(candidate, 0)
            stamp = Stamp(found.st_dev, found.st_ino, size, mtime_ns, ctime_ns)
            return Content(path, quote_from_bytes(path), stamp, data, digest, 1)
        except OSError as error:
            return self._failed(candidate, error)
        finally:
            os.close(fd)

    def _again(self, candidate: Candidate, ctime_ns: int) -> NotYet:
        tries = candidate.tries + 1
        again = candidate._replace(tries=tries, seen_ctime_ns=ctime_ns)
        return NotYet(again, settle.recheck_wait(tries, self.quiet))

    def _failed(self, candidate: Candidate, error: OSError) -> Look:
        if error.errno in _NO_FILE:
            return Gone(candidate.path)
        if error.errno in _OURS + _ITS_SERVER_AWAY:
            return self._again(candidate, 0)
        if candidate.failures + 1 < _TRIES_TO_READ:
            return self._again(candidate._replace(failures=candidate.failures + 1), 0)
        unread = Content(candidate.path, quote_from_bytes(candidate.path), _UNKNOWN, None, "", candidate.failures + 1)
        return Refusal(unread, "unreadable", f"can't be read: {error.strerror}")


def _has_writer(fd: int, size: int) -> bool:
    """Whether somebody has the file open for writing at this instant.

    The kernel grants a read lease only while nobody has (fcntl(2), F_SETLEASE), but only on local file systems
    and files of our own user; elsewhere this can't be told and the quiet time decides alone. A lease makes a writer
    that comes now wait; closing the file ends it, for a large file that is too late.
    """
    try:
        fcntl(fd, F_SETLEASE, F_RDLCK)
        if size > _SMALL:
            fcntl(fd, F_SETLEASE, F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _read(fd: int, size: int, largest: int) -> tuple[bytes | None, str]:
    """The whole file and its digest; without the data where it is too large. A file that grows is read too far."""
    if size <= largest:
        data = os.read(fd, size + 1)
        while len(data) < size and (more := os.read(fd, size + 1 - len(data))):
            data += more
        return data, sha256(data).hexdigest()
    digest = sha256()
    while chunk := os.read(fd, _CHUNK):
        digest.update(chunk)
    return None, digest.hexdigest()
