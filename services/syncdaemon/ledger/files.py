"""A ledger's files on disk: their names, their rows, and where they are damaged. Read only."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.ledger import chain

_LONG_ROW = 1 << 10  # bytes: longer than rows are on the average


class Damage:
    """How damage is told: always the file, the line and what is wrong there."""

    UNFINISHED = "the line is not finished: a crash or a power cut broke it off, the next start repairs it"

    @staticmethod
    def at(path: Path, line: int, what: str) -> LedgerDamaged:
        """The error for it."""
        return LedgerDamaged(f"{path} line {line}: {what}")


def files(folder: Path, site: str) -> list[Path]:
    """A site's ledger files, oldest first."""
    return sorted(folder.glob(f"evidence-{site}-" + "[0-9]" * 8 + ".jsonl"))


def lock_path(folder: Path, site: str) -> Path:
    """The file that a site's writer keeps locked."""
    return folder / f".evidence-{site}.lock"


def sites(folder: Path) -> list[str]:
    """The sites that have a ledger in this folder."""
    name = re.compile(r"evidence-([a-z0-9-]{1,63})-\d{8}\.jsonl")
    return sorted({match[1] for path in folder.glob("evidence-*.jsonl") if (match := name.fullmatch(path.name))})


def read(path: Path, head: chain.Head | None) -> Iterator[tuple[int, dict[str, Any], chain.Head]]:
    """Every row of a file, checked: line number, row, and the chain's end after it.

    Raises LedgerDamaged at the first damage.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                raise Damage.at(path, number, Damage.UNFINISHED)
            try:
                row, head = chain.check(head, line[:-1])
            except chain.BadRow as error:
                raise _damage(path, number, line, file.readline(), error) from None
            yield number, row, head


def follow(path: Path, head: chain.Head | None) -> Iterator[tuple[bytes, chain.Head]]:
    """Every finished line of a file, checked for its place in the chain only, and the chain's end after it.

    Raises LedgerDamaged at the first damage.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            line = line[:-1]
            try:
                head = chain.follow(head, line)
            except chain.BadRow as error:
                raise _damage(path, number, line, file.readline(), error) from None
            yield line, head


def _damage(path: Path, number: int, line: bytes, after: bytes, error: chain.BadRow) -> LedgerDamaged:
    """Names the line that was altered: where only a link is broken, that is mostly the one before."""
    if not isinstance(error, chain.BrokenLink) or (after and not chain.intact(line.rstrip(b"\n"), after)):
        return Damage.at(path, number, str(error))
    if number == 1:
        return Damage.at(path, 1, f"{error}: the last row of the file before was altered or cut off")
    return Damage.at(path, number - 1, f"altered after it was written: line {number} carries another SHA-256 of it")


def torn_end(path: Path) -> bytes:
    """What stands after the last newline: the start of a row that a crash or a power cut broke off."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        size = file.tell()
        tail = b""
        while size and b"\n" not in tail:
            step = min(size, 65536)
            size -= step
            file.seek(size)
            tail = file.read(step) + tail
    return tail[tail.rfind(b"\n") + 1 :]


def end(path: Path) -> chain.Head:
    """The chain's end after a file, by its last line alone. Raises LedgerDamaged."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 20)))
        return check_last(path, file.read().splitlines()[-1])


def last_lines(path: Path, count: int) -> list[bytes]:
    """Up to so many lines at the end of a whole file, without their newlines; unchecked, for what they tell."""
    if count <= 0:
        return []
    start = max(0, path.stat().st_size - count * _LONG_ROW)
    with path.open("rb") as file:
        file.seek(start)
        lines = file.read().splitlines()
    return lines[1 if start else 0 :][-count:]


def rows_numbered(folder: Path, site: str, wanted: Callable[[int], bool]) -> Iterator[dict[str, Any]]:
    """The rows whose numbers are wanted, in order; unchecked. One that is just being written is not there yet."""
    for path in files(folder, site):
        n = 0
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                n = n + 1 if n else int(json.loads(line)["n"])
                if wanted(n):
                    row: dict[str, Any] = json.loads(line)
                    yield row


def check_last(path: Path, line: bytes) -> chain.Head:
    """The chain's end after this line, the last of its file: no row vouches for it yet, so all of it is checked.

    Raises LedgerDamaged.
    """
    try:
        return chain.check(None, line)[1]
    except chain.BadRow as error:
        with path.open("rb") as file:
            raise Damage.at(path, sum(1 for _ in file), str(error)) from None
