"""What the server's answers mean for the files: receipts, refusals, and files that stay."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.base.model import AsObject, Outcome, Receipt, Refusal, StoredHeaders
from syncdaemon.link import Session
from syncdaemon.publish.flight import Flight
from syncdaemon.publish.lane import Lane
from syncdaemon.publish.message import Message, MessageSettings, is_of
from syncdaemon.stream import verdict
from syncdaemon.stream.api import Api
from syncdaemon.stream.stored import StoredMessage

_READS_AT_ONCE = 16

_Claim = tuple[Message, verdict.Stored | verdict.Known]
"""A message, and an answer which claims that the stream holds it already."""


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
        self._settings = settings
        self._watcher = watcher

    def doubted(self, message: Message) -> bool:
        """Whether this message was sent before, and not answered."""
        return self.in_doubt.get(message.content.path) == message.msg_id

    def noted(self, message: Message) -> bool:
        """Whether this message was sent before, and the ledger's row of that attempt covers this one too."""
        return self.doubted(message) and message.msg_id in self._doubt

    def nothing_waits(self) -> None:
        """There is no file, so none is in doubt."""
        self.in_doubt.clear()
        self._doubt.forget()

    def receipts_written(self, receipts: Sequence[Receipt]) -> None:
        """The ledger has these receipts, so their attempts are over.

        Not before: a process that comes after a crash has to know of attempts without a receipt.
        """
        if self._doubt:
            for receipt in receipts:
                self._doubt.answered(receipt.msg_id)

    async def judge(self, session: Session, flight: Flight) -> list[Outcome]:
        """The receipts and refusals that are certain. Of a file without one, we look into the stream, or it stays."""
        outcomes: list[Outcome] = []
        claimed: list[_Claim] = []
        trouble: Counter[str] = Counter()
        stored = 0
        for key, (message, judged) in enumerate(zip(flight.messages, flight.answers, strict=True)):
            if judged is None:
                if key < flight.handed:
                    self.in_doubt[message.content.path] = message.msg_id
                else:
                    self._not_stored(message)
                trouble["link_down"] += 1
            elif isinstance(judged, verdict.Stored) and not judged.duplicate:
                stored += len(message.body)
                outcomes.append(self._receipt(message, judged.seq, duplicate=False))
            elif isinstance(judged, verdict.Stored | verdict.Known):
                claimed.append((message, judged))
            elif isinstance(judged, verdict.Refuse):
                self._not_stored(message)
                outcomes.append(Refusal(message.content, judged.reason, judged.detail))
            else:
                if isinstance(judged, verdict.Doubtful):
                    self.in_doubt[message.content.path] = message.msg_id
                else:
                    self._not_stored(message)
                trouble[judged.reason] += 1
                self.lane.heed(judged)
        for reason, count in trouble.items():
            self._watcher.failed(reason, count)
        outcomes += await self._read_back_all(session, claimed)
        self._watcher.answered(flight.latencies, stored)
        return outcomes

    def found(self, message: Message, there: StoredMessage | StoredHeaders) -> Receipt | AsObject:
        """The stream holds the message: its receipt.

        A message there may name an object, while ours has the content itself. Then the file has to become an object
        as well: the server may have lost the object and kept the message.
        """
        if there.headers.get("Edge-Object") and not message.object:
            return AsObject(message.content)
        own = self._is_own(message, there.seq, there.headers)
        return self._receipt(message, there.seq, not own, there)

    def _not_stored(self, message: Message) -> None:
        """Not by this attempt. An earlier attempt without an answer may have stored it all the same."""
        if not self.doubted(message):
            self._doubt.answered(message.msg_id)

    def _receipt(
        self, message: Message, seq: int, duplicate: bool, there: StoredMessage | StoredHeaders | None = None
    ) -> Receipt:
        """`there`: the message that the stream holds. It may be of another site, with the same content."""
        self.in_doubt.pop(message.content.path, None)
        if not duplicate:
            recent = self.lane.recent
            recent.add(seq)
        self._trust.stored(seq)
        subject, where = message.subject, message.object
        if there is not None:
            subject, where = there.subject, there.headers.get("Edge-Object", "")
        return Receipt(message.content, message.msg_id, subject, self._settings.stream, seq, duplicate, where)

    async def _read_back_all(self, session: Session, claimed: Sequence[_Claim]) -> list[Outcome]:
        """Looks at the messages that the stream holds already, some at a time."""
        outcomes: list[Outcome] = []
        for start in range(0, len(claimed), _READS_AT_ONCE):
            part = claimed[start : start + _READS_AT_ONCE]
            found = await asyncio.gather(*(self._read_back(session, message, judged) for message, judged in part))
            for (message, _), outcome in zip(part, found, strict=True):
                if not isinstance(outcome, Receipt):
                    self._not_stored(message)
            outcomes += [outcome for outcome in found if outcome is not None]
        return outcomes

    async def _read_back(
        self, session: Session, message: Message, judged: verdict.Stored | verdict.Known
    ) -> Outcome | None:
        """Looks at the message that is in the stream already; None where it can't be seen now."""
        api, stream = Api(session), self._settings.stream
        try:
            there = await (api.message(stream, judged.seq) if judged.seq else api.last(stream, message.subject))
        except PermissionError as error:
            self.lane.read_denied(error)
            return None
        except LinkDown:
            self.in_doubt[message.content.path] = message.msg_id
            return None
        except LanePaused as error:
            self.lane.pause("read_failed", str(error), 1.0)
            return None
        if isinstance(there, StoredMessage):
            return self._compare(message, there)
        if isinstance(judged, verdict.Stored):  # stored once, and taken out since: consumed, or expired
            return self._receipt(message, judged.seq, duplicate=not self.doubted(message))
        self.lane.pause("read_failed", f"the stream's message {judged.seq} can't be read back", 1.0)
        return None

    def _compare(self, message: Message, stored: StoredMessage) -> Outcome:
        content = message.content
        if not stored.holds(message.msg_id, content):
            detail = f"message {stored.seq} of the stream has this subject, and is another's: {message.subject}"
            return Refusal(content, "subject_taken", detail)
        return self.found(message, stored)

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
