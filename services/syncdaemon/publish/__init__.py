"""Publishing: a batch of files becomes messages, and each answer of the server an outcome.

What is sent and not answered is in doubt; it stays in the replay directory and is sent again, and the stream
refuses the second copy.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from syncdaemon.base.errors import LinkDown
from syncdaemon.base.model import AsObject, Content, Fit, Outcome, Receipt, Refusal, StoredHeaders
from syncdaemon.link import Session, pace
from syncdaemon.publish.batches import Batches, Trial
from syncdaemon.publish.flight import Flight
from syncdaemon.publish.lane import PROBE_ID, Journal, Lane
from syncdaemon.publish.message import Message, MessageSettings, encode, is_of, overhead
from syncdaemon.stream import verdict
from syncdaemon.stream.object_format import object_of
from syncdaemon.stream.prepare import Memory
from syncdaemon.stream.stored import StoredMessage

__all__ = ["PROBE_ID", "Journal", "Lane", "PublishWatcher", "Publisher"]

MOST_UNKNOWABLE = 64  # messages in flight where nobody could tell later which of them were stored
_READS_AT_ONCE = 16
_AHEAD = 2  # batches of which not all is sent: the next stay in the directory, where newer files can overtake them


class PublishWatcher(Protocol):
    """Is told what happens, for metrics."""

    def answered(self, latencies: Sequence[float], size: int) -> None:
        """Messages were stored, so long after they were sent; `size` bytes of payload."""

    def failed(self, reason: str, count: int) -> None:
        """`count` messages were not stored, for a reason that passes."""


class Publisher:
    """Publishes batches over the link, as fast as it takes them."""

    def __init__(self, lane: Lane, settings: MessageSettings, watcher: PublishWatcher) -> None:
        self.lane = lane
        self._settings = settings
        self._watcher = watcher
        self._sending = asyncio.Lock()
        self._moved = asyncio.Event()  # a flight is sent, or landed
        self._unsent = 0  # flights that are not on their way yet, or not wholly
        self._under_way = 0  # those and the ones that are not answered yet
        self.batches = Batches(lane, settings.stream, self._doubted)
        self.in_doubt: dict[bytes, str] = {}  # by path: the id that was sent for the file, and not answered

    async def ready(self) -> Session:
        """Waits until something can be sent, over the session that is returned. Raises SettingsError (`Lane`)."""
        return await self.lane.ready()

    async def caught_up(self) -> None:
        """Waits until little of what it was given is still to be sent."""
        while self._unsent >= _AHEAD:
            self._moved.clear()
            await self._moved.wait()

    async def believed(self) -> None:
        """Waits until it is known whether the server has what it acknowledged."""
        await self.lane.belief.wait()

    def nothing_waits(self) -> None:
        """There is no file, so none is in doubt."""
        self.in_doubt.clear()
        self.lane.doubt.forget()

    def fit(self, session: Session) -> Fit:
        """How much is best read for this session."""
        limits = [session.max_payload]
        if self.lane.stream is not None and self.lane.stream.max_msg_size >= 0:
            limits.append(self.lane.stream.max_msg_size)
        message = min(limits) - overhead(self._settings)
        slow = session.step.largest
        return Fit(message, message if slow is None else min(slow, message), pace.batch(session.rate))

    def refusal(self, content: Content, session: Session) -> Refusal | None:
        """Why no message of this session can stand for the file, not even one that names an object; None: one can."""
        size = encode(content, self._settings, object_of(content.sha256)).size
        if size <= session.max_payload:
            return None
        detail = f"{size} bytes of headers alone, the server takes {session.max_payload} (max_payload)"
        return Refusal(content, "too_large", detail)

    async def publish(self, batch: Sequence[Content], session: Session) -> list[Outcome]:
        """Sends a batch and waits for the answers: the receipts and refusals that are certain.

        The message of a file without its data names the object that has it, which is there by then. A file without
        an outcome was not stored, or nobody knows (then it is `in_doubt`): it stays and is sent again. What is sent
        again can't be stored twice.
        """
        outcomes: list[Outcome] = []
        messages: list[Message] = []
        for content in batch:
            message = encode(content, self._settings, object_of(content.sha256) if content.data is None else "")
            if message.size > session.max_payload:
                if refusal := self.refusal(content, session):
                    outcomes.append(refusal)
                continue  # else the limit shrank since it was read: it is read again, and then it is an object's
            if seen := self.lane.doubt.found(message.msg_id):
                outcomes.append(self._found(message, seen))
            else:
                messages.append(message)
        fresh, rest = self.batches.fresh(messages, session)
        async with self.batches.trying:
            if trial := self.batches.trial(fresh):
                outcomes += await self._try(session, trial)
                fresh = list(trial.rest)
        for flight in self.batches.flights(fresh, rest, self._most):
            outcomes += await self._exchange(session, flight)
        return outcomes

    async def _try(self, session: Session, trial: Trial) -> list[Outcome]:
        """Sends it with nothing else of ours under way, so that it takes only its own time."""
        outcomes: list[Outcome] = []
        while self._under_way:
            self._moved.clear()
            await self._moved.wait()
        began = time.monotonic()
        for flight in trial.flights:
            outcomes += await self._exchange(session, flight)
        trial.ended(began)
        return outcomes

    @property
    def _most(self) -> int:
        """How many messages may be in flight, and so in doubt, at once."""
        return MOST_UNKNOWABLE if self.lane.memory is Memory.WINDOW else pace.MAX_MESSAGES

    async def _exchange(self, session: Session, flight: Flight) -> list[Outcome]:
        """Sends, and judges the answers. Of a rejected batch nothing is stored: its messages go one by one at once."""
        if self.lane.memory is Memory.HISTORY:
            await self.lane.note([message for message in flight.messages if not self._noted(message)])
        await self._fly(session, flight)
        if instead := self.batches.landed(flight):
            await self._fly(session, instead)
            flight = instead
        await self.batches.check(flight, session)
        return await self._judge(session, flight)

    async def _fly(self, session: Session, flight: Flight) -> None:
        """Sends all as fast as the link takes it, and waits until all is answered or lost."""
        self._under_way += 1
        try:
            await self._send(session, flight)
            await flight.landed
        finally:
            self._under_way -= 1
            self._moved.set()

    async def _send(self, session: Session, flight: Flight) -> None:
        self._unsent += 1
        try:
            async with self._sending:
                session.window.max_messages = self._most
                await flight.send(session)
        except LinkDown as error:
            flight.lost(str(error))
        finally:
            self._unsent -= 1
            self._moved.set()

    async def _judge(self, session: Session, flight: Flight) -> list[Outcome]:
        outcomes: list[Outcome] = []
        taken: list[tuple[Message, verdict.Stored | verdict.Known]] = []
        trouble: Counter[str] = Counter()
        stored = 0
        for key, (message, judged) in enumerate(zip(flight.messages, flight.answers, strict=True)):
            if judged is None:
                if key < flight.handed:
                    self.in_doubt[message.content.path] = message.msg_id
                else:
                    self._not_stored(message)
                trouble["link_down"] += 1
                continue
            if isinstance(judged, verdict.Stored) and not judged.duplicate:
                stored += len(message.body)
                outcomes.append(self._receipt(message, judged.seq, duplicate=False))
            elif isinstance(judged, verdict.Stored | verdict.Known):
                taken.append((message, judged))
            elif isinstance(judged, verdict.Refuse):
                self._not_stored(message)
                outcomes.append(Refusal(message.content, judged.reason, judged.detail))
            else:
                self._not_stored(message)
                trouble[judged.reason] += 1
                self.lane.heed(judged)
        for reason, count in trouble.items():
            self._watcher.failed(reason, count)
        for start in range(0, len(taken), _READS_AT_ONCE):
            part = taken[start : start + _READS_AT_ONCE]
            found = await asyncio.gather(*(self._read_back(session, message, judged) for message, judged in part))
            for (message, _), outcome in zip(part, found, strict=True):
                if not isinstance(outcome, Receipt):
                    self._not_stored(message)
            outcomes += [outcome for outcome in found if outcome is not None]
        self._watcher.answered(flight.latencies, stored)
        return outcomes

    def receipts_written(self, receipts: Sequence[Receipt]) -> None:
        """The ledger has these. Only now are their attempts over: until then, a process that comes after a crash needs
        to know of them."""
        if self.lane.doubt:
            for receipt in receipts:
                self.lane.doubt.answered(receipt.msg_id)

    def _not_stored(self, message: Message) -> None:
        """By this attempt. What became of an earlier one that was not answered, this does not tell."""
        if not self._doubted(message):
            self.lane.doubt.answered(message.msg_id)

    def _doubted(self, message: Message) -> bool:
        return self.in_doubt.get(message.content.path) == message.msg_id

    def _noted(self, message: Message) -> bool:
        """Whether it was sent before, and an earlier attempt stands for this one."""
        return self._doubted(message) and message.msg_id in self.lane.doubt

    def _receipt(
        self, message: Message, seq: int, duplicate: bool, there: StoredMessage | StoredHeaders | None = None
    ) -> Receipt:
        """`there`: the message that the stream holds. It may be of another site, with the same content."""
        self.in_doubt.pop(message.content.path, None)
        if not duplicate:
            self.lane.recent.add(seq)
        self.lane.stored(seq)
        subject, where = message.subject, message.object
        if there is not None:
            subject, where = there.subject, there.headers.get("Edge-Object", "")
        return Receipt(message.content, message.msg_id, subject, self._settings.stream, seq, duplicate, where)

    async def _read_back(
        self, session: Session, message: Message, judged: verdict.Stored | verdict.Known
    ) -> Outcome | None:
        """Looks at the message that is in the stream already; None where it can't be seen now."""
        ask = {"seq": judged.seq} if judged.seq else {"last_by_subj": message.subject}
        stream = self._settings.stream
        try:
            answer = await session.request_json(f"$JS.API.STREAM.MSG.GET.{stream}", ask)
        except PermissionError as error:
            self.lane.read_denied(error)
            return None
        except LinkDown:
            self.in_doubt[message.content.path] = message.msg_id
            return None
        if answer is None or "message" not in answer:
            if isinstance(judged, verdict.Stored):  # stored once, and taken out since: consumed, or expired
                return self._receipt(message, judged.seq, duplicate=not self._doubted(message))
            self.lane.pause("read_failed", f"the stream's message {judged.seq} can't be read back", 1.0)
            return None
        return self._compare(message, StoredMessage.from_api(answer["message"]))

    def _compare(self, message: Message, stored: StoredMessage) -> Outcome:
        content = message.content
        if not stored.holds(message.msg_id, content):
            detail = f"message {stored.seq} of the stream has this subject, and is another's: {message.subject}"
            return Refusal(content, "subject_taken", detail)
        return self._found(message, stored)

    def _found(self, message: Message, there: StoredMessage | StoredHeaders) -> Receipt | AsObject:
        """The stream holds it. Where that is a message that names an object, only who sends such a one has seen to it
        that the object is there: the server may have lost it alone.
        """
        if there.headers.get("Edge-Object") and not message.object:
            return AsObject(message.content)
        own = self._is_own(message, there.seq, there.headers)
        return self._receipt(message, there.seq, not own, there)

    def _is_own(self, message: Message, seq: int, headers: Mapping[str, str]) -> bool:
        """Whether the message at `seq` was sent for this very file, by us or by a process that crashed, and that is
        not yet recorded; or whether it is ours and its row counts no more: the file came back from the hold, perhaps to
        another place.
        """
        if self.lane.recent.is_void(seq):
            return headers.get("Edge-Site") == self._settings.site
        crashed = self.lane.recent.lacks(seq)
        unrecorded = crashed or (self._doubted(message) and not self.lane.recent.has(seq))
        return unrecorded and is_of(headers, message.content, self._settings.site)
