"""The lowest tiles of rows that are no longer here, and from whose tree nobody will ask for a proof any more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from syncdaemon.evidence.tiles import WIDTH, Tile
from syncdaemon.ledger.day_files import files
from syncdaemon.ledger.files import first_number
from syncdaemon.ledger.tile_store import tree_folder


def take_away_tiles(folder: Path, site: str, needed: int) -> int:
    """Removes the full tiles of level 0 that end at row `needed` or before, and before the first row here; how many.

    `needed`: the smallest tree from which somebody may still want a proof. The tiles above stay for ever: they have a
    256th part of the size. No sync is needed, since a tile that comes back with a power cut is right. Raises OSError,
    LedgerDamaged.
    """
    here = files(folder, site)
    first = first_number(here[0]) if here else None
    if first is None:
        return 0
    gone = list(_below(folder, site, min(needed, first - 1) // WIDTH))
    for index in reversed(gone):  # so that those that a crash leaves end where the others begin
        path = tree_folder(folder, site) / Tile(0, index, WIDTH).path
        os.unlink(path)
        with suppress(FileNotFoundError):
            shutil.rmtree(path.with_name(path.name + ".p"))
        if index % 1000 == 999:
            with suppress(OSError):  # the folder that a thousand tiles share
                path.parent.rmdir()
    return len(gone)


def _below(folder: Path, site: str, end: int) -> Iterator[int]:
    """The tiles of level 0 that are here, the newest first, down to the first one that is gone."""
    root = tree_folder(folder, site)
    for index in range(end - 1, -1, -1):
        if not (root / Tile(0, index, WIDTH).path).is_file():
            return
        yield index
