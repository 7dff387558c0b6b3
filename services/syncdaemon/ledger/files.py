"""The rows in a ledger's files, and where they are damaged. Read only."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.ledger import chain, rows
from syncdaemon.ledger.day_files import files, open_day

_BLOCK = 64 << 10
_DIGEST = b'"sha256":"'  # in canonical JSON no text can hold this: its quotes are escaped
_LONG_ROW = 1 << 10  # bytes: longer than rows are on the average


class Damage:
    """How damage is described: always the file, the line and what is wrong there."""

    UNFINISHED = "the line is not finished: a crash or a power cut broke it off, the next start repairs it"

    @staticmethod
    def at(path: Path, line: int, what: str) -> LedgerDamaged:
        """The error for it."""
        return LedgerDamaged(f"{path} line {line}: {what}")


def lock_path(folder: Path, site: str) -> Path:
    """The file that a site's writer keeps locked."""
    return folder / f".evidence-{site}.lock"


def follow(path: Path, head: chain.Head | None, offset: int = 0) -> Iterator[tuple[bytes, chain.Head]]:
    """Every finished line of a file, checked for its place in the chain only, and the chain's end after it.

    `offset`: where a line begins, the first one that is read. Raises LedgerDamaged at the first damage.
    """
    with open_day(path, offset) as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            line = line[:-1]
            try:
                head = chain.follow(head, line)
            except chain.BadRow as error:
                raise blamed(path, number + _lines_before(path, offset), line, file.readline(), error) from None
            yield line, head


def start_of_tail(path: Path, most: int) -> int:
    """Where the first whole line begins among the last `most` bytes of a file; 0 where it has no more, or is packed."""
    with open_day(path) as file:
        start = file.seek(0, os.SEEK_END) - most if file.seekable() else 0
        if start <= 0:
            return 0
        file.seek(start)
        file.readline()
        return file.tell()


def _lines_before(path: Path, offset: int) -> int:
    count = 0
    with open_day(path) as file:
        while offset and (some := file.read(min(offset, _BLOCK))):
            count += some.count(b"\n")
            offset -= len(some)
    return count


def blamed(path: Path, number: int, line: bytes, after: bytes, error: chain.BadRow) -> LedgerDamaged:
    """Names the line that was altered: where only a link is broken, that is mostly the one before.

    `after`: the line that comes next, empty where there is none.
    """
    if not isinstance(error, chain.BrokenLink) or (after and not chain.intact(line.rstrip(b"\n"), after)):
        return Damage.at(path, number, str(error))
    if not after and error.is_near:
        return Damage.at(path, number, "prev was altered: all but a few digits are those of the row before it")
    if number == 1:
        return Damage.at(path, 1, f"{error}: the last row of the file before was altered or cut off")
    return Damage.at(path, number - 1, f"altered after it was written: line {number} carries another SHA-256 of it")


def torn_end(path: Path) -> bytes:
    """What stands after the last newline: the start of a row that a crash or a power cut broke off.

    A compressed day has none: only whole ones are compressed.
    """
    with open_day(path) as file:
        if not file.seekable():
            return b""
        size = start = file.seek(0, os.SEEK_END)
        while start:
            step = min(start, _BLOCK)
            start -= step
            file.seek(start)
            if (newline := file.read(step).rfind(b"\n")) >= 0:
                start += newline + 1
                break
        file.seek(start)
        return file.read(size - start)


def end(path: Path) -> chain.Head:
    """The chain's end after a file, by its last line alone. Raises LedgerDamaged."""
    lines = _tail(path, 1 << 20)[1].splitlines()
    if not lines:
        raise LedgerDamaged(f"{path} has no rows")
    return check_last(path, lines[-1])


def last_lines(path: Path, count: int) -> list[bytes]:
    """Up to so many lines at the end of a whole file, without their newlines; unchecked, for what they tell."""
    if count <= 0:
        return []
    whole, found = _tail(path, count * _LONG_ROW)
    return found.splitlines()[0 if whole else 1 :][-count:]


def _tail(path: Path, most: int) -> tuple[bool, bytes]:
    """Up to so many bytes at the end of a file, and whether they are all of it."""
    with open_day(path) as file:
        if file.seekable():
            start = max(0, file.seek(0, os.SEEK_END) - most)
            file.seek(start)
            return not start, file.read()
        found, cut = bytearray(), False
        while more := file.read(_BLOCK):
            found += more
            if len(found) > 2 * most:
                del found[:-most]
                cut = True
        return not cut and len(found) <= most, bytes(found[-most:])


def rows_on(path: Path, lines: Sequence[bytes], first: int, events: Collection[str]) -> list[dict[str, Any]]:
    """The rows of these events on lines of a file, of which the first is number `first`; below zero: from the end.

    They are not held to the chain. Raises LedgerDamaged where such a row does not have its fields.
    """
    marks = rows.marks(events)
    marked = ((number, line) for number, line in enumerate(lines, first) if any(mark in line for mark in marks))
    return [_row_at(path, number, line) for number, line in marked]


def rows_of(path: Path, events: Collection[str], digests: Collection[bytes] = ()) -> Iterator[dict[str, Any]]:
    """The rows of these events in a file; not held to the chain. A line that is not finished is none.

    `digests`: only the rows about these contents; none: all.

    Raises LedgerDamaged where such a row does not have its fields.
    """
    return (
        _row_at(path, number, line)
        for number, line in _marked(path, events)
        if not digests or _digest_in(line) in digests
    )


def _digest_in(line: bytes) -> bytes:
    at = line.find(_DIGEST) + len(_DIGEST)
    return line[at : at + 64]


def newest_row_of(path: Path, event: str) -> dict[str, Any] | None:
    """The last row of this event in a file, like `rows_of`; the others are not parsed."""
    newest = deque(_marked(path, {event}), maxlen=1)
    return _row_at(path, *newest[0]) if newest else None


def _marked(path: Path, events: Collection[str]) -> Iterator[tuple[int, bytes]]:
    """Numbers and lines of the rows of these events."""
    marks = rows.marks(events)
    with open_day(path) as file:
        for number, line in enumerate(file, 1):
            if any(mark in line for mark in marks) and line.endswith(b"\n"):
                yield number, line


def rows_numbered(folder: Path, site: str, wanted: Callable[[int], bool]) -> Iterator[dict[str, Any]]:
    """The rows whose numbers are wanted, in order; not held to the chain. One that is just being written is none yet.

    Raises LedgerDamaged where such a row does not have its fields.
    """
    for path in files(folder, site):
        first = first_number(path)
        with open_day(path) as file:
            for number, line in enumerate(file, 1):
                if first is None or not line.endswith(b"\n"):
                    break
                if wanted(first + number - 1):
                    yield _row_at(path, number, line)


def first_number(path: Path) -> int | None:
    """The number of the first row in a file; None where that is not finished. Raises LedgerDamaged."""
    with open_day(path) as file:
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
    with open_day(path) as file:
        return sum(1 for _ in file)
