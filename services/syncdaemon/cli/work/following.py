"""Follows a daemon's event stream: by its port, else by its local door, and again when it ends."""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from syncdaemon.base.errors import ConnectTimeout, SyncError

_AGAIN_SECONDS = 2.0
_LINE_BYTES = 1 << 22  # of one event
_SILENT_SECONDS = 15.0

Open = Callable[[], http.client.HTTPResponse]
"""Asks for the stream. Raises OSError or SyncError where it can't be had."""


def events(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The data of each event until the stream ends. Raises OSError, HTTPException."""
    while line := answer.readline(_LINE_BYTES):
        if line.startswith(b"data: "):
            yield line.removeprefix(b"data: ").rstrip(b"\r\n")


class Following:
    """A thread that hands each event's data to `take`, and then writes a byte into the descriptor `wake`."""

    def __init__(self, ways: Sequence[Open], take: Callable[[bytes], None], wake: int) -> None:
        self._ways, self._take, self._wake = ways, take, wake
        self.heard: float | None = None
        self.failed: SyncError | None = None
        self._thread = threading.Thread(target=self._run, name="following", daemon=True)  # ends with the process

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def silent(self, now: float) -> float | None:
        """For how many seconds nothing came, where that is too long; `now` by the monotonic clock."""
        passed = now - self.heard if self.heard is not None else 0.0
        return passed if passed > _SILENT_SECONDS or self.failed is not None else None

    def _run(self) -> None:
        while True:
            failed: list[SyncError] = []
            for way in self._ways:
                try:
                    self._follow(way())
                    break
                except SyncError as error:
                    failed.append(error)
                except (OSError, http.client.HTTPException, ValueError):
                    break
            self.failed = failed[0] if failed else ConnectTimeout("the daemon has gone")
            self._tell()
            time.sleep(_AGAIN_SECONDS)

    def _follow(self, answer: http.client.HTTPResponse) -> None:
        with answer:
            for data in events(answer):
                self._take(data)
                self.heard, self.failed = time.monotonic(), None
                self._tell()

    def _tell(self) -> None:
        with suppress(OSError):
            os.write(self._wake, b"!")
