"""What the server's answers mean for the files: receipts, refusals, and files that stay.

An answer that the stream has a message already proves little: the id may be that of a neighbour's message, and the
message may be gone. Only a message on our own subject that has our bytes is a receipt.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from syncdaemon.base.errors import LinkDown
from syncdaemon.base.model import AsObject, Later, Outcome, Receipt, Refusal, StoredHeaders, first_id
from syncdaemon.link import Session
from syncdaemon.publish.claims import Claim, Claims, FreshIds, Whose
from syncdaemon.publish.flight import Flight
from syncdaemon.publish.lane import Lane
from syncdaemon.publish.message import Message, MessageSettings, is_of
from syncdaemon.stream import verdict
from syncdaemon.stream.stored import StoredMessage

_READS_AT_ONCE = 16
_WHY_AFRESH = "the server knows its id from a message that is not on our subject, or not there any more"
_WHY_NOT_FREED = (
    "message {seq} on {subject} is a tombstone: it says that this content was received and freed before, and whoever "
    "may publish there can have written it. If only this site and its reader may, set SYNC_TOMBSTONES=delivered, and "
    "then `syncdaemon quarantine requeue`; to store the content again, take the tombstone out of the stream first"
)

log = structlog.get_logger(__name__)


class PublishWatcher(Protocol):
    """Counts what happens, for the metrics."""

    def answered(self, latencies: Sequence[float], size: int) -> None:
        """Messages were stored, so many seconds after they were sent; `size` bytes of payload."""

    def failed(self, reason: str, count: int) -> None:
        """`count` messages were not stored, for a reason that passes."""


class Outcomes:
    """Turns answers into outcomes.

    The class has more than 150 lines because no other place makes an outcome.

    `in_doubt`: for each file whose message was sent and not answered, by its path, the id of that message.
    """

    def __init__(self, lane: Lane, settings: MessageSettings, watcher: PublishWatcher) -> None:
        self.lane = lane
        self._doubt, self._trust = lane.doubt, lane.trust
        self.in_doubt: dict[bytes, str] = {}
        self._claims, self._fresh_ids = Claims(lane, settings), FreshIds(settings)
        self._settings = settings
        self._watcher = watcher

    def doubted(self, message: Message) -> bool:
        """Whether this message was sent before, and not answered."""
        sent_id = self.in_doubt.get(message.content.path)
        return sent_id is not None and first_id(sent_id) == first_id(message.msg_id)

    def noted(self, message: Message) -> bool:
        """Whether this message was sent before, and the ledger's row of that attempt covers this one too."""
        return self.doubted(message) and message.msg_id in self._doubt

    def nothing_waits(self) -> None:
        """There is no file, so none is in doubt."""
        self.in_doubt.clear()
        self._fresh_ids.clear()
        self._doubt.forget()

    def receipts_written(self, receipts: Sequence[Receipt]) -> None:
        """The ledger has these receipts, so their attempts are over.

        Not before: a process that comes after a crash has to know of attempts without a receipt.
        """
        if self._doubt:
            for receipt in receipts:
                self._doubt.answered(receipt.msg_id)

    async def judge(self, session: Session, flight: Flight) -> tuple[list[Outcome], list[Message]]:
        """What is certain of the files, and the messages that have to be sent afresh.

        Of a file without an outcome, we look into the stream, or it stays.
        """
        outcomes: list[Outcome] = []
        claimed: list[tuple[Message, Claim]] = []
        trouble: Counter[str] = Counter()
        stored, floor = 0, flight.floor
        for key, (message, judged) in enumerate(zip(flight.messages, flight.answers, strict=True)):
            if judged is None:
                if key < flight.handed:
                    self.in_doubt[message.content.path] = message.msg_id
                else:
                    self._not_stored(message)
                trouble["link_down"] += 1
            elif isinstance(judged, verdict.Stored) and not judged.duplicate:
                if judged.seq <= floor:
                    self.lane.went_back(judged.seq)
                floor = judged.seq
                stored += len(message.body)
                outcomes.append(self._receipt(message, judged.seq, duplicate=False))
            elif isinstance(judged, verdict.Stored | verdict.Known):
                claimed.append((message, judged))
            elif isinstance(judged, verdict.Refuse):
                self._not_stored(message)
                if (outcome := self._refused(session, message, judged)) is not None:
                    outcomes.append(outcome)
            else:
                if isinstance(judged, verdict.Doubtful):
                    self.in_doubt[message.content.path] = message.msg_id
                else:
                    self._not_stored(message)
                trouble[judged.reason] += 1
                self.lane.heed(judged)
        for reason, count in trouble.items():
            self._watcher.failed(reason, count)
        found, afresh = await self._read_back_all(session, claimed)
        self._watcher.answered(flight.latencies, stored)
        return outcomes + found, afresh

    def found(self, message: Message, there: StoredMessage | StoredHeaders, proved: bool = False) -> Receipt | AsObject:
        """The stream holds the message: its receipt. `proved`: the object that it names has our bytes.

        A message there may name an object, while ours has the content itself. Then the file has to become an object
        as well: the server may have lost the object and kept the message.
        """
        if (named := there.headers.get("Edge-Object", "")) and not message.object and not proved:
            digest = message.content.sha256
            return AsObject(message.content, named if named.endswith(f"/{digest}") else "")
        own = self._is_own(message, there.seq, there.headers)
        return self._receipt(message, there.seq, not own, there)

    def _refused(self, session: Session, message: Message, refused: verdict.Refuse) -> Refusal | AsObject | None:
        """What becomes of a file whose message the server does not take. None: it is taken again.

        Too large for the stream: its limit is lower than it was when we asked, or it is kept from us. The file becomes
        an object then. A message that names one is refused only if it was over the limit that we know.
        """
        if refused.reason == verdict.TOO_LARGE:
            unknown = self.lane.stream is not None and message.size <= self.lane.largest(session)
            self.lane.prepare_again()
            if not message.object:
                return AsObject(message.content)
            if unknown:
                return None
        return Refusal(message.content, refused.reason, refused.detail)

    def _not_stored(self, message: Message) -> None:
        """Not by this attempt. An earlier attempt without an answer may have stored it all the same."""
        if not self.doubted(message):
            self._doubt.answered(message.msg_id)

    def _receipt(
        self, message: Message, seq: int, duplicate: bool, there: StoredMessage | StoredHeaders | None = None
    ) -> Receipt:
        """`there`: the message that the stream holds, on our subject. The row has its id where that is one of ours."""
        self.in_doubt.pop(message.content.path, None)
        self._fresh_ids.over(message.msg_id)
        if not duplicate:
            recent = self.lane.recent
            recent.add(seq)
        self._trust.stored(seq)
        msg_id, where = message.msg_id, message.object
        if there is not None:
            where = there.headers.get("Edge-Object", "")
            sent_id = there.headers.get("Nats-Msg-Id", "")
            msg_id = sent_id if first_id(sent_id) == first_id(msg_id) else msg_id
        return Receipt(message.content, msg_id, message.subject, self._settings.stream, seq, duplicate, where)

    async def _read_back_all(
        self, session: Session, claimed: Sequence[tuple[Message, Claim]]
    ) -> tuple[list[Outcome], list[Message]]:
        """Looks at the messages that the stream holds already, some at a time."""
        outcomes: list[Outcome] = []
        afresh: list[Message] = []
        for start in range(0, len(claimed), _READS_AT_ONCE):
            part = claimed[start : start + _READS_AT_ONCE]
            found = await asyncio.gather(*(self._read_back(session, message, judged) for message, judged in part))
            for (message, _), outcome in zip(part, found, strict=True):
                if isinstance(outcome, Message):
                    afresh.append(outcome)
                    continue
                if not isinstance(outcome, Receipt):
                    self._not_stored(message)
                if outcome is not None:
                    outcomes.append(outcome)
        return outcomes, afresh

    async def _read_back(self, session: Session, message: Message, claim: Claim) -> Outcome | Message | None:
        """What a claim is worth. A message: that is to be sent. None: the file is taken again."""
        content = message.content
        try:
            found = await self._claims.look(session, message, claim, self.doubted(message))
        except LinkDown:
            self.in_doubt[content.path] = message.msg_id
            return None
        if found.there is not None and found.whose is Whose.OURS:
            return self.found(message, found.there, found.proved)
        if found.there is not None and found.whose is Whose.ELSEWHERE:
            return AsObject(content, found.there.object)
        if found.there is not None and found.whose is Whose.FREED:
            return self._freed(message, found.there)
        match found.whose:
            case Whose.ANOTHERS:
                detail = f"message {claim.seq} of the stream has this subject, and is another's: {message.subject}"
                return Refusal(content, "subject_taken", detail)
            case Whose.GONE:
                return self._receipt(message, claim.seq, duplicate=False)
            case Whose.NOBODYS:
                return self._afresh(session, message)
        self._watcher.failed("not_read_back", 1)
        return Later(content, found.wait)

    def _freed(self, message: Message, there: StoredMessage) -> Receipt | Refusal:
        """What becomes of a file whose subject has a tombstone. By default it is kept: the tombstone may be forged."""
        if self._settings.freed_counts:
            return self._receipt(message, there.seq, duplicate=True)
        return Refusal(message.content, "subject_freed", _WHY_NOT_FREED.format(seq=there.seq, subject=message.subject))

    def _afresh(self, session: Session, message: Message) -> Message | AsObject | None:
        """The message under another id; the file as an object, where that id does not fit into a message any more."""
        again = self._fresh_ids.give(message)
        if again is None:
            return None
        if again.size > self.lane.largest(session):
            return AsObject(message.content)
        log.info("sent_afresh", path=message.content.name, msg_id=again.msg_id, reason=_WHY_AFRESH)
        return again

    def _is_own(self, message: Message, seq: int, headers: Mapping[str, str]) -> bool:
        """Whether the message at `seq` was sent for this very file, and no receipt that counts names it yet.

        We sent it, or a process of ours that crashed did. Or its receipt counts no more, because the file came back
        from the hold; then the file may have got another path since, and only the site is compared.
        """
        recent = self.lane.recent
        if recent.is_void(seq):
            return headers.get("Edge-Site") == self._settings.site
        crashed = recent.lacks(seq)
        unrecorded = crashed or (self.doubted(message) and not recent.has(seq))
        return unrecorded and is_of(headers, message.content, self._settings.site)
