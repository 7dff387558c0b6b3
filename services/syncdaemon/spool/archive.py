"""The archive: delivered files are kept by day. `archive_life` deletes the oldest, where the settings say so."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from itertools import groupby

from syncdaemon.base.beneath import make_beneath
from syncdaemon.base.model import Receipt
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.moves import At, free_name
from syncdaemon.spool.own import ARCHIVE, OWN_MODE
from syncdaemon.spool.retired import Retired, move_all


class Archive:
    """Moves delivered files to `archive/<day>/<path>`, where they stay."""

    def __init__(self, directory: ReplayDirectory) -> None:
        self._directory = directory

    def retire(self, receipts: Sequence[Receipt]) -> Retired:
        """Moves the files of these receipts; durable when it returns, unless it says otherwise in the log."""
        day = os.path.join(ARCHIVE, time.strftime("%Y%m%d", time.gmtime()).encode())
        moved, kept = 0, []
        for above, group in groupby(sorted(receipts, key=_above), key=_above):
            part = list(group)
            try:
                retired = self._retire(day, above, part)
            except OSError as error:
                retired = Retired(0, [(receipt, error.strerror or str(error)) for receipt in part])
            moved += retired.moved
            kept += retired.kept
        return Retired(moved, kept)

    def _retire(self, day: bytes, above: bytes, receipts: Iterable[Receipt]) -> Retired:
        """Those of one folder."""
        flat = False
        try:
            target = make_beneath(self._directory.own, os.path.join(day, above).rstrip(b"/"), OWN_MODE)
        except (FileExistsError, NotADirectoryError):  # the name of the folder was a file's earlier that day
            target, flat = make_beneath(self._directory.own, day, OWN_MODE), True

        def name_of(receipt: Receipt) -> bytes:
            path = receipt.content.path
            return free_name(At(target, path.replace(b"/", b"%2F")[-200:] if flat else os.path.basename(path)))

        try:
            return move_all(self._directory, receipts, target, name_of)
        finally:
            os.close(target)


def _above(receipt: Receipt) -> bytes:
    return os.path.dirname(receipt.content.path)
