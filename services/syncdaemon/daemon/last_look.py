"""Before delivered files are deleted: is the stream still the one that they were stored in?"""

from __future__ import annotations

import structlog

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.daemon.presence import Presence
from syncdaemon.publish import Lane
from syncdaemon.publish.stream_watch import StreamWatch
from syncdaemon.spool.spool import Spool

log = structlog.get_logger(__name__)


class LastLook:
    """Asks the server, each time before something is deleted from the hold.

    A stream can be deleted and made anew while the connection stays up. Its creation time shows that. Where that is
    kept from us, the messages of some files show it: of each bucket the file that was delivered first, because a
    stream that has its message has all later ones.
    """

    def __init__(self, watch: StreamWatch, lane: Lane, spool: Spool, presence: Presence) -> None:
        self._watch = watch
        self._lane = lane
        self._spool = spool
        self._presence = presence

    async def all_is_there(self) -> bool:
        """Whether nothing speaks against deleting. What speaks against it begins a suspicion."""
        if not await self._watch.look() or not self._lane.trusted:
            return False
        return bool(self._lane.settings_seen) or await self._samples_are_there()

    async def _samples_are_there(self) -> bool:
        session = self._lane.prepared
        if session is None:
            return False
        try:
            gone = await self._presence.lost(session, await self._spool.first_due())
        except PermissionError:  # the same was said when the connection came up
            return True
        except (LinkDown, LanePaused, OSError):
            return False
        if gone:
            log.error("held_file_is_not_in_the_stream", seq=gone[0].seq, effect="the hold is checked")
            self._lane.suspect()
        return not gone
