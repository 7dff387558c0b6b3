"""Tickets: which file was handed over, as a text that outlives both sides. Pure.

The text is `<path, percent-encoded>#<sha256>`. A percent-encoded path has no `#`, so it can be told apart.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

MOST = 3 * 4096 + 65
"""Bytes of the longest text: a path has at most 4,095 bytes (PATH_MAX), of which each may be encoded."""

_TEXT = re.compile(r"([A-Za-z0-9_.~/%-]+)#([0-9a-f]{64})")


class BadTicket(ValueError):
    """The text is no ticket."""


class TicketKey(NamedTuple):
    """`name`: the path below the replay directory, percent-encoded as headers and ledger carry it."""

    name: str
    sha256: str

    @classmethod
    def of(cls, path: bytes, sha256: str) -> TicketKey:
        """That of a file by its path in raw bytes."""
        return cls(quote_from_bytes(path), sha256)

    @property
    def path(self) -> bytes:
        """The path below the replay directory, in raw bytes."""
        return unquote_to_bytes(self.name)

    @property
    def text(self) -> str:
        """The ticket as text."""
        return f"{self.name}#{self.sha256}"


def parse(text: object) -> TicketKey:
    """Reads a ticket's text. Raises BadTicket."""
    match = _TEXT.fullmatch(text) if isinstance(text, str) and len(text) <= MOST else None
    if match is None:
        raise BadTicket("a ticket is the text <path, percent-encoded>#<sha256>")
    return TicketKey(quote_from_bytes(unquote_to_bytes(match[1])), match[2])
