"""Publishing: a batch of files becomes messages, and each answer of the server an outcome.

What is sent and not answered is in doubt; it stays in the replay directory and is sent again, and the stream
refuses the second copy.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Protocol

import structlog

from syncdaemon import pace, verdict
from syncdaemon.errors import LanePaused, LinkDown, SettingsError
from syncdaemon.link import Link, Session, frame
from syncdaemon.message import Message, MessageSettings, Stored, encode
from syncdaemon.model import Content, Outcome, Receipt, Refusal
from syncdaemon.stream import StreamInfo, StreamSettings, prepare

_SEND_BYTES = 128 << 10  # handed to the connection at once, before it is asked whether it is full
_READS_AT_ONCE = 16
_CONFIG_RETRY = 30.0  # seconds until a stream that refused us for its configuration is asked again
_SAY_AGAIN = 60.0  # seconds between two warnings about the same pause
_RECENT = 16_384  # sequences: far more than can be stored and not yet recorded
PROBE_ID = "0" * 64

log = structlog.get_logger(__name__)


class Watcher(Protocol):
    """Is told what happens, for metrics."""

    def answered(self, latencies: Sequence[float], size: int) -> None:
        """Messages were stored, so long after they were sent; `size` bytes of payload."""

    def failed(self, reason: str, count: int) -> None:
        """`count` messages were not stored, for a reason that passes."""


class _Flight:
    """The messages of one batch that are under way, and their answers."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.answers: list[tuple[bytes, bytes | None] | None] = []
        self.latencies: list[float] = []
        self.size = 0
        self.handed = False
        self.landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._missing = 0

    def add(self, message: Message) -> None:
        self.messages.append(message)
        self.answers.append(None)
        self.size += message.content.stamp.size
        self._missing += 1

    async def send(self, session: Session) -> None:
        """Raises LinkDown where the connection goes in between."""
        frames: list[bytes] = []
        size = 0
        for key, message in enumerate(self.messages):
            reply = session.expect(self, key)
            frames += frame(message.subject.encode(), reply, message.headers, message.content.data or b"")
            size += message.size
            if size >= _SEND_BYTES:
                self.handed = True
                await session.send(frames)
                frames, size = [], 0
        if frames:
            self.handed = True
            await session.send(frames)

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        self.answers[key] = (data, headers)
        self.latencies.append(latency)
        self._missing -= 1
        if not self._missing and not self.landed.done():
            self.landed.set_result(None)

    def lost(self, reason: str) -> None:
        if not self.landed.done():
            self.landed.set_result(None)


class Recent:
    """The sequences of the newest `published` rows: those that the ledger had at the start, and those since."""

    def __init__(self, seqs: Sequence[int] = (), whole: bool = True) -> None:
        """`whole`: there are no older ones."""
        self._order = deque(seqs)
        self._seqs = set(seqs)
        self._floor = 0 if whole else min(seqs, default=sys.maxsize) - 1  # below it, nothing is known

    def add(self, seq: int) -> None:
        """One more row; the oldest may be forgotten."""
        self._order.append(seq)
        self._seqs.add(seq)
        if len(self._order) > _RECENT:
            oldest = self._order.popleft()
            self._seqs.discard(oldest)
            self._floor = max(self._floor, oldest)

    def has(self, seq: int) -> bool:
        """Whether there certainly is such a row for this message."""
        return seq in self._seqs

    def lacks(self, seq: int) -> bool:
        """Whether there certainly is none."""
        return seq > self._floor and seq not in self._seqs


