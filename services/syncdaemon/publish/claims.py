"""Whose message the stream has, where the server says that it has ours already.

Such an answer is only a claim: the id may be that of a neighbour's message, and the message may be gone. What counts is
our bytes on our own subject. Where they are not there, the message is sent afresh, under an id that nobody can have
used.
"""

from __future__ import annotations

import secrets
from enum import Enum
from typing import NamedTuple

from syncdaemon.base.errors import LanePaused
from syncdaemon.base.model import first_id
from syncdaemon.link import Session
from syncdaemon.publish.lane import Lane
from syncdaemon.publish.message import Message, MessageSettings, encode
from syncdaemon.stream import fetch, own, verdict
from syncdaemon.stream.api import Api
from syncdaemon.stream.buckets import BUCKET_OF_A_SITE, ReadableBuckets
from syncdaemon.stream.info import Memory
from syncdaemon.stream.object_format import ObjectPlace
from syncdaemon.stream.stored import StoredMessage

SOON = 1.0  # seconds until a message that was not seen is looked for again
DENIED = 30.0  # the same where the server does not let us read
_ANY = ReadableBuckets(("*",), BUCKET_OF_A_SITE)  # whatever we were set to before, but no other site's
_RANDOM_BYTES = 4  # in hexadecimal behind the id of a message that is sent afresh

Claim = verdict.Stored | verdict.Known
"""An answer which says that the stream holds a message already."""


class Whose(Enum):
    """Whose message the stream has."""

    OURS = "our bytes lie on our own subject, or the object that has them is named there"
    ELSEWHERE = "our own subject names an object of another bucket of ours, which is not whole"
    ANOTHERS = "our own subject has other bytes"
    FREED = "our own subject has a tombstone: somebody says that the content was received and freed"
    GONE = "it was ours, and is consumed"
    NOBODYS = "the claim is about a message that is not ours: ours is sent afresh"
    UNSEEN = "our subject has a message that we can't see now"


class Looked(NamedTuple):
    """What became of a claim. `there`: the message on our own subject. `wait`: seconds until it is looked at again.

    `proved`: the object that it names was read, and has our bytes.
    """

    whose: Whose
    there: StoredMessage | None = None
    wait: float = SOON
    proved: bool = False


class Claims:
    """Looks into the stream for what a claim is about."""

    def __init__(self, lane: Lane, settings: MessageSettings) -> None:
        self._lane = lane
        self._settings = settings

    async def look(self, session: Session, message: Message, claim: Claim, doubted: bool) -> Looked:
        """`doubted`: the message was sent before, and not answered. Raises LinkDown."""
        seen, wait = None, SOON
        try:
            seen = await self._seen(session, message, claim)
        except PermissionError as error:
            self._lane.not_read("read_denied", str(error))
            wait = DENIED
        except LanePaused as error:
            self._lane.not_read("read_failed", str(error))
        there = seen.message if seen is not None else None
        stale = seen is None or not seen.surely
        if there is not None and there.is_tombstone:
            return self._freed(there, claim, stale)
        if there is not None and (place := self._elsewhere(there, message)) is not None:
            return await self._read(session, there, message, place)
        if there is not None and _holds(there, message):
            return Looked(Whose.OURS, there)
        if isinstance(claim, verdict.Known):
            if there is None or (stale and there.seq != claim.seq):
                return Looked(Whose.UNSEEN, wait=wait)
            return Looked(Whose.ANOTHERS, there)
        if there is not None and not stale and self._settings.per_digest:
            return Looked(Whose.ANOTHERS, there)
        if self._lane.memory is Memory.SUBJECT:  # it takes one message, whatever its id: to send afresh is always safe
            return Looked(Whose.NOBODYS)
        if seen is None and wait != DENIED:
            return Looked(Whose.UNSEEN)
        if there is None and doubted and (seen is None or seen.surely):
            return Looked(Whose.GONE)
        return Looked(Whose.NOBODYS)

    def _freed(self, there: StoredMessage, claim: Claim, stale: bool) -> Looked:
        """What a claim is worth where a tombstone was seen. It is none of our bytes, even where the file is empty.

        `stale`: the copy of the stream that was read may be behind. A tombstone stands for a message only on a subject
        that never has another content.
        """
        if not self._settings.per_digest:
            return Looked(Whose.NOBODYS)
        if not stale or there.seq == claim.seq:
            return Looked(Whose.FREED, there)
        return Looked(Whose.UNSEEN if isinstance(claim, verdict.Known) else Whose.NOBODYS)

    def _elsewhere(self, there: StoredMessage, message: Message) -> ObjectPlace | None:
        """The object that a message names, where it is of another bucket than ours would be, and of no other site's."""
        place = ObjectPlace.of(there.object) if there.object and there.object != message.object else None
        if place is None or (not message.object and place.names == self._settings.bucket):
            return None
        return None if _ANY.refusal(place, self._settings.site) else place

    async def _read(self, session: Session, there: StoredMessage, message: Message, place: ObjectPlace) -> Looked:
        """What a message is worth that names an object elsewhere: all of that is read. Raises LinkDown."""
        content = message.content
        try:
            digest = await fetch.object_digest(Api.over(session), place)
        except PermissionError as error:
            self._lane.not_read("read_denied", str(error))
            return Looked(Whose.UNSEEN, wait=DENIED)
        except LanePaused as error:
            self._lane.not_read("read_failed", str(error))
            return Looked(Whose.UNSEEN)
        if digest == content.sha256:
            return Looked(Whose.OURS, there, proved=True)
        mine = place.names in (self._settings.bucket, self._settings.former) and place.name == content.sha256
        return Looked(Whose.ELSEWHERE if mine else Whose.ANOTHERS, there)

    async def _seen(self, session: Session, message: Message, claim: Claim) -> own.OwnMessage:
        """The message on our own subject that may be ours; on a subject of many messages, the one at that sequence."""
        api, stream = Api.over(session), self._settings.stream
        if self._settings.per_digest or not claim.seq:
            return await own.newest(api, stream, message.subject)
        return await own.at(api, stream, message.subject, claim.seq)


def _holds(there: StoredMessage, message: Message) -> bool:
    """Whether a message has our bytes, whatever its headers say; or names the object that has them.

    Where it names an object and ours has the bytes, the file becomes that object first, and so the object is checked.
    """
    content = message.content
    if there.object:
        return not message.object or there.object == message.object
    return there.holds(content.sha256, content.stamp.size)


class FreshIds:
    """The ids of messages that are sent afresh.

    Copies of one content get the same id, and so does the next attempt after a cut: then the stream can tell that they
    are copies.
    """

    def __init__(self, settings: MessageSettings) -> None:
        self._settings = settings
        self._behind: dict[str, str] = {}  # first ids, and what follows them

    def give(self, message: Message) -> Message | None:
        """The message under a fresh id. None: this one had one, which is of no use either; the next one is another."""
        known = first_id(message.msg_id)
        if message.msg_id != known:
            self._behind.pop(known, None)
            return None
        behind = self._behind.setdefault(known, secrets.token_hex(_RANDOM_BYTES))
        return encode(message.content, self._settings, message.object, afresh=behind)

    def over(self, msg_id: str) -> None:
        """There is a receipt."""
        if self._behind:
            self._behind.pop(first_id(msg_id), None)

    def clear(self) -> None:
        """No file waits."""
        self._behind.clear()
