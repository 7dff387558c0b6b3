"""Producers that drop files of mixed sizes, several at a time, while a test does its worst to the daemon."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.audit import File
from tests.support.daemon import DaemonProcess

SIZES = (0, 1, 300, 300, 4_000, 4_000, 60_000, 400_000)
_OLD = 64  # contents that may come again


class Producer(threading.Thread):
    """Drops files until it is told to stop; every tenth has the content of an earlier one. `files` are all of them."""

    def __init__(self, daemon: DaemonProcess, number: int, pause: float) -> None:
        super().__init__(daemon=True)
        self.files: list[File] = []
        self._daemon, self._number, self._pause = daemon, number, pause
        self._random = random.Random(number)
        self._old: list[bytes] = []
        self._enough = threading.Event()

    def run(self) -> None:
        while not self._enough.wait(self._random.uniform(0, 2 * self._pause)):
            name = b"p%d/%d/%05d.bin" % (self._number, len(self.files) % 50, len(self.files))
            if self._old and self._random.random() < 0.1:
                data = self._random.choice(self._old)
            else:
                data = name + self._random.randbytes(self._random.choice(SIZES))
                self._old[_OLD:] = []
                self._old.insert(0, data)
            self.files.append(File.of(name, data))
            self._daemon.drop(name, data)

    def stop(self) -> list[File]:
        """Ends; all that it has dropped."""
        self._enough.set()
        self.join()
        return self.files


@contextmanager
def producing(daemon: DaemonProcess, count: int = 3, pause: float = 0.02) -> Iterator[list[File]]:
    """So many producers at work; their files are in the list when they have ended. `pause`: seconds, on average."""
    files: list[File] = []
    producers = [Producer(daemon, number, pause) for number in range(count)]
    for producer in producers:
        producer.start()
    try:
        yield files
    finally:
        for producer in producers:
            files += producer.stop()
