"""The lane: over what, and whether anything, can be sent now. Connected, the stream prepared, nothing in doubt.

The module has more than 250 lines because all that closes the lane, or opens it, is decided in this one place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from syncdaemon.base.errors import LanePaused, LinkDown, SettingsError
from syncdaemon.base.model import Held
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.link import Link, Session
from syncdaemon.publish.doubt import Doubt
from syncdaemon.publish.message import Message, MessageSettings, least
from syncdaemon.publish.pauses import DoubtPauses
from syncdaemon.publish.promise import UNKNOWN_WINDOW, say_weaker_promise
from syncdaemon.publish.recent import Recent
from syncdaemon.publish.resolve import Journal, Resolver
from syncdaemon.publish.trust import Trust
from syncdaemon.stream import own, verdict
from syncdaemon.stream.api import Api
from syncdaemon.stream.calls import Calls
from syncdaemon.stream.info import Memory, StreamInfo
from syncdaemon.stream.prepare import StreamSettings, prepare, rehearse

_UNREADABLE_RETRY = 1.0  # seconds
_CONFIG_RETRY = 30.0  # seconds until a stream that refused us for its configuration is asked again
PROBE_ID = "0" * 64

log = structlog.get_logger(__name__)


class Lane:
    """Opens when the stream is prepared and nothing is in doubt; pauses, and opens again.

    The class has more than 150 lines because everything that closes the lane, or opens it, is decided in this one
    place. `stream`: what the server says of the stream; None before the first contact, and where we may not see it.
    `paused`: why nothing is sent now, in words; empty while the lane is open. `recent`: the newest receipts.
    """

    def __init__(self, link: Link, settings: MessageSettings, stream: StreamSettings, journal: Journal) -> None:
        self._link = link
        self._settings = settings
        self._stream = stream
        self._session: Session | None = None
        self._prepared: Session | None = None
        self._resolved: Session | None = None
        self._ever_prepared = False
        self._least = least(settings)
        self._blind = False  # the stream's messages can't be read back
        self._resume_at = 0.0
        self.preparations = 0  # how often the stream was prepared, or found to be set otherwise
        self._said, self._other_stream = OnceAMinute(), DoubtPauses()
        self._opening = asyncio.Lock()
        self.stream: StreamInfo | None = None
        self.paused = ""
        self.trust, self.doubt, self.recent = Trust(), Doubt(), Recent()
        self._resolver = Resolver(self.doubt, self.trust, journal, stream.name, settings.subject_for("*"))

    @property
    def memory(self) -> Memory:
        """How we find out what became of a message in doubt."""
        if self.stream is None:
            return Memory.SUBJECT if self._settings.per_digest else Memory.WINDOW
        memory = self.stream.memory(self._settings.per_digest)
        return Memory.WINDOW if memory is Memory.HISTORY and self._blind else memory

    @property
    def home(self) -> verdict.Home:
        """Whose acknowledgements count. Of an unseen stream: of the settings' domain, else of that of our server."""
        if self.stream is not None:
            return verdict.Home(self.stream.name, self.stream.domain)
        session = self._session
        return verdict.Home(self._stream.name, None if session is None else session.js_domain or session.domain)

    @property
    def horizon(self) -> float:
        """How long an outage can last without a second copy, in seconds; 120 where the stream can't be seen."""
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

    async def _open(self) -> Session:
        while True:
            session = await self._link.wait_up()
            if session is not self._session:  # a pause ends with its connection, and not before its time otherwise
                self._session, self._resume_at = session, 0.0
            if session.max_payload < self._least:  # not even the stream can be asked for
                self.pause("max_payload_too_small", self.too_tight(session), _CONFIG_RETRY)
                await asyncio.wait((session.lost,), timeout=_CONFIG_RETRY)
            elif session is not self._prepared:
                await self._prepare(session)
            elif (wait := self._resume_at - time.monotonic()) > 0:
                await asyncio.wait((session.lost,), timeout=wait)
            elif session is not self._resolved:
                await self._resolve(session)
            elif tight := self.too_tight(session):
                self._prepared = None  # the stream may take more by the end of the pause
                self.pause("max_payload_too_small", tight, _CONFIG_RETRY)
            else:
                self.paused = ""
                return session

    async def _prepare(self, session: Session) -> None:
        try:
            subject, first = self._settings.subject_for(PROBE_ID), not self._ever_prepared
            before = self.stream
            self.stream = await prepare(Api.over(session), self._stream, subject, said=self._said)
            if first and self._settings.per_digest:
                await self._try_reading(Api.over(session), subject)
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
            self._meet(session, before, None)
            self.preparations += 1
            self._prepared = session

    async def sound(self, session: Session, size: int) -> bool:
        """Sends so many bytes that no stream stores, to measure the link. Returns whether they could be sent.

        Those that would be over half of what a message may have are left out.
        """
        if size > self.largest(session) // 2:
            return True
        try:
            await rehearse(Api.over(session), self._stream, self._settings.subject_for(PROBE_ID), body=bytes(size))
        except (LinkDown, LanePaused, SettingsError):  # the message of a file meets the same
            return False
        return True

    def _meet(self, session: Session, before: StreamInfo | None, least: int | None) -> None:
        """What we know of the stream is compared with what we knew `before`; `least` as in `Trust.meet`."""
        stream = self.stream
        self.trust.meet(session.server["server_id"], stream, least)
        if stream is None:
            return
        if before is not None and before.created != stream.created:
            self._forget_beyond(0)
        elif least is None or stream.last_seq < least:
            self._forget_beyond(stream.last_seq)

    def _forget_beyond(self, seq: int) -> None:
        """The stream has none of the messages any more that it had beyond this sequence."""
        self.recent.forget_beyond(seq)
        self.doubt.began_anew(seq + 1)

    @property
    def prepared(self) -> Session | None:
        """The session over which the stream is prepared; None while that is still to be done."""
        session = self._prepared
        return session if session is not None and session is self._link.session else None

    def suspect(self) -> None:
        """The stream may have lost what it acknowledged."""
        self.trust.suspect()

    @property
    def last_seq(self) -> int:
        """The last sequence that the stream is known to have."""
        return self.trust.last_seq

    def prepare_again(self) -> None:
        """The stream is not as it was: it is prepared again before anything else is sent."""
        self._prepared = None

    def seen_again(self, session: Session, stream: StreamInfo, least: int) -> None:
        """The stream, asked once more over the session of its preparation. What changed counts from here on."""
        before, self.stream = self.stream, stream
        if before is not None and (changes := stream.changes(before)):
            self.preparations += 1
            log.warning("stream_changed", stream=stream.name, changes=changes)
            self._say_weaker_promise()
        self._meet(session, before, least)

    def _say_weaker_promise(self) -> None:
        say_weaker_promise(self.stream, self._settings.per_digest, self.memory, self.horizon)

    def went_back(self, seq: int) -> None:
        """A message was stored at a sequence that the stream had before: the stream is another one, or lost its end."""
        log.error("sequence_went_back", seq=seq, known=self.trust.last_seq, effect="the hold is checked")
        self._forget_beyond(seq - 1)
        self.doubt.began_anew(1)
        self.trust.went_back(seq)

    async def _try_reading(self, api: Api, subject: str) -> None:
        """Says at the start where what the stream has of ours could not be read back. Raises LinkDown."""
        try:
            await own.newest(api, self._stream.name, subject)
        except PermissionError as error:
            self.not_read("read_denied", str(error))
        except LanePaused:
            return  # it is tried again where it is needed

    @property
    def settings_seen(self) -> bool | None:
        """Whether the server tells us of the stream; None: not known yet."""
        return self.stream is not None if self.preparations else None

    def too_tight(self, session: Session) -> str:
        """Why no file's message fits into what the server, or the stream, takes now; empty where they do."""
        most = self.largest(session)
        if most >= self._least:
            return ""
        return (
            f"messages of at most {most} bytes are taken, and the headers of a file alone can have {self._least}: "
            "raise max_payload at the server, or max_msg_size of the stream"
        )

    def largest(self, session: Session) -> int:
        """Bytes of the largest message that server and stream take now, headers counted."""
        stream, most = self.stream, session.max_payload
        return most if stream is None or stream.max_msg_size < 0 else min(most, stream.max_msg_size)

    def void(self, held: Held) -> None:
        """The receipt of this file counts no more. Its message may still be there, and only its object be lost."""
        self.recent.forget(held.seq)

    def unreadable(self, problem: str) -> None:
        """The stream can't be looked at now. It may be gone: it is prepared again before anything else is sent."""
        self.pause("stream_unreadable", problem, _UNREADABLE_RETRY)
        self._prepared = None

    @property
    def trusted(self) -> bool:
        """Whether the server that we are connected to now certainly has what it acknowledged."""
        session = self._link.session
        return session is not None and session is self._prepared and self.trust.intact

    async def _resolve(self, session: Session) -> None:
        """Looks for what was sent and not answered, where the stream itself would take a second copy."""
        try:
            if self.memory is Memory.HISTORY and self.stream is not None:
                await self._resolver.look(session, self.stream.window, first=not self._ever_prepared)
        except LinkDown:
            await asyncio.wait((session.lost,))
        except LanePaused as error:
            self.pause("stream_unreadable", str(error), _UNREADABLE_RETRY)
        except PermissionError as error:
            self._blind = True
            consumers = Calls.of(session.js_domain).every("CONSUMER")
            if self._said.due(time.monotonic(), "history_denied"):
                log.warning("history_denied", reason=str(error), remedy=f"permit {consumers} for this stream")
        else:
            self._resolved = session
            if not self._ever_prepared:
                self._ever_prepared = True
                self._say_weaker_promise()

    async def note(self, messages: Sequence[Message]) -> None:
        """These messages leave now. Returns when the ledger has them, because the stream would not know them."""
        await self._resolver.note(messages)

    def heed(self, judged: verdict.Again | verdict.Stop) -> None:
        """The stream takes nothing for now."""
        if isinstance(judged, verdict.Stop):
            self._prepared = None
            self.pause(judged.reason, judged.detail, _CONFIG_RETRY)
        else:
            if judged.reason == "no_stream_responds":  # it may have been restarted behind our server: a leaf, a cluster
                self._prepared = None
                self.trust.forget_server()
            wait = judged.wait
            if isinstance(judged, verdict.Doubtful):  # the stream may be another one by now
                self._prepared = None
                wait = self._other_stream.wait(time.monotonic(), self.trust.last_seq, wait)
            self.pause(judged.reason, judged.detail, wait)

    def not_read(self, reason: str, detail: str) -> None:
        """What the stream holds already could not be read back. Only the files that it may hold wait for that."""
        if self._said.due(time.monotonic(), reason):
            log.warning(reason, detail=detail, effect="a file that the stream may hold waits, all others go on")

    def pause(self, reason: str, detail: str, wait: float) -> None:
        """Nothing is sent for `wait` seconds, or until the next connection. Each reason is logged once a minute."""
        now = time.monotonic()
        self._resume_at = now + wait
        self.paused = f"{reason}: {detail}"
        if self._said.due(now, reason):
            log.warning("lane_paused", reason=reason, detail=detail, effect="every file is kept")
