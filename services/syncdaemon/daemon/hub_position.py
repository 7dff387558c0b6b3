"""Up to which message the hub is known to have this site's stream, kept over restarts.

While the hub is away it can't be asked, and a daemon that starts in this time must not take for missing what the hub
has. The file may be lost or old without harm: then more counts as missing than is, until the hub answers.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from syncdaemon.base.disk import fsync_dir, read_small, write_durably
from syncdaemon.stream import fields

_MOST = 4096  # bytes of the file


class Position(NamedTuple):
    """`seq`: the hub has all up to this one. `created`: which stream that was, as its server tells its creation."""

    created: str = ""
    seq: int = 0

    def of(self, created: str) -> int:
        """The sequence in the stream that was created then; 0 where that is another one."""
        return self.seq if self.created == created else 0


def load(folder: Path, site: str) -> Position:
    """What was saved; nothing where it is not there or can't be read."""
    with suppress(OSError, ValueError):
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = fields.document(read_small(os.fsencode(_name(site)), at, _MOST))
        finally:
            os.close(at)
        return Position(fields.text(found.get("created")), fields.whole(found.get("seq")))
    return Position()


def save(folder: Path, site: str, position: Position) -> None:
    """All of it or nothing. A disk that takes nothing now costs only what the module's docstring says."""
    with suppress(OSError):
        write_durably(os.fsencode(folder / _name(site)), json.dumps(position._asdict()).encode())
        fsync_dir(folder)


def _name(site: str) -> str:
    return f"hub-{site}.json"
