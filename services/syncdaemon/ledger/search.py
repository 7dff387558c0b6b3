"""Looking for the rows of certain files, in the ledger's files on disk. Read only.

The newest file comes first, and the last row about a file counts. Lines are told apart by the digest in them: only
those of files that are looked for are parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from syncdaemon.base.tickets import TicketKey
from syncdaemon.ledger import chain, rows
from syncdaemon.ledger.files import day_path, files
from syncdaemon.ledger.memory import ABOUT_FILES, Told, changes, counts

_DIGEST = b'"sha256":"'
_DIGEST_BYTES = 64
_LINES = 1_024  # between two rests


def search(
    folder: Path, site: str, wanted: Collection[TicketKey], since: date | None, rest: Callable[[], None]
) -> dict[TicketKey, Told]:
    """What the ledger says of these files. `since`: no file is older; None: that is not known.

    `rest` is called again and again between a few lines. Raises OSError.
    """
    left, found = set(wanted), dict[TicketKey, Told]()
    oldest = "" if since is None else day_path(folder, site, since - timedelta(days=1)).name
    for path in reversed(files(folder, site)):
        if not left or path.name < oldest:
            break
        for key, told in _in_file(path, left, rest).items():
            left.discard(key)
            if told is not None:
                found[key] = told
    return found


def _in_file(path: Path, wanted: Collection[TicketKey], rest: Callable[[], None]) -> dict[TicketKey, Told | None]:
    """The last word of one file on each; None: the file waits again."""
    last: dict[TicketKey, Told | None] = {}
    for row in _rows_with(path, {key.sha256.encode() for key in wanted}, rest):
        key = TicketKey(str(row["path"]), str(row["sha256"]))
        if key in wanted and changes(row["event"], row):
            last[key] = Told(row["event"], row, row["n"]) if counts(row["event"], row) else None
    return last


def _rows_with(path: Path, digests: Collection[bytes], rest: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """The rows about files with one of these digests. One that is damaged is left out: `verify` tells of it."""
    with path.open("rb") as file:
        for number, line in enumerate(file):
            if number % _LINES == _LINES - 1:
                rest()
            at = line.find(_DIGEST) + len(_DIGEST)
            if line[at : at + _DIGEST_BYTES] not in digests or not line.endswith(b"\n"):
                continue
            try:
                row = chain.parse(line)
            except chain.BadRow:
                continue
            if row["event"] in ABOUT_FILES and not rows.fault(row):
                yield row
