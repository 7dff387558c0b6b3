"""The one door to JetStream's API (version 1: ADR-1, ADR-8, ADR-13 and nats-server 2.15).

Whatever comes back, each call returns a value of its type, or raises one of three errors:

- LinkDown: the connection is gone;
- PermissionError: the server does not let us ask;
- LanePaused: not now, in words. The answer can't be read: it is no JSON, a field is missing or of a wrong kind, or
  it is about something that was not asked for.

A name that no subject can have raises Unsendable, and nothing is asked. Names of settings and of messages are checked
where they are read, so that they never come to this.

What the server itself refuses is a value, an `ApiRefusal`: what that means depends on what was wanted.

A message is read by its sequence (`message`) or as the last one of its subject (`last`). Both are the same call at the
server, and need the same permission, which cannot be bound to one site. `direct` reads the last one of a subject by
another call, whose permission can. But any copy of the stream may answer that, so what is not there may be elsewhere.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from syncdaemon.base.errors import LanePaused
from syncdaemon.link import Conversation, Heard, Session
from syncdaemon.link.frame import header_block
from syncdaemon.stream import answers, direct
from syncdaemon.stream.answers import AccountAnswer, ApiRefusal, ConsumerAnswer
from syncdaemon.stream.calls import JETSTREAM, Calls
from syncdaemon.stream.info import StreamAnswer, captured
from syncdaemon.stream.stored import StoredMessage

IMPOSSIBLE = "no.stream"  # no stream's name has a dot, so a message that expects this one is never stored
_NOT_JSON = b"{"

Value = TypeVar("Value")


@dataclass(frozen=True)
class Api:
    """JetStream's API over one session. Each call raises LinkDown, PermissionError and LanePaused.

    The class has more than 150 lines because it has a method for each call.
    """

    session: Session
    calls: Calls = JETSTREAM

    @classmethod
    def over(cls, session: Session) -> Api:
        """The API of the JetStream that the settings of this session name; else of the server itself."""
        return cls(session, Calls.of(session.js_domain))

    async def account(self) -> AccountAnswer | ApiRefusal:
        """What the account stores."""
        return await self._ask(self.calls.account, {}, answers.account_of)

    async def stream(self, stream: str, subjects: str = "") -> StreamAnswer | ApiRefusal:
        """The stream as it is now; with the number of messages on each of these `subjects`, a wildcard."""
        ask = {"subjects_filter": subjects} if subjects else {}
        return await self._ask(self.calls.stream("INFO", stream), ask, partial(answers.described, name=stream))

    async def create_stream(self, config: Mapping[str, Any]) -> StreamAnswer | ApiRefusal:
        """Makes a stream. One that is there already with this very configuration is as good."""
        name = config["name"]
        return await self._ask(self.calls.stream("CREATE", name), config, partial(answers.stream_of, name=name))

    async def update_stream(self, config: Mapping[str, Any]) -> StreamAnswer | ApiRefusal:
        """Alters a stream that is there, to this configuration."""
        name = config["name"]
        return await self._ask(self.calls.stream("UPDATE", name), config, partial(answers.stream_of, name=name))

    async def message(self, stream: str, seq: int) -> StoredMessage | ApiRefusal | None:
        """The message at this sequence; None: there is none."""
        return await self._get(stream, {"seq": seq}, lambda found: found.seq == seq)

    async def last(self, stream: str, subject: str) -> StoredMessage | ApiRefusal | None:
        """The newest message on this subject; None: there is none.

        The leader answers, never a replica that is behind, as a direct get might have it.
        """
        return await self._get(stream, {"last_by_subj": subject}, lambda found: found.subject == subject)

    async def direct(self, stream: str, subject: str) -> StoredMessage | ApiRefusal | None:
        """The newest message on this subject, which is named in the call: so a permission can be for it alone.

        None: the copy of the stream that answers has none. It may be behind, so that never means that one is lost.
        Where no copy may be read so, or there is no such stream, the refusal is `unanswered`.
        """
        answer = await self.session.request(self.calls.direct(stream, subject))
        return direct.message_of(Heard(b"", b"", *answer), stream, subject)

    async def next(self, stream: str, subject: str, seq: int) -> StoredMessage | ApiRefusal | None:
        """The first message on `subject`, which may be a wildcard, from this sequence on; None: there is none."""
        ask = {"seq": seq, "next_by_subj": subject}
        return await self._get(stream, ask, lambda found: found.seq >= seq and captured([subject], found.subject))

    async def purge(self, stream: str, subject: str, before: int | None = None) -> ApiRefusal | None:
        """Takes out the messages on a subject, or those of them before a sequence."""
        ask: dict[str, Any] = {"filter": subject}
        if before is not None:
            ask["seq"] = before
        return await self._ask(self.calls.stream("PURGE", stream), ask, answers.done)

    async def delete(self, stream: str, seq: int) -> ApiRefusal | None:
        """Takes out one message; its bytes are not overwritten."""
        return await self._ask(self.calls.stream("MSG.DELETE", stream), {"seq": seq, "no_erase": True}, answers.done)

    async def consumer(self, stream: str, name: str) -> ConsumerAnswer | ApiRefusal:
        """The consumer as it is now."""
        return await self._ask(self.calls.consumer("INFO", stream, name), {}, partial(answers.consumer_of, name=name))

    async def create_consumer(
        self, stream: str, config: Mapping[str, Any], tail: str = ""
    ) -> ConsumerAnswer | ApiRefusal:
        """Makes a consumer; with the same configuration, one that is there already is as good (`action: create`).

        `tail`: its filter, which then stands in the subject of the request too, where a permission can see it.
        """
        name = config["name"]
        ask = {"stream_name": stream, "action": "create", "config": config}
        subject = self.calls.consumer("CREATE", stream, f"{name}.{tail}" if tail else name)
        return await self._ask(subject, ask, partial(answers.consumer_of, name=name))

    async def delete_consumer(self, stream: str, name: str) -> ApiRefusal | None:
        """Takes a consumer away."""
        return await self._ask(self.calls.consumer("DELETE", stream, name), {}, answers.done)

    def pulls(self, stream: str, consumer: str) -> AbstractAsyncContextManager[Conversation]:
        """For pull requests to a consumer, each answered by many messages. Its calls raise as `Conversation` says."""
        return self.session.converse(self.calls.consumer("MSG.NEXT", stream, consumer))

    def gets(self, stream: str) -> AbstractAsyncContextManager[Conversation]:
        """For direct gets of a stream, each answered by many messages. Its calls raise as `Conversation` says."""
        return self.session.converse(self.calls.direct_gets(stream))

    async def newest(self, stream: str, subject: str) -> StoredMessage | ApiRefusal | None:
        """The same by the call that names the stream alone, whose permission is for all its subjects."""
        answer = await self.session.request(self.calls.direct_gets(stream), direct.newest(subject))
        return direct.message_of(Heard(b"", b"", *answer), stream, subject)

    async def rehearse(self, subject: str, body: bytes = b"") -> ApiRefusal | None:
        """Publishes a message that no stream can store, since it expects one of an impossible name.

        None: the server refused it for that reason alone. This proves the whole way and leaves nothing behind: that we
        may publish there, that a stream captures the subject, and that its acknowledgement reaches us.
        A `body` counts as in flight, and so in what is known of the link.
        """
        headers = header_block(("Nats-Expected-Stream", IMPOSSIBLE))
        answer = await self.session.request(subject, body, headers, counted=bool(body))
        found = answers.read_answer(subject, *answer, answers.rehearsed)
        return None if isinstance(found, ApiRefusal) and found.other_stream else found

    async def refused(self, call: str, stream: str) -> ApiRefusal:
        """Asks wrongly for a call of a stream, so that nothing is done whatever the call is.

        The server looks at the right first, and then refuses what is no JSON (10025, nats-server 2.15).
        """
        subject = self.calls.stream(call, stream)
        data, headers = await self.session.request(subject, _NOT_JSON)
        found = answers.read_answer(subject, data, headers, answers.rehearsed)
        if isinstance(found, ApiRefusal):
            return found
        raise LanePaused(f"the answer to {subject} can't be read")

    async def capturing(self, subject: str) -> list[str] | ApiRefusal:
        """The names of the streams whose subjects overlap with this wildcard: at most 1,024, an answer's worth."""
        return await self._ask(f"{self.calls.prefix}.STREAM.NAMES", {"subject": subject}, answers.names_of)

    async def occupied(self, subject: str) -> int | ApiRefusal:
        """The sequence of the newest message on this subject, by the word of the stream's leader; 0: it has none.

        By a message that no stream can store: it expects an empty subject, and a last message of an id that was never
        used. The server looks at the first before the second (10071, 10070; nats-server 2.15).
        """
        headers = header_block(
            ("Nats-Expected-Last-Subject-Sequence", 0), ("Nats-Expected-Last-Msg-Id", f"no-{secrets.token_hex(16)}")
        )
        answer = await self.session.request(subject, b"", headers)
        found = answers.read_answer(subject, *answer, answers.rehearsed)
        if not isinstance(found, ApiRefusal):
            raise LanePaused(f"the answer to {subject} can't be read")
        return found if (seq := found.last_on_subject) is None else seq

    async def _get(
        self, stream: str, ask: Mapping[str, Any], is_it: Callable[[StoredMessage], bool]
    ) -> StoredMessage | ApiRefusal | None:
        found = await self._ask(self.calls.stream("MSG.GET", stream), ask, partial(answers.message_of, is_it=is_it))
        return None if isinstance(found, ApiRefusal) and found.no_message else found

    async def _ask(
        self, subject: str, ask: Mapping[str, Any], shape: Callable[[dict[str, Any]], Value]
    ) -> Value | ApiRefusal:
        """One request. `shape` makes a value of the answer, or raises ValueError."""
        data, headers = await self.session.request(subject, json.dumps(ask).encode() if ask else b"")
        return answers.read_answer(subject, data, headers, shape)
