"""The archive: delivered files are kept by day, and never deleted."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from syncdaemon.base.disk import make_dirs
from syncdaemon.base.model import Receipt
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.moves import free_name
from syncdaemon.spool.retired import Retired, move_all


class Archive:
    """Moves delivered files to `archive/<day>/<path>`, where they stay."""

    def __init__(self, directory: ReplayDirectory) -> None:
        self._directory = directory

    def retire(self, receipts: Sequence[Receipt]) -> Retired:
        """Moves the files of these receipts; durable when it returns, unless it says otherwise in the log."""
        day = os.path.join(self._directory.archive, time.strftime("%Y%m%d", time.gmtime()).encode())
        return move_all(self._directory, receipts, lambda receipt: self._place(day, receipt.content.path))

    def _place(self, day: bytes, path: bytes) -> bytes:
        place = os.path.join(day, path)
        try:
            make_dirs(os.path.dirname(place), self._directory.path)
        except (FileExistsError, NotADirectoryError):  # the name of its folder was a file's earlier that day
            place = os.path.join(day, path.replace(b"/", b"%2F")[-200:])
        return free_name(place)
