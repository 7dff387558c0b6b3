"""Which files of this site does the stream still have?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from syncdaemon.base.model import Held
from syncdaemon.ledger import Ledger
from syncdaemon.link import Session
from syncdaemon.publish import Lane
from syncdaemon.publish.message import MessageSettings
from syncdaemon.publish.objects.lost import lost as lost_objects
from syncdaemon.stream import presence
from syncdaemon.stream.api import Api


class Presence:
    """Looks for the messages of held files in the stream, and for the objects that they name.

    Where the stream's settings are seen, by sequence among all on our subjects. Where they are not, as where sites
    share it, each on the subject that its receipt names.
    """

    def __init__(self, settings: MessageSettings, lane: Lane, ledger: Ledger) -> None:
        self._settings = settings
        self._lane = lane
        self._ledger = ledger

    async def lost(self, session: Session, held: Sequence[Held]) -> list[Held]:
        """Those of these files that the stream has lost. Raises LinkDown, PermissionError, LanePaused."""
        api, stream = Api.over(session), self._settings.stream
        if not self._lane.settings_seen and not self._settings.per_digest:
            raise PermissionError("on a plain subject, what the stream has is not seen where its settings are not")
        if self._lane.settings_seen:
            return await presence.lost(api, stream, self._settings.subject_for("*"), held, lost_objects)
        return await presence.lost_unseen(api, stream, await self._subjects(held), held, lost_objects)

    async def _subjects(self, held: Sequence[Held]) -> dict[Held, str]:
        """The subject of each file's message, as its receipt names it."""
        if self._settings.identity == "content":
            return {one: self._settings.subject_for(one.sha256) for one in held}
        receipts = await self._ledger.receipts_of(Counter(one.place for one in held))
        found = {one: receipts[one.place][-1] for one in held if receipts.get(one.place)}
        return {one: str(row["subject"]) for one, row in found.items()}
