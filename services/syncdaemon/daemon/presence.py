"""Which files of this site does the stream still have?"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import structlog

from syncdaemon.base.errors import LanePaused
from syncdaemon.base.model import Held
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.ledger import Ledger
from syncdaemon.ledger.subjects import is_own, wildcard
from syncdaemon.link import Session
from syncdaemon.publish import Lane
from syncdaemon.publish.message import MessageSettings
from syncdaemon.stream import presence
from syncdaemon.stream.api import Api
from syncdaemon.stream.info import captured
from syncdaemon.stream.presence import Gone

_DIGEST = re.compile(r"[0-9a-f]{64}")

log = structlog.get_logger(__name__)


class _Place(NamedTuple):
    """A stream, and the wildcard for the subjects of some messages in it."""

    stream: str
    subjects: str


class Presence:
    """Looks for the messages of held files in the stream, and for the objects that they name.

    Where the stream's settings are seen, by sequence among all on our subjects. Where they are not, as where sites
    share it, each on its own subject. What is not found so is looked for where its receipt says that it is:
    SYNC_SUBJECT or SYNC_STREAM may have been another then.
    """

    def __init__(self, settings: MessageSettings, lane: Lane, ledger: Ledger, lost_objects: Gone) -> None:
        """`lost_objects`: which of some objects, as `Edge-Object` names them, are no longer whole."""
        self._lost_objects = lost_objects
        self._settings = settings
        self._here = _Place(settings.stream, settings.subject_for("*"))
        self._lane = lane
        self._ledger = ledger
        self._said = OnceAMinute()

    async def lost(self, session: Session, held: Sequence[Held]) -> list[Held]:
        """Those of these files that the stream has lost. Raises LinkDown, PermissionError, LanePaused."""
        api, settings = Api.over(session), self._settings
        if self._lane.settings_seen:
            gone = await presence.lost(
                api, *self._here, held, self._lost_objects, subjects=self._subjects, freed_counts=settings.freed_counts
            )
            return await self._lost_where_receipts_say(api, gone) if gone else []
        if not settings.per_digest:
            raise PermissionError("on a plain subject, what the stream has is not seen where its settings are not")
        if settings.identity != "content":  # the receipt alone knows the subject
            return await self._lost_where_receipts_say(api, held, looked_here=False)
        subjects = {one: settings.subject_for(one.sha256) for one in held}
        gone = await presence.lost_unseen(
            api, settings.stream, subjects, held, self._lost_objects, freed_counts=settings.freed_counts
        )
        return await self._lost_where_receipts_say(api, gone) if gone else []

    async def _subjects(self, held: Sequence[Held]) -> dict[Held, str]:
        """The subject of each file's message, where that is one content's alone."""
        if self._settings.identity == "content":
            return _per_digest({one: self._settings.subject_for(one.sha256) for one in held})
        receipts = await self._ledger.receipts_of(Counter(one.place for one in held))
        found = {one: receipts[one.place][-1] for one in held if receipts.get(one.place)}
        return _per_digest({one: str(row["subject"]) for one, row in found.items()})

    async def _lost_where_receipts_say(self, api: Api, held: Sequence[Held], *, looked_here: bool = True) -> list[Held]:
        """Those that are not where their receipts say either. A file without a receipt is lost: to send it is safe.

        `looked_here`: they are known not to be where messages go now.
        """
        receipts = await self._ledger.receipts_of(Counter(one.place for one in held))
        groups: defaultdict[_Place, dict[Held, str]] = defaultdict(dict)
        for one in held:
            row = receipts[one.place][-1] if receipts.get(one.place) else None
            if row is not None and is_own(row, self._settings.site):
                subject = str(row["subject"])
                groups[self._place(str(row["stream"]), subject)][one] = subject
        if looked_here:
            groups.pop(self._here, None)
        there: set[Held] = set()
        for place, subjects in groups.items():
            there |= subjects.keys() - await self._lost_at(api, place, subjects)
        return [one for one in held if one not in there]

    def _place(self, stream: str, subject: str) -> _Place:
        here = stream == self._here.stream and captured([self._here.subjects], subject)
        return self._here if here else _Place(stream, wildcard(subject))

    async def _lost_at(self, api: Api, place: _Place, subjects: Mapping[Held, str]) -> set[Held]:
        """Those of these files that are lost at this place; all of them where it can't be looked at any more."""
        held, lost_objects, freed_counts = list(subjects), self._lost_objects, self._settings.freed_counts

        async def known(gone: Sequence[Held]) -> Mapping[Held, str]:
            return _per_digest({one: subjects[one] for one in gone})

        try:
            if self._lane.settings_seen:
                gone = await presence.lost(api, *place, held, lost_objects, subjects=known, freed_counts=freed_counts)
            else:
                gone = await presence.lost_unseen(
                    api, place.stream, subjects, held, lost_objects, freed_counts=freed_counts
                )
            return set(gone)
        except (PermissionError, LanePaused) as error:
            ours = place.stream == self._here.stream
            if place == self._here or (ours and self._lane.settings_seen):
                raise
            if self._said.due(time.monotonic(), f"held_files_not_seen {place.stream}"):
                log.warning("held_files_not_seen", stream=place.stream, reason=str(error), effect="they are sent again")
            return set(held)


def _per_digest(subjects: Mapping[Held, str]) -> dict[Held, str]:
    """Those of these subjects that are one content's alone: on any other, a tombstone says nothing of a message."""
    return {one: subject for one, subject in subjects.items() if any(map(_DIGEST.fullmatch, subject.split(".")))}
