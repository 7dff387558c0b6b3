"""Which files of this site does the stream still have?"""

from __future__ import annotations

from collections.abc import Sequence

from syncdaemon.base.model import Held
from syncdaemon.link import Session
from syncdaemon.publish.objects import Objects
from syncdaemon.stream import presence
from syncdaemon.stream.api import Api


class Presence:
    """Looks for the messages of held files in one stream, below `subject`, and for the objects that they name."""

    def __init__(self, stream: str, subject: str, objects: Objects) -> None:
        self._stream = stream
        self._subject = subject
        self._objects = objects

    async def lost(self, session: Session, held: Sequence[Held]) -> list[Held]:
        """Those of these files that the stream has lost. Raises LinkDown, PermissionError, LanePaused."""
        return await presence.lost(Api(session), self._stream, self._subject, held, self._objects.lost)
