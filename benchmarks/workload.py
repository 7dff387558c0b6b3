"""The files: the same names and contents at every run, no two contents alike, on a real disk."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

_NUMBER = 16  # bytes at the start of each content that make it unlike all others
_MANY = 50_000  # files from which on it pays to make them with all cores


@dataclass(frozen=True)
class Workload:
    """`files` files of `size` bytes, all in one place or over `folders` subfolders.

    `in_turn`: each file in another subfolder than the one before it; else one subfolder after another.
    """

    files: int
    size: int
    folders: int = 0
    in_turn: bool = False

    def name(self, number: int) -> str:
        """The path of a file, relative to the folder that they are made in."""
        name = f"evidence-{number:09d}.bin"
        if not self.folders:
            return name
        folder = number % self.folders if self.in_turn else number * self.folders // self.files
        return f"{folder:03d}/{name}"

    def items(self, part: int = 0, parts: int = 1) -> Iterator[tuple[str, bytes]]:
        """Name and content of the files in their order, or of one of equal parts."""
        filler = random.Random(self.size).randbytes(self.size - _NUMBER)
        for number in range(self.files * part // parts, self.files * (part + 1) // parts):
            yield self.name(number), b"%0*d" % (_NUMBER, number) + filler

    def make(self, root: Path, settled: bool = False) -> None:
        """Makes the files below `root`; `settled`: waits until they are on disk, as files are that have long waited."""
        for folder in range(self.folders):
            (root / f"{folder:03d}").mkdir(parents=True, exist_ok=True)
        root.mkdir(parents=True, exist_ok=True)
        workers = os.cpu_count() or 1 if self.files >= _MANY else 1
        if workers == 1:
            make_part(self, root, 0, 1)
        else:
            with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
                for done in [pool.submit(make_part, self, root, part, workers) for part in range(workers)]:
                    done.result()
        if settled:
            os.sync()


def make_part(workload: Workload, root: Path, part: int, parts: int) -> None:
    """Makes one of so many parts of the files; the folders are there."""
    prefix = f"{root}/"
    for name, content in workload.items(part, parts):
        fd = os.open(prefix + name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        os.write(fd, content)
        os.close(fd)
