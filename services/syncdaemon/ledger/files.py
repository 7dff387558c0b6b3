"""A ledger's files on disk: their names, their rows, and where they are damaged. Read only."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.ledger import chain, rows

_LONG_ROW = 1 << 10  # bytes: longer than rows are on the average


class Damage:
    """How damage is described: always the file, the line and what is wrong there."""

    UNFINISHED = "the line is not finished: a crash or a power cut broke it off, the next start repairs it"

    @staticmethod
    def at(path: Path, line: int, what: str) -> LedgerDamaged:
        """The error for it."""
        return LedgerDamaged(f"{path} line {line}: {what}")


def files(folder: Path, site: str) -> list[Path]:
    """A site's ledger files, oldest first."""
    return sorted(folder.glob(f"evidence-{site}-" + "[0-9]" * 8 + ".jsonl"))


def day_path(folder: Path, site: str, day: date) -> Path:
    """The file of this day, by UTC."""
    return folder / f"evidence-{site}-{day:%Y%m%d}.jsonl"


def lock_path(folder: Path, site: str) -> Path:
    """The file that a site's writer keeps locked."""
    return folder / f".evidence-{site}.lock"


def sites(folder: Path) -> list[str]:
    """The sites that have a ledger in this folder."""
    name = re.compile(r"evidence-([a-z0-9-]{1,63})-\d{8}\.jsonl")
    return sorted({match[1] for path in folder.glob("evidence-*.jsonl") if (match := name.fullmatch(path.name))})


def read(path: Path, head: chain.Head | None) -> Iterator[tuple[int, dict[str, Any], chain.Head]]:
    """Every row of a file, checked: line number, row, and the chain's end after it.

    A row whose event is not known is checked as far as all rows are alike. Raises LedgerDamaged at the first damage.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                raise Damage.at(path, number, Damage.UNFINISHED)
            try:
                row, head = chain.check(head, line[:-1])
            except chain.BadRow as error:
                raise _damage(path, number, line, file.readline(), error) from None
            if fault := rows.fault(row):
                raise Damage.at(path, number, fault)
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


def rows_on(path: Path, lines: Sequence[bytes], first: int, events: Collection[str]) -> list[dict[str, Any]]:
    """The rows of these events on lines of a file, of which the first is number `first`; below zero: from the end.

    They are not held to the chain. Raises LedgerDamaged where such a row does not have its fields.
    """
    marks = rows.marks(events)
    marked = ((number, line) for number, line in enumerate(lines, first) if any(mark in line for mark in marks))
    return [_row_at(path, number, line) for number, line in marked]


def rows_of(path: Path, events: Collection[str]) -> Iterator[dict[str, Any]]:
    """The rows of these events in a file; not held to the chain. A line that is not finished is none.

    Raises LedgerDamaged where such a row does not have its fields.
    """
    return (_row_at(path, number, line) for number, line in _marked(path, events))


def newest_row_of(path: Path, event: str) -> dict[str, Any] | None:
    """The last row of this event in a file, like `rows_of`; the others are not parsed."""
    newest = deque(_marked(path, {event}), maxlen=1)
    return _row_at(path, *newest[0]) if newest else None


def _marked(path: Path, events: Collection[str]) -> Iterator[tuple[int, bytes]]:
    """Numbers and lines of the rows of these events."""
    marks = rows.marks(events)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if any(mark in line for mark in marks) and line.endswith(b"\n"):
                yield number, line


def rows_numbered(folder: Path, site: str, wanted: Callable[[int], bool]) -> Iterator[dict[str, Any]]:
    """The rows whose numbers are wanted, in order; not held to the chain. One that is just being written is none yet.

    Raises LedgerDamaged where such a row does not have its fields.
    """
    for path in files(folder, site):
        first = first_number(path)
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if first is None or not line.endswith(b"\n"):
                    break
                if wanted(first + number - 1):
                    yield _row_at(path, number, line)


def first_number(path: Path) -> int | None:
    """The number of the first row in a file; None where that is not finished. Raises LedgerDamaged."""
    with path.open("rb") as file:
        line = file.readline()
    return int(_parse_at(path, 1, line)["n"]) if line.endswith(b"\n") else None


def check_last(path: Path, line: bytes) -> chain.Head:
    """The chain's end after this line, the last of its file: no row vouches for it yet, so all of it is checked.

    Raises LedgerDamaged.
    """
    try:
        return chain.check(None, line)[1]
    except chain.BadRow as error:
        raise Damage.at(path, _count_lines(path), str(error)) from None


def _row_at(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """The row on this line, with the fields that it must have. `number`: of the line; below zero: from the end."""
    row = _parse_at(path, number, line)
    if fault := rows.fault(row):
        raise Damage.at(path, _line_number(path, number), fault)
    return row


def _parse_at(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        return chain.parse(line)
    except chain.BadRow as error:
        raise Damage.at(path, _line_number(path, number), str(error)) from None


def _line_number(path: Path, number: int) -> int:
    return number if number > 0 else _count_lines(path) + 1 + number


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)
