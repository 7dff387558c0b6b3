"""The ledger's rows: canonical, numbered and chained by SHA-256. Pure: bytes in, bytes out.

A row is one line of canonical JSON: keys sorted, no blanks, ASCII, and as values only integers, strings, true
and false. `prev` is the SHA-256 of the line before it, without its newline;
`n` counts from 1. Both go on from one daily file to the next.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import cache
from hashlib import sha256
from json.encoder import encode_basestring_ascii as quote  # what the encoder comes to, at half its cost
from typing import Any, NamedTuple

from syncdaemon.base.errors import SyncError
from syncdaemon.base.model import Row
from syncdaemon.ledger.rows import OWN

VERSION = 1
FIRST_PREV = "0" * 64

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_HEX64 = re.compile(r"[0-9a-f]{64}")
_NEAR = 16  # digits of 64; two digests that have nothing in common differ in 60
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


class BadRow(SyncError):
    """A line is not the row that belongs at its place; the text says why."""


class BrokenLink(BadRow):
    """The number is right, but this row was not written after the row that stands before it.

    One of the two was altered; the row after them tells which (`intact`). `is_near`: `prev` is almost right, so it is
    `prev` that was altered: another row would have another SHA-256 in all its digits.
    """

    is_near = False


class Head(NamedTuple):
    """The end of a chain: the number of its last row and that row's SHA-256."""

    n: int
    digest: str


START = Head(0, FIRST_PREV)


def seal(head: Head, site: str, ts: str, event: str, fields: Row) -> tuple[bytes, Head]:
    """The next line of the chain, without its newline, and the chain's new end."""
    n = head.n + 1
    values = {**fields, "v": VERSION, "n": n, "prev": head.digest, "ts": ts, "site": site, "event": event}
    form, keys = _form(tuple(values))
    quoted = [
        quote(value) if type(value := values[key]) is str else value if type(value) is int else _encode(value)
        for key in keys
    ]
    line = (form % tuple(quoted)).encode()
    return line, Head(n, sha256(line).hexdigest())


@cache
def _form(keys: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The canonical line for these keys, its values left open: half the cost of sorting and quoting each time."""
    ordered = tuple(sorted(keys))
    return "{" + ",".join(f"{_encode(key).replace('%', '%%')}:%s" for key in ordered) + "}", ordered


def follow(head: Head | None, line: bytes) -> Head:
    """The chain's end after `line`, checked only for its place: number and link. Cheap, for start-up.

    A `head` of None takes the line's own claim of what came before it: for the first line of a file whose
    predecessor is not at hand.

    Raises BadRow where the line is not the next row of the chain.
    """
    if head is None:
        row = parse(line)
        head = Head(row["n"] - 1, row["prev"])
    if b'"n":%d,' % (head.n + 1) not in line or b'"prev":"%b",' % head.digest.encode() not in line:
        _explain(head, parse(line))
    return Head(head.n + 1, sha256(line).hexdigest())


def check(head: Head | None, line: bytes) -> tuple[dict[str, Any], Head]:
    """The row that `line` holds and the chain's end after it; everything about the line is checked.

    Raises BadRow where the line is not a row in canonical form, or not the next one of the chain.
    """
    row = parse(line)
    if head is None:
        head = Head(row["n"] - 1, row["prev"])
    if row["n"] != head.n + 1 or row["prev"] != head.digest:
        _explain(head, row)
    if not all(type(value) in (int, str, bool) for value in row.values()):
        raise BadRow("a value is neither integer nor string, true nor false")
    if _encode(row).encode() != line:
        raise BadRow("not in canonical form")
    return row, Head(row["n"], sha256(line).hexdigest())


def parse(line: bytes) -> dict[str, Any]:
    """The row that `line` holds; the fields that every row has are checked, and nothing else. Raises BadRow."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRow("not JSON") from None
    if not isinstance(row, dict):
        raise BadRow("not a JSON object")
    for key, kind in OWN.items():
        if type(row.get(key)) is not kind.type:
            raise BadRow(f"field {key!r} is missing or not of its kind")
    if row["v"] != VERSION:
        raise BadRow(f"version {row['v']}, this program reads {VERSION}")
    if not _HEX64.fullmatch(row["prev"]):
        raise BadRow("prev is not a SHA-256")
    if row["n"] < 1:
        raise BadRow(f"row number {row['n']}, the first is 1")
    if not OWN["n"].fits(row["n"]):
        raise BadRow(f"the row number is not {OWN['n'].words}")
    if row["n"] == 1 and row["prev"] != FIRST_PREV:
        raise BadRow("the first row has another one before it")
    if not _is_time(row["ts"]):
        raise BadRow(f"ts is {row['ts']!r}, not RFC 3339 in UTC with microseconds")
    return row


def _is_time(ts: str) -> bool:
    """Whether this is RFC 3339 in UTC with microseconds, of a day that is in the calendar."""
    try:
        return bool(_TIMESTAMP.fullmatch(ts) and datetime.fromisoformat(ts))
    except ValueError:
        return False


def _explain(head: Head, row: dict[str, Any]) -> None:
    if row["n"] != head.n + 1:
        raise BadRow(f"row number {row['n']}, expected {head.n + 1}")
    broken = BrokenLink("prev is not the SHA-256 of the row before it")
    broken.is_near = sum(map(str.__ne__, row["prev"], head.digest)) <= _NEAR
    raise broken


def intact(line: bytes, after: bytes) -> bool:
    """Whether the row `after` vouches for `line`, the row before it."""
    return b'"prev":"%b",' % sha256(line).hexdigest().encode() in after
