"""The one door to JetStream's API (version 1: ADR-1, ADR-8, ADR-13 and nats-server 2.15).

Whatever comes back, each call returns a value of its type, or raises one of three errors:

- LinkDown: the connection is gone;
- PermissionError: the server does not let us ask;
- LanePaused: not now, in words. The answer can't be read: it is no JSON, a field is missing or of a wrong kind, or
  it is about something that was not asked for.

What the server itself refuses is a value, an `ApiRefusal`: what that means depends on what was wanted.

A message is read by its sequence (`message`) or as the last one of its subject (`last`). Both are the same call at the
server, and so the same permission. Only a read by subject can be bound to one site (`$JS.API.DIRECT.GET.<stream>.>`);
callers that know the subject of a message of ours read by sequence where they have one, because a subject can hold
many messages.

The module has more than 250 lines because every call of the API stands here, and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from syncdaemon.base.errors import LanePaused
from syncdaemon.link import Conversation, Session
from syncdaemon.stream import fields
from syncdaemon.stream.calls import JETSTREAM, Calls
from syncdaemon.stream.info import StreamAnswer, captured
from syncdaemon.stream.stored import StoredMessage
from syncdaemon.stream.verdict import NO_CONSUMER, NO_MESSAGE, NO_RESPONDERS, NO_STREAM

_IMPOSSIBLE = "no.stream"  # no stream's name has a dot, so a message that expects this one is never stored
_REHEARSED = 10060  # "expected stream does not match"
_JETSTREAM_OFF = (10039, 10076)
_SHOWN = 120  # bytes of an answer that can't be read

Value = TypeVar("Value")


class ApiRefusal(NamedTuple):
    """Why the server does not do what it was asked, in its own words; the codes are those of its errors.json.

    Where nobody takes the request, so that there is no JetStream for us now, `code` is 503 and `err_code` is 0.
    """

    code: int
    err_code: int
    description: str

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.description} ({self.err_code})" if self.err_code else self.description

    @property
    def no_stream(self) -> bool:
        """The stream is not there."""
        return self.err_code == NO_STREAM

    @property
    def no_consumer(self) -> bool:
        """The stream is there, and the consumer is not."""
        return self.err_code == NO_CONSUMER

    @property
    def no_jetstream(self) -> bool:
        """There is no JetStream, for nobody or not for this account; or it is not available now."""
        return self.err_code in _JETSTREAM_OFF or self.nobody

    @property
    def nobody(self) -> bool:
        """Nobody takes messages on that subject."""
        return self.code == 503 and not self.err_code

    def paused(self, what: str) -> LanePaused:
        """The error that says: `what` is not possible now."""
        return LanePaused(f"{what}: {self.words}")


_NOBODY = ApiRefusal(503, 0, "the server has no JetStream, or it is not available now")


class ConsumerAnswer(NamedTuple):
    """What CONSUMER.INFO and CONSUMER.CREATE answer, each field of the kind that it should be.

    `pending`: how many messages it has to give. Every field of `config` may be missing.
    """

    config: dict[str, Any]
    pending: int


class AccountAnswer(NamedTuple):
    """Bytes of storage that the account uses, and the most that it may use; below 0: no limit."""

    storage: int
    most: int


_CONSUMER: Mapping[str, fields.Kind] = {
    **dict.fromkeys(("deliver_subject", "ack_policy", "filter_subject"), fields.text),
    **dict.fromkeys(("ack_wait", "max_expires"), fields.whole),
    **dict.fromkeys(("max_deliver", "max_batch", "max_bytes"), fields.signed),
    "filter_subjects": fields.each(fields.text),
    "backoff": fields.each(fields.whole),
}


@dataclass(frozen=True)
class Api:
    """JetStream's API over one session. Each call raises LinkDown, PermissionError and LanePaused."""

    session: Session
    calls: Calls = JETSTREAM

    async def account(self) -> AccountAnswer | ApiRefusal:
        """What the account stores."""
        return await self._ask(self.calls.account, {}, _account)

    async def stream(self, stream: str, subjects: str = "") -> StreamAnswer | ApiRefusal:
        """The stream as it is now; with the number of messages on each of these `subjects`, a wildcard."""
        ask = {"subjects_filter": subjects} if subjects else {}
        return await self._ask(self.calls.stream("INFO", stream), ask, lambda answer: _stream(answer, stream))

    async def create_stream(self, config: Mapping[str, Any]) -> StreamAnswer | ApiRefusal:
        """Makes a stream. One that is there already with this very configuration is as good."""
        name = config["name"]
        return await self._ask(self.calls.stream("CREATE", name), config, lambda answer: _stream(answer, name))

    async def message(self, stream: str, seq: int) -> StoredMessage | ApiRefusal | None:
        """The message at this sequence; None: there is none."""
        return await self._get(stream, {"seq": seq}, lambda found: found.seq == seq)

    async def last(self, stream: str, subject: str) -> StoredMessage | ApiRefusal | None:
        """The newest message on this subject; None: there is none.

        The leader answers, never a replica that is behind, as a direct get might have it.
        """
        return await self._get(stream, {"last_by_subj": subject}, lambda found: found.subject == subject)

    async def next(self, stream: str, subject: str, seq: int) -> StoredMessage | ApiRefusal | None:
        """The first message on `subject`, which may be a wildcard, from this sequence on; None: there is none."""
        ask = {"seq": seq, "next_by_subj": subject}
        return await self._get(stream, ask, lambda found: found.seq >= seq and captured([subject], found.subject))

    async def purge(self, stream: str, subject: str, before: int | None = None) -> ApiRefusal | None:
        """Takes out the messages on a subject, or those of them before a sequence."""
        ask: dict[str, Any] = {"filter": subject}
        if before is not None:
            ask["seq"] = before
        return await self._ask(self.calls.stream("PURGE", stream), ask, _done)

    async def delete(self, stream: str, seq: int) -> ApiRefusal | None:
        """Takes out one message; its bytes are not overwritten."""
        return await self._ask(self.calls.stream("MSG.DELETE", stream), {"seq": seq, "no_erase": True}, _done)

    async def consumer(self, stream: str, name: str) -> ConsumerAnswer | ApiRefusal:
        """The consumer as it is now."""
        return await self._ask(self.calls.consumer("INFO", stream, name), {}, lambda answer: _consumer(answer, name))

    async def create_consumer(
        self, stream: str, config: Mapping[str, Any], tail: str = ""
    ) -> ConsumerAnswer | ApiRefusal:
        """Makes a consumer; with the same configuration, one that is there already is as good (`action: create`).

        `tail`: its filter, which then stands in the subject of the request too, where a permission can see it.
        """
        name = config["name"]
        ask = {"stream_name": stream, "action": "create", "config": config}
        subject = self.calls.consumer("CREATE", stream, f"{name}.{tail}" if tail else name)
        return await self._ask(subject, ask, lambda answer: _consumer(answer, name))

    async def delete_consumer(self, stream: str, name: str) -> ApiRefusal | None:
        """Takes a consumer away."""
        return await self._ask(self.calls.consumer("DELETE", stream, name), {}, _done)

    def pulls(self, stream: str, consumer: str) -> AbstractAsyncContextManager[Conversation]:
        """For pull requests to a consumer, each answered by many messages. Its calls raise as `Conversation` says."""
        return self.session.converse(self.calls.consumer("MSG.NEXT", stream, consumer))

    async def rehearse(self, subject: str, body: bytes = b"") -> ApiRefusal | None:
        """Publishes a message that no stream can store, since it expects one of an impossible name.

        None: the server refused it for that reason alone. This proves the whole way and leaves nothing behind: that we
        may publish there, that a stream captures the subject, and that its acknowledgement reaches us.
        A `body` counts as in flight, and so in what is known of the link.
        """
        headers = f"NATS/1.0\r\nNats-Expected-Stream: {_IMPOSSIBLE}\r\n\r\n".encode()
        answer = await self.session.request(subject, body, headers, counted=bool(body))
        found = _read(subject, *answer, _rehearsed)
        return None if isinstance(found, ApiRefusal) and found.err_code == _REHEARSED else found

    async def _get(
        self, stream: str, ask: Mapping[str, Any], is_it: Callable[[StoredMessage], bool]
    ) -> StoredMessage | ApiRefusal | None:
        found = await self._ask(self.calls.stream("MSG.GET", stream), ask, lambda answer: _message(answer, is_it))
        return None if isinstance(found, ApiRefusal) and found.err_code == NO_MESSAGE else found

    async def _ask(
        self, subject: str, ask: Mapping[str, Any], shape: Callable[[dict[str, Any]], Value]
    ) -> Value | ApiRefusal:
        """One request. `shape` makes a value of the answer, or raises ValueError."""
        data, headers = await self.session.request(subject, json.dumps(ask).encode() if ask else b"")
        return _read(subject, data, headers, shape)


