"""A file that is being written and has no place yet: counted, hashed and maybe decoded on its way to the disk."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from typing import Any

import zstandard

from syncdaemon.base.disk import begin_sync, sync, write_all
from syncdaemon.receive.incoming import Rejected, Wanted

_WINDOW = 8 << 20  # bytes of memory that a frame may ask for; every decoder has so much (RFC 8878, 3.1.1.1.2)
_STEP = 4 << 10  # bytes that are decoded until it is asked for faults: at most 128 MiB come of them (4 make 128 KiB)
_MODE = 0o640


class Unfit(Exception):
    """What comes is not the file that was announced."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.rejected = Rejected(reason, detail)


class Draft:
    """Takes the bytes of one message's file, `size` of them until now.

    `path` is its name for now; `close` removes that, whatever became of it.

    Never longer than announced, so a small message that decodes to an endless file ends at that.
    """

    def __init__(self, path: bytes, wanted: Wanted) -> None:
        self.path = path
        self._wanted = wanted
        self._digest = sha256()
        self.size = 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        self._decoder = _Decoder(self) if wanted.zstd else None

    def write(self, data: bytes) -> None:
        """Takes the next bytes of the message. Raises Unfit, or OSError."""
        if self._decoder is None:
            self.store(data)
        else:
            self._decoder.write(data)

    def store(self, data: bytes | memoryview) -> None:
        """Takes the next bytes of the file itself."""
        self.size += len(data)
        if self.size > self._wanted.size:
            raise Unfit("too_long", f"it has more than the {self._wanted.size} bytes of its Edge-Size")
        self._digest.update(data)
        write_all(self._fd, data)

    def complete(self) -> None:
        """All is written. Raises Unfit where that is not what was announced.

        Tells the kernel to begin: many files that are on their way to the disk take little longer than one.
        """
        if self.size != self._wanted.size:
            raise Unfit("too_short", f"it has {self.size} bytes, and its Edge-Size is {self._wanted.size}")
        if (found := self._digest.hexdigest()) != self._wanted.sha256:
            raise Unfit("digest_wrong", f"its SHA-256 is {found}, and its Edge-Sha256 is {self._wanted.sha256}")
        if self._wanted.mtime_ns is not None:
            with suppress(OSError, OverflowError):  # a time that this file system can't hold
                os.utime(self._fd, ns=(self._wanted.mtime_ns, self._wanted.mtime_ns))
        begin_sync(self._fd)

    def sync(self) -> None:
        """Makes durable what there is. Raises OSError."""
        sync(self._fd)

    def close(self) -> None:
        """Forgets it; a file that was given a place stays there. A second time: nothing.

        A name that can't be removed now goes with the worker's folder.
        """
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        self._decoder = None  # it holds us, and megabytes of memory
        with suppress(OSError):
            os.unlink(self.path)


class _Decoder:
    """Decodes what comes, on its way to a draft."""

    def __init__(self, draft: Draft) -> None:
        self._sink = _Sink(draft)
        sink: Any = self._sink  # all that zstandard asks of it is `write`
        self._writer = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_writer(sink)

    def write(self, data: bytes) -> None:
        """Takes the next bytes of the message. Raises Unfit, or OSError."""
        for at in range(0, len(data), _STEP):
            try:
                self._writer.write(memoryview(data)[at : at + _STEP])
            except zstandard.ZstdError as error:
                self._sink.raise_fault()
                raise Unfit("undecodable", f"the message is not zstd: {error}") from None
            self._sink.raise_fault()


class _Sink:
    """What zstandard writes to, in pieces of at most 128 KiB.

    It raises nothing: where a sink does, zstandard 0.25 never frees the piece, and each such message would cost memory
    for good.
    """

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._fault: Unfit | OSError | None = None
        self._over = False

    def write(self, data: bytes | memoryview) -> int:
        """Takes a piece; after a fault it takes it for nothing."""
        if not self._over:
            try:
                self._draft.store(data)
            except (Unfit, OSError) as error:
                self._fault, self._over = error, True
        return len(data)

    def raise_fault(self) -> None:
        """Raises what went wrong, where something did, and keeps nothing of it: its traceback holds the decoder."""
        fault, self._fault = self._fault, None
        if fault is not None:
            try:
                raise fault
            finally:
                del fault
