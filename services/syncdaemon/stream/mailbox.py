"""A site's checkpoints at the hub: the newest one, what the auditor has published, and putting a new one there.

Every question has a conversation of its own. A hub behind a leaf node may be slow or away: that says nothing about the
connection, and its answers are no measure of it.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from syncdaemon.base.errors import LanePaused
from syncdaemon.link import Heard, Session
from syncdaemon.link.frame import header_block
from syncdaemon.stream import answers, direct, fields, verdict
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.calls import Calls
from syncdaemon.stream.records import CHECKPOINTS, COSIGNED, READ_TO, checkpoint_subject, cosigned_subject, kept
from syncdaemon.stream.stored import StoredMessage
from syncdaemon.stream.verdict import Home, Known, Stored

PATIENCE = 10.0  # seconds until an answer has to be there
_AT_ONCE = 500  # checkpoints of about 1 kB in one answer
_BYTES = 4 << 20


class NotAnchored(LanePaused):
    """What the site signs does not get to the hub's stream; the text says why."""


class NoStream(NotAnchored):
    """The server that has our files has no stream for checkpoints."""


class Overtaken(LanePaused):
    """The subject has another newest message than the one that was read: somebody else has published there."""


@dataclass(frozen=True)
class Mailbox:
    """One site's subject. `domain`: of the hub's JetStream; empty: of the server that we are connected to.

    Each call raises LinkDown, PermissionError and LanePaused; NotAnchored where the hub's stream does not answer.
    """

    session: Session
    site: str
    domain: str = ""

    @property
    def _calls(self) -> Calls:
        return Calls.of(self.domain or self.session.js_domain)

    @property
    def _home(self) -> Home:
        """Whose acknowledgements count."""
        return Home(CHECKPOINTS, self.domain or self.session.js_domain or self.session.domain)

    async def newest(self) -> StoredMessage | None:
        """The newest message on the site's subject, by the word of the stream's leader.

        A copy of the stream that is behind may answer a direct get. So the leader is asked which sequence the newest
        has: what is signed must go on from that one.
        """
        found = await self._direct(CHECKPOINTS, checkpoint_subject(self.site))
        last = await self._last()
        if last != (0 if found is None else found.seq):
            raise NotAnchored(
                f"the newest message on {checkpoint_subject(self.site)} is number {last}, and "
                f"{CHECKPOINTS} shows {found.seq if found else 'none'}: a copy is behind, or another stream takes it"
            )
        return found

    async def cosigned(self) -> StoredMessage | None:
        """What the auditor published last of this site; None where there is nothing, or no such stream."""
        try:
            return await self._direct(COSIGNED, cosigned_subject(self.site))
        except (NotAnchored, PermissionError):
            return None

    async def publish(self, body: bytes, expected: int, headers: Mapping[str, str]) -> int:
        """Puts a message there, if the newest is still the one of the sequence `expected`; its own sequence.

        Raises also Overtaken. Where no answer comes, it may be there: who reads the newest message again knows.
        """
        subject = checkpoint_subject(self.site)
        block = header_block(
            ("Nats-Expected-Stream", CHECKPOINTS), ("Nats-Expected-Last-Subject-Sequence", expected), *headers.items()
        )
        words = ""
        async with self.session.converse(subject) as conversation:
            await conversation.ask(body, block)
            while True:
                try:
                    heard = await conversation.next(PATIENCE)
                except TimeoutError:
                    raise NotAnchored(words or _silent(subject)) from None
                found = verdict.judge(heard.data, heard.headers, self._home)
                if isinstance(found, Stored):
                    return found.seq
                if isinstance(found, Known):
                    raise Overtaken(f"{subject} has another newest message than number {expected}")
                words = f"not anchored: {found.detail}"
                if not isinstance(found, verdict.Doubtful):  # another stream's word: the right one may follow
                    raise NotAnchored(words)

    async def every(self) -> AsyncGenerator[StoredMessage, None]:
        """Every retained message on the subject, in order; for who may read the whole stream."""
        subject, seq, left = checkpoint_subject(self.site), 1, 1
        async with self.session.converse(self._calls.direct_gets(CHECKPOINTS)) as conversation:
            while left:
                await conversation.ask(direct.several(subject, seq, _AT_ONCE, _BYTES))
                while True:
                    try:
                        heard = await conversation.next(PATIENCE)
                    except TimeoutError:
                        raise LanePaused(_silent(CHECKPOINTS)) from None
                    piece = direct.piece_of(heard, CHECKPOINTS, subject)
                    if isinstance(piece, ApiRefusal):
                        raise PermissionError(piece.words)
                    if isinstance(piece, direct.End):
                        left = piece.left
                        break
                    seq = piece.message.seq + 1
                    yield piece.message

    async def all_readable(self) -> list[StoredMessage]:
        """Every retained message, or only the newest where no more may be read."""
        try:
            async with aclosing(self.every()) as messages:
                return [message async for message in messages]
        except PermissionError:
            newest = await self._direct(CHECKPOINTS, checkpoint_subject(self.site))
            return [] if newest is None else [newest]

    async def make_streams(self) -> None:
        """Makes both streams on a server of the site's own. Raises NotAnchored where it refuses one."""
        api = Api(self.session, self._calls)
        for name, subject in ((CHECKPOINTS, checkpoint_subject("*")), (COSIGNED, cosigned_subject("*"))):
            made = await api.create_stream(
                {"name": name, "subjects": [subject], "storage": "file", "allow_direct": True, **kept(name)}
            )
            if isinstance(made, ApiRefusal):
                raise NotAnchored(f"not anchored: the server does not make the stream {name}: {made.words}")

    async def _direct(self, stream: str, subject: str) -> StoredMessage | None:
        heard = await self._ask(self._calls.direct(stream, subject))
        found = direct.message_of(heard, stream, subject)
        if isinstance(found, ApiRefusal):
            kind = NoStream if found.unanswered else NotAnchored
            raise kind(f"not anchored: the stream {stream} does not answer: {found.words}")
        return found

    async def _last(self) -> int:
        """The sequence of the newest message on the subject; 0: it has none. See `Api.occupied`."""
        subject = checkpoint_subject(self.site)
        block = header_block(
            ("Nats-Expected-Last-Subject-Sequence", 0), ("Nats-Expected-Last-Msg-Id", f"no-{secrets.token_hex(16)}")
        )
        heard = await self._ask(subject, block)
        found = answers.read_answer(subject, heard.data, heard.headers, answers.rehearsed)
        if not isinstance(found, ApiRefusal):
            raise NotAnchored(_silent(subject))
        if (last := found.last_on_subject) is None:
            raise NotAnchored(f"not anchored: {subject} takes nothing: {found.words}")
        return last

    async def _ask(self, subject: str, headers: bytes = b"") -> Heard:
        async with self.session.converse(subject) as conversation:
            await conversation.ask(b"", headers)
            try:
                return await conversation.next(PATIENCE)
            except TimeoutError:
                raise NotAnchored(_silent(subject)) from None


def _silent(subject: str) -> str:
    return f"not anchored: nothing answers {subject} within {PATIENCE:g} seconds"


def read_to(cosigned: StoredMessage) -> int:
    """Up to which message of the checkpoints' stream the auditor had read when he published this; 0: not said."""
    try:
        return fields.number(cosigned.headers.get(READ_TO, "0"))
    except ValueError:
        return 0
