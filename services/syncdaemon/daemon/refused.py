"""The newest files in quarantine, for the live page: read again only when somebody looks and something changed."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import quote_from_bytes

from syncdaemon.spool import quarantine
from syncdaemon.spool.quarantine import Entry
from syncdaemon.spool.spool import Spool
from syncdaemon.web.words import name_of

_SHOWN = 50


class RefusedFiles:
    """Those of this spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._seen: tuple[int, int] | None = None
        self._shown: list[list[str]] = []

    async def look(self) -> list[list[str]]:
        """For each the path, the reason, the error, and when it was refused; the newest first."""
        spool = self._spool
        directory = spool.directory
        seen = spool.quarantine.count, os.fstat(directory.quarantine).st_mtime_ns
        if seen != self._seen:
            found = await asyncio.to_thread(quarantine.newest, directory, _SHOWN) if seen[0] else []
            self._shown, self._seen = list(map(_row, found)), seen
        return self._shown


def _row(entry: Entry) -> list[str]:
    path = quote_from_bytes(entry.path or entry.name)
    return [name_of(path), entry.reason or "not known", entry.error or entry.problem, entry.last]