def _read(
    subject: str, data: bytes, headers: bytes | None, shape: Callable[[dict[str, Any]], Value]
) -> Value | ApiRefusal:
    if headers is not None and headers.startswith(NO_RESPONDERS):
        return _NOBODY
    try:
        answer = fields.document(data)
        return _refusal(answer["error"]) if "error" in answer else shape(answer)
    except ValueError as error:
        raise LanePaused(f"the answer to {subject} can't be read: {error}: {data[:_SHOWN]!r}") from None


def _refusal(error: object) -> ApiRefusal:
    found = fields.checked(error, {"code": fields.whole, "err_code": fields.whole, "description": fields.text})
    code, err_code = found.get("code", 0), found.get("err_code", 0)
    return ApiRefusal(code, err_code, found.get("description", f"refused with code {code}"))


def _account(answer: dict[str, Any]) -> AccountAnswer:
    limits = fields.mapping(answer.get("limits"))
    return AccountAnswer(fields.whole(answer.get("storage", 0)), fields.signed(limits.get("max_storage")))


def _stream(answer: dict[str, Any], name: str) -> StreamAnswer:
    found = StreamAnswer.from_api(answer)
    if found.config["name"] != name:
        raise ValueError("it is about another stream")
    return found


def _message(answer: dict[str, Any], is_it: Callable[[StoredMessage], bool]) -> StoredMessage:
    found = StoredMessage.from_api(fields.mapping(answer.get("message")))
    if not is_it(found):
        raise ValueError("it is about another message")
    return found


def _consumer(answer: dict[str, Any], name: str) -> ConsumerAnswer:
    if answer.get("name") != name:
        raise ValueError("it is about another consumer")
    return ConsumerAnswer(fields.checked(answer.get("config"), _CONSUMER), fields.whole(answer.get("num_pending")))


def _done(answer: dict[str, Any]) -> None:
    if answer.get("success") is not True:
        raise ValueError("it does not say that it is done")


def _rehearsed(answer: dict[str, Any]) -> None:
    raise ValueError("no stream can have stored this")
