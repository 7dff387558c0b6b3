"""Publishing: a batch of files becomes messages, and each answer of the server an outcome.

What is sent and not answered is in doubt; it stays in the replay directory and is sent again, and the stream
refuses the second copy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from syncdaemon.base.errors import LinkDown, Unsendable
from syncdaemon.base.model import Content, Fit, Outcome, Receipt, Refusal
from syncdaemon.link import Session, pace
from syncdaemon.link.frame import MOST_HEADERS, guard
from syncdaemon.publish.batches import Batches, Trial
from syncdaemon.publish.flight import Flight
from syncdaemon.publish.lane import PROBE_ID, Lane
from syncdaemon.publish.message import Message, MessageSettings, encode, overhead
from syncdaemon.publish.outcomes import Outcomes, PublishWatcher
from syncdaemon.publish.resolve import Journal
from syncdaemon.publish.sounding import Sounding
from syncdaemon.stream.info import Memory

__all__ = ["PROBE_ID", "Journal", "Lane", "PublishWatcher", "Publisher"]

MOST_UNKNOWABLE = 64  # messages in flight where we could not find out later which of them were stored
_AHEAD = 2  # batches of which not all is sent: the next stay in the directory, where newer files can overtake them


class Publisher:
    """Publishes batches over the link, as fast as it takes them.

    The class has more than 150 lines because it is the one door through which files are published.
    """

    def __init__(self, lane: Lane, settings: MessageSettings, watcher: PublishWatcher) -> None:
        self.lane = lane
        self._doubt, self._trust = lane.doubt, lane.trust
        self._settings = settings
        self._outcomes = Outcomes(lane, settings, watcher)
        self._sending = asyncio.Lock()
        self._moved = asyncio.Event()  # a flight is sent, or landed
        self._unsent = 0  # flights of which not every message has left
        self._under_way = 0  # these, and the flights that are not answered yet
        self._landed = 0  # flights since the start
        self._sounding = Sounding(lane, self._landing)
        self.batches = Batches(lane, self._outcomes.doubted, watcher.failed)

    @property
    def in_doubt(self) -> Mapping[bytes, str]:
        """For each file whose message was sent and not answered, by its path, the id of that message."""
        return self._outcomes.in_doubt

    async def ready(self) -> Session:
        """Waits until something can be sent. Returns the session to send it over. Raises SettingsError (`Lane`)."""
        return await self.lane.ready()

    async def caught_up(self) -> None:
        """Waits until most of the batches that it was given are sent."""
        while self._unsent >= _AHEAD:
            self._moved.clear()
            await self._moved.wait()

    async def believed(self) -> None:
        """Waits until we know whether the server has what it acknowledged."""
        await self._trust.believed()

    async def measured(self, session: Session) -> None:
        """Waits until it is known how fast the link is, which decides how a large file is cut."""
        await self._sounding.measure(session)

    def nothing_waits(self) -> None:
        """There is no file, so none is in doubt."""
        self._outcomes.nothing_waits()

    def receipts_written(self, receipts: Sequence[Receipt]) -> None:
        """The ledger has these receipts, so their attempts are over."""
        self._outcomes.receipts_written(receipts)

    def fit(self, session: Session) -> Fit:
        """How much is best read for this session."""
        message = self.lane.largest(session) - overhead(self._settings)
        slow = session.step.largest if self._sounding.sure(session) else None
        return Fit(message, message if slow is None else min(slow, message), pace.batch(session.rate))

    def refusal(self, content: Content, session: Session) -> Refusal | None:
        """Why this session can send no message for the file, not even one that names an object; None where it can."""
        try:
            message = encode(content, self._settings, content.object or self._settings.object_of(content.sha256))
        except Unsendable as error:
            return Refusal(content, "unsendable", str(error))
        if message.size > session.max_payload:
            detail = f"{message.size} bytes of headers alone, the server takes {session.max_payload} (max_payload)"
            return None if self.lane.too_tight(session) else Refusal(content, "too_large", detail)
        if len(message.headers) > MOST_HEADERS:
            return Refusal(content, "headers_too_large", f"{len(message.headers)} bytes of headers")
        return None

    async def publish(self, batch: Sequence[Content], session: Session) -> list[Outcome]:
        """Sends a batch and waits for the answers. Returns the receipts and refusals that are certain.

        The message of a file without data names the object that has the data; the object is there by then. A file
        without an outcome was not stored, or we cannot tell; then it is `in_doubt`. It stays and is sent again. What
        is sent again is not stored twice.
        """
        outcomes: list[Outcome] = []
        messages: list[Message] = []
        for content in batch:
            message = self._message(content)
            if isinstance(message, Refusal):
                outcomes.append(message)
            elif message.size > session.max_payload or len(message.headers) > MOST_HEADERS:
                if refusal := self.refusal(content, session):
                    outcomes.append(refusal)
                # else the limit shrank since it was read: it is read again, and becomes an object
            elif seen := self._doubt.found(message.msg_id):
                outcomes.append(self._outcomes.found(message, seen))
            else:
                messages.append(message)
        at_once, larger = self._sounding.split(messages, session)
        outcomes += await self._deliver(at_once, session)
        if larger:
            fitting, later = await self._sounding.fitting(larger, session)
            outcomes += later
            outcomes += await self._deliver(fitting, session)
        return outcomes

    async def _deliver(self, messages: Sequence[Message], session: Session) -> list[Outcome]:
        """Sends these, in batches or one by one, and waits for the answers."""
        outcomes: list[Outcome] = []
        fresh, rest = self.batches.fresh(messages, session)
        async with self.batches.trying:
            if trial := self.batches.trial(fresh):
                outcomes += await self._try(session, trial)
                fresh = list(trial.rest)
        for flight in self.batches.flights(fresh, rest, self._most):
            outcomes += await self._exchange(session, flight)
        return outcomes

    def _message(self, content: Content) -> Message | Refusal:
        """What is sent for a file; a refusal where no frame can carry it."""
        elsewhere = ""
        if content.data is None:
            elsewhere = content.object or self._settings.object_of(content.sha256)
        try:
            message = encode(content, self._settings, elsewhere)
            guard(message.subject.encode())
        except Unsendable as error:
            return Refusal(content, "unsendable", str(error))
        return message

    async def _try(self, session: Session, trial: Trial) -> list[Outcome]:
        """Sends the trial while nothing else of ours is under way, so that we measure its own time."""
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
        """Sends, and judges the answers. Nothing of a rejected batch is stored: its messages then go one by one.

        What the server took for a copy of a message that is not ours is sent afresh. It needs no row of its own: the
        attempt of its first id is open until it has a receipt.
        """
        if self.lane.memory is Memory.HISTORY:
            await self.lane.note([message for message in flight.messages if not self._outcomes.noted(message)])
        await self._fly(session, flight)
        if instead := self.batches.landed(flight):
            await self._fly(session, instead)
            flight = instead
        await self.batches.check(flight, session)
        outcomes, afresh = await self._outcomes.judge(session, flight)
        if afresh:
            again = Flight(afresh, self.lane.home)
            await self._fly(session, again)
            more, _ = await self._outcomes.judge(session, again)
            outcomes += more
        return outcomes

    async def _fly(self, session: Session, flight: Flight) -> None:
        """Sends all as fast as the link takes it, and waits until all is answered or lost."""
        self._under_way += 1
        try:
            await self._send(session, flight)
            await flight.landed
        finally:
            self._under_way -= 1
            self._landed += 1
            self._moved.set()

    async def _landing(self) -> bool:
        """Waits until one of the flights under way has landed; False where there is none."""
        before, any_under_way = self._landed, bool(self._under_way)
        while self._under_way and self._landed == before:
            self._moved.clear()
            await self._moved.wait()
        return any_under_way

    async def _send(self, session: Session, flight: Flight) -> None:
        self._unsent += 1
        try:
            async with self._sending:
                session.window.max_messages = self._most
                flight.floor = self._trust.last_seq
                await flight.send(session)
        except LinkDown as error:
            flight.lost(str(error))
        finally:
            self._unsent -= 1
            self._moved.set()
