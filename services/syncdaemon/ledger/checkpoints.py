"""A site's own checkpoints, kept beside the tree, and the newest of them that the hub has acknowledged.

Each is a note in `tlog-<site>/checkpoints/`, named by its size in 19 digits. Beside it, in `.range`, lie the roots of
the perfect subtrees of that tree, so that proofs from this size can be made when the rows are no longer here. The file
`acknowledged` says which one the hub has: those above it were signed, and nobody may have seen them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from syncdaemon.base.disk import fsync_dir, make_dirs, write_durably
from syncdaemon.evidence.notes import Checkpoint, SignedNote
from syncdaemon.ledger.tile_store import tree_folder

_NAME = re.compile(r"[0-9]{19}", re.ASCII)
_HOUR, _DAY = 3600, 24 * 3600
_ALL_FOR = _DAY  # seconds for which every checkpoint is kept,
_HOURLY_FOR = 30 * _DAY  # then one an hour, and from then on one a day
_MOST_BYTES = 4 << 10  # of the file `acknowledged`


class Acknowledged(NamedTuple):
    """The newest checkpoint that somebody else has: the log's first `rows` rows.

    `at`: when that was known, in seconds since 1970 by this machine's clock. `seq`: of its message at the hub.
    `cosigned`: the rows of the newest note that an auditor had published by then, 0 for none, and `behind`: how many
    checkpoints were published since.
    """

    rows: int
    at: float
    seq: int = 0
    cosigned: int = 0
    behind: int = 0


def acknowledged(folder: Path, site: str) -> Acknowledged | None:
    """The newest checkpoint of a site's log that the hub has acknowledged; None where none was, or that is not known.

    Raises OSError.
    """
    try:
        with (tree_folder(folder, site) / "acknowledged").open("rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
        rows, seq, cosigned, behind = (int(found[name]) for name in ("rows", "seq", "cosigned", "behind"))
        return Acknowledged(rows, float(found["at"]), seq, cosigned, behind)
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None


class Checkpoints:
    """The checkpoints of a site's log that lie in the ledger's folder."""

    def __init__(self, folder: Path, site: str) -> None:
        self._tree = tree_folder(folder, site)
        self._folder = self._tree / "checkpoints"

    def sizes(self) -> list[int]:
        """The sizes of those that are here, the smallest first."""
        try:
            return sorted(int(name) for name in os.listdir(self._folder) if _NAME.fullmatch(name))
        except FileNotFoundError:
            return []

    def read(self, size: int) -> bytes:
        """The note of this size, with all signatures that it has here. Raises OSError."""
        return self._path(size).read_bytes()

    def newest(self) -> bytes | None:
        """The note of the largest size."""
        sizes = self.sizes()
        return self.read(sizes[-1]) if sizes else None

    def keep(self, note: SignedNote, compact_range: list[bytes] | None = None) -> None:
        """Returns when the note is on disk, in the place of one of the same size. Raises OSError.

        `compact_range` is written before it; None: it is there already.
        """
        name = os.fsencode(self._path(Checkpoint.parse(note.text).size))
        make_dirs(os.fsencode(self._folder))
        if compact_range is not None:
            write_durably(name + b".range", b"".join(compact_range))
        write_durably(name, bytes(note))

    def acknowledge(self, found: Acknowledged) -> None:
        """Returns when it is on disk that the hub has the checkpoint of this size. Raises OSError."""
        make_dirs(os.fsencode(self._tree))
        content = json.dumps(found._asdict()).encode() + b"\n"
        write_durably(os.fsencode(self._tree / "acknowledged"), content)

    def thin(self, now: float, always: Iterable[int] = ()) -> None:
        """Takes away those that nothing needs: of the last day all stay, then one an hour, after 30 days one a day.

        The first, the newest, and those of the sizes `always` stay. `now`: in seconds since 1970, which may be wrong:
        then fewer stay than could, and one a day always does. Raises OSError.
        """
        written = {size: self._path(size).stat().st_mtime for size in self.sizes()}
        surplus = thinned(written, now) - set(always)
        for size in sorted(surplus):
            path = self._path(size)
            path.unlink(missing_ok=True)  # the note first: a range without a note is no harm
            path.with_name(path.name + ".range").unlink(missing_ok=True)
        if surplus:
            with suppress(FileNotFoundError):
                fsync_dir(self._folder)

    def _path(self, size: int) -> Path:
        return self._folder / f"{size:019d}"


def thinned(written: Mapping[int, float], now: float) -> set[int]:
    """The sizes that may go, of checkpoints that were written at these times, in seconds since 1970."""
    kept: dict[tuple[int, int], int] = {}
    for size, at in written.items():
        age = now - at
        period = 0 if age < _ALL_FOR else _HOUR if age < _HOURLY_FOR else _DAY
        slot = (period, int(at // period) if period else size)
        kept[slot] = max(size, kept.get(slot, 0))
    ends = {min(written), max(written)} if written else set()
    return set(written) - set(kept.values()) - ends
