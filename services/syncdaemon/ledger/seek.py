"""Where a row lies in the ledger's files, found without reading them. Read only."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.ledger.files import files, first_number

_NUMBER = re.compile(rb'"n":([0-9]{1,20}),')  # in canonical JSON no text can hold this: its quotes are escaped
_NEAR = 64 << 10  # bytes that are read line by line in the end


class Spot(NamedTuple):
    """The place of a line: the file, and how many bytes stand before it."""

    path: Path
    offset: int


def spot_of(folder: Path, site: str, n: int) -> Spot | None:
    """Where row `n` begins; None where no file here has it.

    Only the numbers that the lines claim are looked at. Raises LedgerDamaged where a file's first line is no row.
    """
    found = None
    for path in files(folder, site):
        if (first := first_number(path)) is not None:
            if first > n:
                break
            found = path
    return None if found is None else _spot_in(found, n)


def _spot_in(path: Path, n: int) -> Spot | None:
    with path.open("rb") as file:
        low, high = 0, file.seek(0, os.SEEK_END)  # a line at or after `high` is row n or a later one
        while high - low > _NEAR:
            middle = (low + high) // 2
            file.seek(middle)
            file.readline()
            at = file.tell()
            number = _number(file.readline())
            if number is None or number >= n or at >= high:
                high = middle
            else:
                low = at
        file.seek(low)
        offset = low
        while line := file.readline():
            number = _number(line)
            if number == n and line.endswith(b"\n"):
                return Spot(path, offset)
            if number is not None and number > n:
                break
            offset += len(line)
    return None


def line_at(spot: Spot) -> bytes:
    """The line at this place, without its newline. Raises LedgerDamaged where it is not finished."""
    with spot.path.open("rb") as file:
        file.seek(spot.offset)
        line = file.readline()
    if not line.endswith(b"\n"):
        raise LedgerDamaged(f"{spot.path}: the line at byte {spot.offset} is not finished")
    return line[:-1]


def _number(line: bytes) -> int | None:
    match = _NUMBER.search(line)
    return int(match[1]) if match else None
