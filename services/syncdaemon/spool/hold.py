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

from syncdaemon.base.disk import make_dirs
from syncdaemon.base.model import Held, Receipt
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.moves import move_back, move_beside
from syncdaemon.spool.retired import Retired, move_all

_BUCKET_SECONDS = 10.0
_BUCKET_FILES = 4_096  # more make a folder that is slow to rename into, and to bring to disk


class Hold:
    """Keeps delivered files in `held/` for some time, then deletes them.

    They lie in buckets, a folder for each span of time, so that no list of them is needed in memory. A bucket's
    age is counted by this process' own clock: the time of a bucket that was there at the start begins again, and a wall
    clock that is set cannot shorten the hold.
    """

    def __init__(self, directory: ReplayDirectory, seconds: float) -> None:
        self._directory = directory
        self.seconds = seconds
        self.count = 0
        self._spare = os.path.join(directory.path, b"spare")  # an empty folder: a bucket for when the disk is full
        self._lock = threading.Lock()  # files come in one thread and are deleted in another
        self._buckets: dict[bytes, float] = {}  # name: when it takes no more files
        self._open: bytes | None = None
        self._room = 0  # files that the open bucket still takes
        self._moves = 0

    def load(self, now: float) -> None:
        """Takes over what an earlier process held."""
        with suppress(OSError):  # it is there already, or there is no room even for that
            os.mkdir(self._spare, 0o750)
        for bucket in os.listdir(self._directory.held):
            self._buckets[bucket] = now
            with os.scandir(os.path.join(self._directory.held, bucket)) as entries:
                self.count += sum(1 for _ in entries)

    def retire(self, receipts: Sequence[Receipt], now: float) -> Retired:
        """Moves the files of these receipts into the hold; durable when it returns, as in the archive."""
        with self._lock:
            try:
                bucket = self._bucket(now) + b"/"
            except OSError as error:
                return Retired(0, [(receipt, error.strerror or str(error)) for receipt in receipts])
            retired = move_all(self._directory, receipts, lambda receipt: bucket + self._name(receipt))
            self.count += retired.moved
            self._room -= retired.moved
        return retired

    def _bucket(self, now: float) -> bytes:
        if self._open is None or self._room <= 0 or now >= self._buckets[self._open]:
            if self._open is not None:
                self._buckets[self._open] = min(now, self._buckets[self._open])
                self._open = None
            bucket = b"%d" % time.time_ns()
            self._make(os.path.join(self._directory.held, bucket))
            self._open, self._room = bucket, _BUCKET_FILES
            self._buckets[bucket] = now + min(_BUCKET_SECONDS, self.seconds)
        return os.path.join(self._directory.held, self._open)

    def _make(self, bucket: bytes) -> None:
        """On a full disk there is no room for another folder: the spare one is renamed, which takes none."""
        try:
            make_dirs(bucket, self._directory.path)
        except OSError:
            with suppress(FileNotFoundError):
                os.rename(self._spare, bucket)
                return
            raise

    def _name(self, receipt: Receipt) -> bytes:
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
            names = os.listdir(os.path.join(self._directory.held, bucket))
        except FileNotFoundError:
            return []
        return [_held(bucket, name) for name in names]

    def begin_anew(self, now: float) -> None:
        """The server has all of it, but perhaps not on its disk yet: the time begins again now."""
        with self._lock:
            self._buckets = {name: max(closed, now) for name, closed in self._buckets.items()}

    def send_again(self, held: Held, path: bytes) -> bytes | None:
        """Puts a held file back into the replay directory, at `path` or a free name beside it; where it is now.

        None where it is not there any more. Raises OSError.
        """
        source = os.path.join(self._directory.held, held.bucket, held.name)
        if not os.path.lexists(source):
            return None
        root = self._directory.replay_dir
        try:
            target = move_back(source, path, root)
        except (FileExistsError, NotADirectoryError):  # what was its folder is a file by now
            target = move_back(source, os.path.basename(path), root)
        with self._lock:
            self.count -= 1
        return os.path.relpath(target, root)

    def expire(self, now: float) -> list[bytes]:
        """Deletes what has been held for long enough; returns the paths of files that turned out to be changed.

        Those were written to while they were held: what they hold now was never sent, so they are back in the
        replay directory, under a new name. Raises OSError; what is left then is tried again the next time.
        """
        with self._lock:
            due = [name for name, closed in self._buckets.items() if now >= closed + self.seconds]
            if self._open in due:
                self._open = None
        back: list[bytes] = []
        for name in due:
            self._delete(os.path.join(self._directory.held, name), back)
            with self._lock:
                del self._buckets[name]
        return back

    def _delete(self, bucket: bytes, back: list[bytes]) -> None:
        """An operator who is short of space may have deleted a file, or the whole bucket, before us."""
        with suppress(FileNotFoundError):
            entries = os.listdir(bucket)
            for name in entries:
                self._let_go(os.path.join(bucket, name), name, back)
                with self._lock:
                    self.count -= 1
            if os.path.isdir(self._spare):
                os.rmdir(bucket)
            else:
                os.rename(bucket, self._spare)

    def _let_go(self, path: bytes, name: bytes, back: list[bytes]) -> None:
        with suppress(FileNotFoundError):
            if name.startswith(_held_version(os.lstat(path))):
                os.unlink(path)
                return
            place = move_beside(path, os.path.join(self._directory.replay_dir, b"changed-while-held-" + name))
            back.append(os.path.basename(place))


def _held(bucket: bytes, name: bytes) -> Held:
    _, mtime_ns, size, seq, digest, _ = name.split(b"-")
    return Held(bucket, name, int(seq), digest.decode(), int(mtime_ns), int(size))


def _held_version(found: os.stat_result) -> bytes:
    return b"%d-%d-%d-" % (found.st_ino, found.st_mtime_ns, found.st_size)
