"""The lane: over what, and whether anything, can be sent now. Connected, the stream prepared, nothing in doubt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Protocol

import structlog

from syncdaemon.base.errors import LanePaused, LinkDown, SettingsError
from syncdaemon.base.model import Held, Instant
from syncdaemon.ledger.rows import Entry, attempt
from syncdaemon.link import Link, Session
from syncdaemon.publish.doubt import Doubt
from syncdaemon.publish.message import Message, MessageSettings
from syncdaemon.publish.recent import Recent
from syncdaemon.stream import verdict
from syncdaemon.stream.history import since
from syncdaemon.stream.prepare import Memory, StreamInfo, StreamSettings, prepare

_CONFIG_RETRY = 30.0  # seconds until a stream that refused us for its configuration is asked again
_SAY_AGAIN = 60.0  # seconds between two warnings about the same pause
PROBE_ID = "0" * 64
UNKNOWN_WINDOW = 120.0  # the server's default, in seconds

log = structlog.get_logger(__name__)


class Journal(Protocol):
    """Where attempts are noted before they are made: the ledger."""

    @property
    def next_row(self) -> int:
        """A number that no row written from now on is below."""

    async def record(self, entries: Sequence[Entry]) -> None:
        """Returns when these rows are on disk."""


class Lane:
    """Opens, pauses and opens again; finds out after every cut what became of the messages in doubt.

    `suspicion` is set while the server may have lost what it acknowledged: it came back as another process, its stream
    is another one, or ends before what it had; `suspicions` counts how often. Who looks into it says `believe`, and
    sets `belief`.
    """

    def __init__(self, link: Link, settings: MessageSettings, stream: StreamSettings, journal: Journal) -> None:
        self._link = link
        self._settings = settings
        self._stream = stream
        self._journal = journal
        self._session: Session | None = None
        self._prepared: Session | None = None
        self._resolved: Session | None = None
        self._ever_prepared = False
        self._blind = False  # the stream's messages can't be read back
        self._resume_at = 0.0
        self._said: dict[str, float] = {}
        self._last_seq = 0
        self._opening = asyncio.Lock()
        self._server: tuple[str, str, str] | None = None
        self.stream: StreamInfo | None = None
        self.suspicion, self.belief = asyncio.Event(), asyncio.Event()
        self.suspicions = 0
        self.paused = ""
        self.doubt = Doubt()
        self.recent = Recent()

    @property
    def memory(self) -> Memory:
        """How it is found out what became of a message in doubt."""
        if self.stream is None:
            return Memory.SUBJECT if self._settings.per_digest else Memory.WINDOW
        memory = self.stream.memory(self._settings.per_digest)
        return Memory.WINDOW if memory is Memory.HISTORY and self._blind else memory

    @property
    def horizon(self) -> float:
        """For how long an outage can last without a second copy, in seconds; 120 where it is not known."""
        if self.stream is None:
            return UNKNOWN_WINDOW
        if self._blind:
            return self.stream.window
        return self.stream.horizon(self._settings.per_digest)

    async def ready(self) -> Session:
        """Waits until the lane is open.

        Raises SettingsError where the stream is wrong at the first contact; later that is a pause with an alarm.
        """
        async with self._opening:
            return await self._open()

    async def keep_open(self) -> None:
        """For ever: opens the lane over every new connection, whether something waits to be sent or not."""
        while True:
            session = await self.ready()
            await asyncio.wait((session.lost,))

    async def _open(self) -> Session:
        while True:
            session = await self._link.wait_up()
            if session is not self._session:  # a pause ends with its connection, and not before its time otherwise
                self._session, self._resume_at = session, 0.0
            if session is not self._prepared:
                await self._prepare(session)
            elif (wait := self._resume_at - time.monotonic()) > 0:
                await asyncio.wait((session.lost,), timeout=wait)
            elif session is not self._resolved:
                await self._resolve(session)
            else:
                self.paused = ""
                return session

    async def _prepare(self, session: Session) -> None:
        try:
            subject, first = self._settings.subject_for(PROBE_ID), not self._ever_prepared
            self.stream = await prepare(session, self._stream, subject, sound=first)
        except LinkDown:
            await asyncio.wait((session.lost,))
        except LanePaused as error:
            self.pause("stream_unavailable", str(error), 1.0)
            await asyncio.wait((session.lost,), timeout=1.0)
        except SettingsError as error:
            if not self._ever_prepared:
                raise
            self.pause("stream_misconfigured", str(error), _CONFIG_RETRY)
            await asyncio.wait((session.lost,), timeout=_CONFIG_RETRY)
        else:
            self._suspect(session)
            self._prepared = session

    def _suspect(self, session: Session) -> None:
        stream = self.stream
        if stream is None:
            self._server, self._last_seq = ("", "", ""), 0
            self.believe(self.suspicions)  # nothing can be found out
            return
        server = (session.server["server_id"], stream.created, stream.leader)
        if server != self._server or stream.last_seq < self._last_seq:
            self.suspicions += 1
            self.suspicion.set()
            self.belief.clear()
        self._server, self._last_seq = server, stream.last_seq
        self.recent.forget_beyond(stream.last_seq)

    def void(self, held: Held) -> None:
        """Its receipt counts no more. Its message may be there still, and only the object that it names be lost."""
        self.recent.forget(held.seq)

    def believe(self, suspicions: int) -> None:
        """It was looked into when there had been so many suspicions."""
        if suspicions == self.suspicions:
            self.suspicion.clear()
            self.belief.set()

    def looked(self, suspicions: int) -> None:
        """What is lost is known, though not all of it could be put back yet."""
        if suspicions == self.suspicions:
            self.belief.set()

    @property
    def trusted(self) -> bool:
        """Whether the server that we are connected to now is sure to have what it acknowledged."""
        session = self._link.session
        return session is not None and session is self._prepared and not self.suspicion.is_set()

    async def _resolve(self, session: Session) -> None:
        """What was sent and not answered is looked for in the stream, where the stream itself would take it twice."""
        try:
            if self.memory is Memory.HISTORY:
                await self._look(session)
        except LinkDown:
            await asyncio.wait((session.lost,))
        except LanePaused as error:
            self.pause("stream_unreadable", str(error), 1.0)
        except PermissionError as error:
            self._blind = True
            log.warning("history_denied", reason=str(error), remedy="permit $JS.API.CONSUMER.> for this stream")
        else:
            self._resolved = session
            if not self._ever_prepared:
                self._ever_prepared = True
                self._say_horizon()

    async def _look(self, session: Session) -> None:
        """Whether we may look at all is found out at the first contact, when there is nothing to look for as well."""
        window = self.stream.window if self.stream else 0.0
        wanted = self.doubt.read_from(_now(), window)
        if wanted is None and self._ever_prepared:
            return
        read = 0
        subject = self._settings.subject_for("*")
        async with aclosing(since(session, self._stream.name, subject, wanted or self._last_seq + 1)) as messages:
            async for seen in messages:
                self.doubt.look(seen)
                read += 1
        if wanted is not None:
            found = self.doubt.looked(self._journal.next_row)
            first_seq = self.doubt.first_seq or self._last_seq + 1
            await self._journal.record([attempt(found, first_seq, open_since=0, resolved=True)])
            log.info("doubt_resolved", stored=len(found), messages_read=read)

    async def note(self, messages: Sequence[Message]) -> None:
        """These messages will leave now: it is in the ledger before they do, since the stream can't tell by itself."""
        if messages:
            msg_ids = [message.msg_id for message in messages]
            row = attempt(msg_ids, self._last_seq + 1, self.doubt.oldest_row)
            self.doubt.sent(msg_ids, self._last_seq + 1, self._journal.next_row, _now())
            await self._journal.record([row])

    def stored(self, seq: int) -> None:
        """The stream holds a message at `seq`."""
        self._last_seq = max(self._last_seq, seq)

    def _say_horizon(self) -> None:
        memory, window = self.memory, self.stream.window if self.stream else UNKNOWN_WINDOW
        if self.horizon != float("inf"):
            meaning = f"a file whose answer is lost in an outage of over {self.horizon:g} s may be stored twice"
        elif memory is Memory.HISTORY:
            meaning = f"files with the same content, over {window:g} s apart, are stored as a message each"
        else:
            return
        remedy = "keep {sha256} in SYNC_SUBJECT, on a stream with limits retention and no max_age"
        log.warning("weaker_promise", horizon_seconds=self.horizon, meaning=meaning, remedy=remedy)

    def heed(self, judged: verdict.Again | verdict.Stop) -> None:
        """The stream takes nothing for now."""
        if isinstance(judged, verdict.Stop):
            self._prepared = None
            self.pause(judged.reason, judged.detail, _CONFIG_RETRY)
        else:
            if judged.reason == "no_stream_responds":  # it may have been restarted behind our server: a leaf, a cluster
                self._prepared = self._server = None
            self.pause(judged.reason, judged.detail, judged.wait)

    def read_denied(self, error: PermissionError) -> None:
        """We may not see what the stream holds."""
        self.pause("read_denied", f"what the stream holds can't be read back: {error}", _CONFIG_RETRY)

    def pause(self, reason: str, detail: str, wait: float) -> None:
        """Nothing is sent for `wait` seconds, or until the next connection; it is said, but not again and again."""
        now = time.monotonic()
        self._resume_at = now + wait
        self.paused = f"{reason}: {detail}"
        if now - self._said.get(reason, -_SAY_AGAIN) >= _SAY_AGAIN:
            log.warning("lane_paused", reason=reason, detail=detail, effect="every file is kept")
            self._said[reason] = now


def _now() -> Instant:
    return Instant(time.monotonic(), time.time())
