"""Which messages go as an atomic batch: those that can, where the stream takes batches and they are the better way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.link import Session
from syncdaemon.publish.atomic import MORE_BYTES, MOST, AtomicFlight
from syncdaemon.publish.choice import Choice, Timing, Way
from syncdaemon.publish.flight import Flight
from syncdaemon.publish.lane import Lane
from syncdaemon.publish.message import Message
from syncdaemon.stream import own
from syncdaemon.stream.api import Api
from syncdaemon.stream.info import Memory
from syncdaemon.stream.stored import StoredMessage

SMALL = 64 << 10  # bytes: larger messages cost the server more in a batch than one by one, however it syncs
_BUSY_SECONDS = 30.0  # until a batch is tried again where others hold all that a stream keeps open

log = structlog.get_logger(__name__)


class Batches:
    """Decides which messages go as a batch. `doubted` says whether a message was sent before and not answered.

    `failed` is called with a reason and a number of messages, where they went as singles because no batch was free.

    Whoever sends takes `trying` first. So nothing else begins while a trial is under way.
    """

    def __init__(self, lane: Lane, doubted: Callable[[Message], bool], failed: Callable[[str, int], None]) -> None:
        self.choice = Choice()
        self.trying = asyncio.Lock()
        self._lane = lane
        self._doubted = doubted
        self._failed = failed
        self._barred = -1  # the preparation of the stream that shows no batches
        self._busy_until = 0.0
        self._checked: Session | None = None

    @property
    def allowed(self) -> bool:
        """Whether the stream takes batches, as far as we know, and one in doubt can be looked for later.

        Where its settings are not seen, the first batch shows whether it does.
        """
        stream, lane = self._lane.stream, self._lane
        if lane.preparations == self._barred or time.monotonic() < self._busy_until:
            return False
        return (stream is None or stream.allow_atomic) and lane.memory is not Memory.WINDOW

    def fresh(self, messages: Sequence[Message], session: Session) -> tuple[list[Message], list[Message]]:
        """The messages that can be in a batch, and the rest.

        The rest: messages that the stream may know, because they were sent before or share their id with another one;
        large messages, which gain nothing; and those that a batch's headers would make too large for the server.
        """
        if not self.allowed:
            return [], list(messages)
        found: dict[str, Message] = {}
        rest = []
        most = min(SMALL, session.max_payload - MORE_BYTES)
        for message in messages:
            if message.size > most or message.msg_id in found or self._doubted(message):
                rest.append(message)
            else:
                found[message.msg_id] = message
        return list(found.values()), rest

    def trial(self, messages: Sequence[Message]) -> Trial | None:
        """The first of these messages, as singles and as a batch, where it is time to compare them."""
        if not messages or not self.allowed:
            return None
        count = self.choice.trial(len(messages), _size(messages), time.monotonic())
        if not count:
            return None
        singles, end = 1 + count, 1 + 2 * count
        home = self._lane.home
        alone, one_by_one = Flight(messages[:1], home), Flight(messages[1:singles], home)
        return Trial(self.choice, messages, alone, one_by_one, AtomicFlight(messages[singles:end], *home))

    def flights(self, fresh: Sequence[Message], rest: Sequence[Message], most: int) -> list[Flight]:
        """The better way for those that can be in a batch; the rest as singles. No flight has more than `most`."""
        if fresh and self.allowed and self.choice.way(len(fresh), _size(fresh)) is Way.BATCH:
            batches = [AtomicFlight(part, *self._lane.home) for part in _parts(fresh, min(MOST, most))]
            return [*batches, *self._singly(rest, most)]
        return self._singly([*fresh, *rest], most)

    def landed(self, flight: Flight) -> Flight | None:
        """A flight is over. Where it was a batch and nothing of it is stored: the same messages as singles."""
        if not isinstance(flight, AtomicFlight):
            return None
        if flight.unclear or (flight.rejected and flight.rejected.barred):
            self._bar()
        if flight.rejected and flight.rejected.busy:
            self._busy_until = time.monotonic() + _BUSY_SECONDS
            self._failed("batch_slots", len(flight.messages))
            log.warning("batches_busy", reason=flight.rejected.detail, effect="messages go one by one for a while")
        elif flight.rejected:
            self.choice.refused()
        if flight.rejected:
            return Flight(flight.messages, self._lane.home)
        if flight.whole:
            self.choice.stored()
        return None

    async def check(self, flight: Flight, session: Session) -> None:
        """Looks whether the first message of a connection's first batch is where the answer says that it is.

        If not, or if we cannot find out, the batch is in doubt. Where we may not look, the answer alone counts.
        """
        if not isinstance(flight, AtomicFlight) or not flight.whole or session is self._checked:
            return
        there: StoredMessage | None = None
        first, home = flight.messages[0], self._lane.home
        try:
            seen = await own.at(Api.over(session), home.stream, first.subject, flight.first_seq)
            if seen.message is None and not (seen.surely or seen.elsewhere):
                return  # a copy of the stream that is behind
            there = seen.message
        except PermissionError:
            self._checked = session
            return
        except LinkDown:
            flight.doubt()
            return
        except LanePaused as error:
            log.warning("batch_not_checked", reason=str(error))
        if there is not None and there.msg_id == first.msg_id:
            self._checked = session
            return
        log.error("batch_misnumbered", seq=flight.first_seq, effect="its files are in doubt, and go one by one")
        self._bar()
        flight.doubt()

    def _singly(self, messages: Sequence[Message], most: int) -> list[Flight]:
        """Flights of no more than `most` messages, each stored by itself."""
        return [Flight(part, self._lane.home) for part in _parts(messages, most)]

    def _bar(self) -> None:
        """No more batches until the stream is prepared again."""
        self._barred = self._lane.preparations


class Trial(NamedTuple):
    """The first messages of a group: one alone, some as singles, and as many as a batch."""

    choice: Choice
    group: Sequence[Message]
    alone: Flight
    singles: Flight
    batch: AtomicFlight

    @property
    def flights(self) -> tuple[Flight, ...]:
        """One after another."""
        return self.alone, self.singles, self.batch

    @property
    def rest(self) -> Sequence[Message]:
        """What of the group is in none of them."""
        return self.group[sum(len(flight.messages) for flight in self.flights) :]

    def ended(self, began: float) -> None:
        """The trial began then, and is over now. Where all was stored, it shows which way is the better one."""
        size = _size(self.group)
        if all(flight.whole for flight in self.flights):
            self.choice.tried(len(self.group), size, Timing(*(flight.seconds for flight in self.flights)))
        self.choice.ended(len(self.group), size, began, time.monotonic())


def _parts(messages: Sequence[Message], most: int) -> list[Sequence[Message]]:
    return [messages[start : start + most] for start in range(0, len(messages), most)]


def _size(messages: Sequence[Message]) -> int:
    return sum(message.size for message in messages)
