"""JSON that another program wrote, and the kinds of its fields. Pure.

Each function returns a value of its kind or raises ValueError. It raises nothing else, whatever it is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

MOST = 2**63 - 1
"""The largest whole number: what the server's own integers, and a file system, can count."""

Kind = Callable[[Any], Any]

_NUMBER = re.compile(r"[0-9]{1,19}")
_SURROGATE = re.compile(r"\\u[dD][89A-Fa-f]")


def document(data: bytes) -> dict[str, Any]:
    """A JSON object. JSON can spell half a character, which UTF-8 cannot hold: that is an error, too."""
    text = data.decode()
    try:
        found = json.loads(text)
        if _SURROGATE.search(text):
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return mapping(found)


def mapping(value: object) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise ValueError(f"{type(value).__name__} instead of an object")
    return value


def text(value: object) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} instead of a text")
    return value


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{type(value).__name__} instead of true or false")
    return value


def whole(value: object, least: int = 0, most: int = MOST) -> int:
    """A whole number between two bounds. True and false are none, though Python counts them as such."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{type(value).__name__} instead of a whole number")
    if not least <= value <= most:
        raise ValueError("a number out of its bounds")
    return value


def signed(value: object) -> int:
    """A whole number of 64 bits, which may be negative: the server says `no limit` so."""
    return whole(value, -MOST - 1)


def sequence(value: object) -> int:
    """The sequence of a message that a stream has, or had."""
    return whole(value, 1)


def number(value: str) -> int:
    """A whole number, not below 0, that a header or a subject spells in digits."""
    if not _NUMBER.fullmatch(value):
        raise ValueError(f"{value[:40]!r} instead of a whole number")
    return whole(int(value))


def moment(value: object) -> datetime:
    """A time with its zone, as RFC 3339 writes it; nanoseconds are cut to microseconds."""
    found = datetime.fromisoformat(text(value))
    if found.tzinfo is None:
        raise ValueError("a time without its zone")
    return found


def each(kind: Kind) -> Kind:
    """The kind of a list whose items are of this kind."""

    def items(value: object) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError(f"{type(value).__name__} instead of a list")
        return [kind(item) for item in value]

    return items


def counts(value: object) -> dict[str, int]:
    """How many there are of each name."""
    return {name: whole(count) for name, count in mapping(value).items()}


def checked(value: object, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """A JSON object in which the fields that `kinds` names are of these kinds.

    A field may be missing, and `null` counts as missing. What `kinds` does not name is left as it is.
    """
    found = {name: field for name, field in mapping(value).items() if field is not None}
    return {name: kinds[name](field) if name in kinds else field for name, field in found.items()}
