"""The hold: delivered files are kept for some time, and deleted only then.

Nothing is deleted on a guess. A file is looked at once more first: if it was written to while it was held, it goes back
to the replay directory as a new file.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from syncdaemon.base.beneath import LISTING, make_beneath, names_in
from syncdaemon.base.model import Held, Receipt
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.moves import At, move_back, move_beside, there
from syncdaemon.spool.own import OWN_MODE, SPARE
from syncdaemon.spool.retired import Retired, move_all

_BUCKET_SECONDS = 10.0
_BUCKET_FILES = 4_096  # more make a folder that is slow to rename into, and to bring to disk


class Hold:
    """Keeps delivered files in `held/` for some time, then deletes them.

    They lie in buckets, a folder for each span of time, so that no list of them is needed in memory. A bucket's
    age is counted by this process' own clock: the time of a bucket that was there at the start begins again, and a wall
    clock that is set cannot shorten the hold.

    The class has more than 150 lines because all that changes a bucket needs its one lock.
    """

    def __init__(self, directory: ReplayDirectory, seconds: float) -> None:
        self._directory = directory
        self.seconds = seconds
        self.count = 0
        self._lock = threading.Lock()  # files come in one thread and are deleted in another
        self._buckets: dict[bytes, float] = {}  # name: when it takes no more files
        self._open: bytes | None = None
        self._room = 0  # files that the open bucket still takes
        self._moves = 0

    def load(self, now: float) -> None:
        """Takes over what an earlier process held."""
        with suppress(OSError):  # it is there already, or there is no room even for that
            os.mkdir(SPARE, OWN_MODE, dir_fd=self._directory.own)
        for bucket in names_in(self._directory.held):
            with suppress(NotADirectoryError):
                self.count += len(_list(self._directory.held, bucket))
                self._buckets[bucket] = now

    def _enter(self, bucket: bytes) -> int:
        return os.open(bucket, LISTING, dir_fd=self._directory.held)

    def retire(self, receipts: Sequence[Receipt], now: float) -> Retired:
        """Moves the files of these receipts into the hold; durable when it returns, as in the archive."""
        with self._lock:
            try:
                bucket = self._bucket(now)
            except OSError as error:
                return Retired(0, [(receipt, error.strerror or str(error)) for receipt in receipts])
            try:
                retired = move_all(self._directory, receipts, bucket, self.name_of)
            finally:
                os.close(bucket)
            self.count += retired.moved
            self._room -= retired.moved
        return retired

    def _bucket(self, now: float) -> int:
        """The bucket that takes files now, open."""
        if self._open is not None and self._room > 0 and now < self._buckets[self._open]:
            with suppress(FileNotFoundError):  # an operator may have removed it
                return self._enter(self._open)
        if self._open is not None:
            self._buckets[self._open] = min(now, self._buckets[self._open])
            self._open = None
        bucket, fd = new_bucket(self._directory)
        self._open, self._room = bucket, _BUCKET_FILES
        self._buckets[bucket] = now + min(_BUCKET_SECONDS, self.seconds)
        return fd

    def adopt(self, bucket: bytes, files: int, now: float) -> None:
        """Another folder that lies beside the buckets, with so many delivered files in it, is one from now on."""
        with self._lock:
            self._buckets[bucket] = now
            self.count += files

    def name_of(self, receipt: Receipt) -> bytes:
        """The version of the file, the sequence that it was stored at, its digest, and a number of its own.

        Without that number a second hard link to the same file would be renamed onto the first, and rename(2)
        does nothing then.
        """
        content = receipt.content
        _, ino, size, mtime_ns, _ = content.stamp
        self._moves += 1
        return b"%d-%d-%d-%d-%b-%d" % (ino, mtime_ns, size, receipt.seq, content.sha256.encode(), self._moves)

    def next_expiry(self) -> float | None:
        """When the next bucket expires."""
        closed = list(self._buckets.values())  # not under the lock: that is held as long as the disk takes
        return min(closed) + self.seconds if closed else None

    def buckets(self) -> list[bytes]:
        """The buckets that there are, oldest first."""
        return list(self._buckets)

    def held(self, bucket: bytes) -> list[Held]:
        """The files in one bucket."""
        try:
            names = _list(self._directory.held, bucket)
        except FileNotFoundError:
            return []
        return [found for name in names if (found := _held(bucket, name)) is not None]

    def due(self, now: float) -> list[bytes]:
        """The buckets whose time is over."""
        with self._lock:
            return [name for name, closed in self._buckets.items() if now >= closed + self.seconds]

    def first_of(self, buckets: Sequence[bytes]) -> list[Held]:
        """The file of each of these buckets that came first."""
        files = map(self.held, buckets)
        return [min(some, key=_moved) for some in files if some]

    def begin_anew(self, now: float) -> None:
        """The server has all of it, but perhaps not on its disk yet: the time begins again now."""
        with self._lock:
            self._buckets = {name: max(closed, now) for name, closed in self._buckets.items()}

    def send_again(self, held: Held, path: bytes) -> bytes | None:
        """Puts a held file back into the replay directory, at `path` or a free name beside it; where it is now.

        None where it is not there any more. Raises OSError.
        """
        try:
            bucket = self._enter(held.bucket)
        except FileNotFoundError:
            return None
        try:
            source, root = At(bucket, held.name), self._directory.root
            if not there(source):
                return None
            try:
                place = move_back(source, root, path)
            except (FileExistsError, NotADirectoryError):  # what was its folder is a file by now
                place = move_back(source, root, os.path.basename(path))
        finally:
            os.close(bucket)
        with self._lock:
            self.count -= 1
        return place

    def expire(self, now: float) -> list[bytes]:
        """Deletes what has been held for long enough; returns the paths of files that turned out to be changed.

        Those were written to while they were held: what they hold now was never sent, so they are back in the
        replay directory, under a new name. Raises OSError; what is left then is tried again the next time.
        """
        due = self.due(now)
        with self._lock:
            if self._open in due:
                self._open = None
        back: list[bytes] = []
        for name in due:
            self._delete(name, back)
            with self._lock:
                del self._buckets[name]
        return back

    def _delete(self, bucket: bytes, back: list[bytes]) -> None:
        """An operator who is short of space may have deleted a file, or the whole bucket, before us."""
        held, own = self._directory.held, self._directory.own
        with suppress(FileNotFoundError):
            fd = self._enter(bucket)
            try:
                for name in names_in(fd):
                    _let_go(At(fd, name), self._directory.root, back)
                    with self._lock:
                        self.count -= 1
            finally:
                os.close(fd)
            if there(At(own, SPARE)):
                os.rmdir(bucket, dir_fd=held)
            else:
                os.rename(bucket, SPARE, src_dir_fd=held, dst_dir_fd=own)


def new_bucket(directory: ReplayDirectory) -> tuple[bytes, int]:
    """A new bucket, and the same one open. Raises OSError.

    On a full disk there is no room for one: the spare folder is renamed, which takes none.
    """
    bucket = b"%d" % time.time_ns()
    try:
        return bucket, make_beneath(directory.held, bucket, OWN_MODE)
    except OSError:
        with suppress(FileNotFoundError):
            os.rename(SPARE, bucket, src_dir_fd=directory.own, dst_dir_fd=directory.held)
            return bucket, os.open(bucket, LISTING, dir_fd=directory.held)
        raise


def _list(held: int, bucket: bytes) -> list[bytes]:
    fd = os.open(bucket, LISTING, dir_fd=held)
    try:
        return names_in(fd)
    finally:
        os.close(fd)


def _let_go(file: At, root: int, back: list[bytes]) -> None:
    """Deletes a file of the hold; one that was changed goes to the replay directory, and its path into `back`."""
    with suppress(FileNotFoundError):
        found = os.stat(file.name, dir_fd=file.folder, follow_symlinks=False)
        if file.name.startswith(_held_version(found)):
            os.unlink(file.name, dir_fd=file.folder)
            return
        back.append(move_beside(file, At(root, b"changed-while-held-" + file.name)))


def _held(bucket: bytes, name: bytes) -> Held | None:
    """The file that has this name in the hold; None for a name that is not ours."""
    try:
        _, mtime_ns, size, seq, digest, moved = name.split(b"-")
        int(moved)
        return Held(bucket, name, int(seq), digest.decode(), int(mtime_ns), int(size))
    except ValueError:
        return None


def _moved(held: Held) -> int:
    """The number of its move, which grows within a bucket."""
    return int(held.name.rpartition(b"-")[2])


def _held_version(found: os.stat_result) -> bytes:
    return b"%d-%d-%d-" % (found.st_ino, found.st_mtime_ns, found.st_size)