class Publisher:
    """Publishes batches over the link, as far as the window lets it."""

    def __init__(self, link: Link, settings: MessageSettings, stream: StreamSettings, watcher: Watcher) -> None:
        self._link = link
        self._settings = settings
        self._stream = stream
        self._watcher = watcher
        self._window = pace.Window()
        self._sending = asyncio.Lock()
        self._room = asyncio.Event()
        self._session: Session | None = None
        self._prepared: Session | None = None
        self._ever_prepared = False
        self._resume_at = 0.0
        self._said: tuple[str, float] = ("", 0.0)
        self.stream: StreamInfo | None = None
        self.paused = ""
        self.recorded = Recent()
        self.in_doubt: dict[bytes, str] = {}  # by path: the id that was sent for the file, and not answered

    @property
    def horizon(self) -> float:
        """For how long an outage can last without a second copy, in seconds; 120 where it is not known."""
        if self.stream is None:
            return 120.0
        return self.stream.horizon(self._settings.per_digest)

    async def ready(self) -> Session:
        """Waits until the lane is open: connected, the stream prepared, no pause.

        Raises SettingsError where the stream is wrong at the first contact; later that is a pause with an alarm.
        """
        while True:
            session = await self._link.wait_up()
            if session is not self._session:  # a pause ends with its connection, and not before its time otherwise
                self._session, self._resume_at = session, 0.0
            if session is not self._prepared:
                await self._prepare(session)
            elif (wait := self._resume_at - time.monotonic()) > 0:
                await asyncio.wait((session.lost,), timeout=wait)
            else:
                self.paused = ""
                return session

    async def _prepare(self, session: Session) -> None:
        try:
            self.stream = await prepare(session, self._stream, self._settings.subject_for(PROBE_ID))
        except LinkDown:
            await asyncio.wait((session.lost,))
        except LanePaused as error:
            self._pause("stream_unavailable", str(error), 1.0)
            await asyncio.wait((session.lost,), timeout=1.0)
        except SettingsError as error:
            if not self._ever_prepared:
                raise
            self._pause("stream_misconfigured", str(error), _CONFIG_RETRY)
            await asyncio.wait((session.lost,), timeout=_CONFIG_RETRY)
        else:
            if not self._ever_prepared:
                self._first_contact()
            self._prepared, self._ever_prepared = session, True

    def _first_contact(self) -> None:
        if self.horizon != float("inf"):
            log.warning(
                "weaker_promise",
                horizon_seconds=self.horizon,
                meaning="a file whose acknowledgement is lost may be stored twice after a longer outage",
                remedy="keep {sha256} in SYNC_SUBJECT, on a stream with limits retention and no max_age",
            )

    def _pause(self, reason: str, detail: str, wait: float) -> None:
        now = time.monotonic()
        self._resume_at = now + wait
        self.paused = f"{reason}: {detail}"
        said, at = self._said
        if said != reason or now - at >= _SAY_AGAIN:
            log.warning("lane_paused", reason=reason, detail=detail, effect="every file is kept")
            self._said = (reason, now)

    def largest(self, session: Session) -> int:
        """The size of the largest file that can be a message, its headers not counted."""
        return session.max_payload

    async def publish(self, batch: Sequence[Content], session: Session) -> list[Outcome]:
        """Sends a batch and waits for the answers: the receipts and refusals that are certain.

        A file without an outcome was not stored, or nobody knows (then it is `in_doubt`): it stays and
        is sent again. What is sent again can't be stored twice.
        """
        outcomes: list[Outcome] = []
        flight = _Flight()
        for content in batch:
            if (refusal := self._add(flight, content, session.max_payload)) is not None:
                outcomes.append(refusal)
        if flight.messages:
            await self._fly(session, flight)
            outcomes += await self._judge(session, flight)
        return outcomes

    def _add(self, flight: _Flight, content: Content, max_payload: int) -> Refusal | None:
        message = encode(content, self._settings)
        if content.data is None or message.size > max_payload:
            detail = f"{message.size} bytes with its headers, the server takes {max_payload} (max_payload)"
            return Refusal(content, "too_large", detail)
        flight.add(message)
        return None

    async def _fly(self, session: Session, flight: _Flight) -> None:
        """Sends all as soon as the window lets it, and waits until all is answered or lost."""
        async with self._sending:
            while not self._window.fits(len(flight.messages), flight.size):
                self._room.clear()
                await self._room.wait()
            self._window.take(len(flight.messages), flight.size)
            try:
                await flight.send(session)
            except LinkDown as error:
                flight.lost(str(error))
        try:
            await flight.landed
        finally:
            self._window.give(len(flight.messages), flight.size)
            self._room.set()

    async def _judge(self, session: Session, flight: _Flight) -> list[Outcome]:
        outcomes: list[Outcome] = []
        taken: list[tuple[Message, verdict.Stored | verdict.Known]] = []
        trouble: Counter[str] = Counter()
        stored = 0
        for message, answer in zip(flight.messages, flight.answers, strict=True):
            if answer is None:
                if flight.handed:
                    self.in_doubt[message.content.path] = message.msg_id
                trouble["link_down"] += 1
                continue
            judged = verdict.judge(*answer)
            if isinstance(judged, verdict.Stored) and not judged.duplicate:
                stored += message.content.stamp.size
                outcomes.append(self._receipt(message, judged.seq, duplicate=False))
            elif isinstance(judged, verdict.Stored | verdict.Known):
                taken.append((message, judged))
            elif isinstance(judged, verdict.Refuse):
                outcomes.append(Refusal(message.content, judged.reason, judged.detail))
            else:
                trouble[judged.reason] += 1
                self._heed(judged)
        for reason, count in trouble.items():
            self._watcher.failed(reason, count)
        for start in range(0, len(taken), _READS_AT_ONCE):
            part = taken[start : start + _READS_AT_ONCE]
            found = await asyncio.gather(*(self._read_back(session, message, judged) for message, judged in part))
            outcomes += [outcome for outcome in found if outcome is not None]
        self._watcher.answered(flight.latencies, stored)
        return outcomes

    def _doubted(self, message: Message) -> bool:
        return self.in_doubt.get(message.content.path) == message.msg_id

    def _heed(self, judged: verdict.Again | verdict.Stop) -> None:
        if isinstance(judged, verdict.Stop):
            self._prepared = None
            self._pause(judged.reason, judged.detail, _CONFIG_RETRY)
        else:
            self._pause(judged.reason, judged.detail, judged.wait)

    def _receipt(self, message: Message, seq: int, duplicate: bool, subject: str = "") -> Receipt:
        """`subject` where the message that is there has another one: of another site, with the same content."""
        self.in_doubt.pop(message.content.path, None)
        if not duplicate:
            self.recorded.add(seq)
        stream = self._settings.stream
        return Receipt(message.content, message.msg_id, subject or message.subject, stream, seq, duplicate)

    async def _read_back(
        self, session: Session, message: Message, judged: verdict.Stored | verdict.Known
    ) -> Outcome | None:
        """Looks at the message that is in the stream already; None where it can't be seen now."""
        ask = {"seq": judged.seq} if judged.seq else {"last_by_subj": message.subject}
        stream = self._settings.stream
        try:
            answer = await session.request_json(f"$JS.API.STREAM.MSG.GET.{stream}", ask)
        except PermissionError as error:
            self._pause("read_denied", f"what the stream holds can't be read back: {error}", _CONFIG_RETRY)
            return None
        except LinkDown:
            self.in_doubt[message.content.path] = message.msg_id
            return None
        if answer is None or "message" not in answer:
            if isinstance(judged, verdict.Stored):  # stored once, and taken out since: consumed, or expired
                return self._receipt(message, judged.seq, duplicate=not self._doubted(message))
            self._pause("read_failed", f"the stream's message {judged.seq} can't be read back", 1.0)
            return None
        return self._compare(message, Stored.from_api(answer["message"]))

    def _compare(self, message: Message, stored: Stored) -> Outcome:
        content = message.content
        if not stored.holds(message):
            detail = f"message {stored.seq} of the stream has this subject, and is another's: {message.subject}"
            return Refusal(content, "subject_taken", detail)
        ours, crashed = self._doubted(message), self.recorded.lacks(stored.seq)  # this process', an earlier one's
        unrecorded = (ours and not self.recorded.has(stored.seq)) or crashed
        own = unrecorded and stored.is_of(content, self._settings.site)
        return self._receipt(message, stored.seq, not own, stored.subject)
