"""What a stream holds, read back in order: the headers of its messages, or all of them.

By a consumer of our own that acknowledges nothing and that the server forgets by itself (`headers_only`, `ack_policy`
none). Only on a stream with limits retention: the others hand a message to one consumer, which must not be us. Those
are read `one_by_one`, and so is a stream on which we may make no consumer.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from syncdaemon.base.errors import LanePaused
from syncdaemon.base.model import StoredHeaders
from syncdaemon.link import Conversation, Heard
from syncdaemon.stream import fields
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.pulled import DeliveryInfo, delivery, status
from syncdaemon.stream.stored import header_fields

_BATCH = 1_000
_BODIES = 32  # messages at once with their bodies: each may be as large as the server takes
_FORGET_SECONDS = 60
_SILENT_SECONDS = 15.0  # no message for so long: the server does not go on


async def since(api: Api, stream: str, subject: str, first_seq: int) -> AsyncGenerator[StoredHeaders, None]:
    """The messages on `subject` (wildcards too) from sequence `first_seq` on that are there now, in order.

    Raises LinkDown; PermissionError where the server does not let us; LanePaused where it cannot now.
    """
    async with aclosing(_read(api, stream, subject, first_seq, headers_only=True)) as messages:
        async for seen, _ in messages:
            yield seen


async def oldest(api: Api, stream: str, subject: str) -> DeliveryInfo | None:
    """The first message on `subject` that is there now, without its body; None: there is none. Raises as `since`."""
    name = f"history-{secrets.token_hex(8)}"
    if not await _create(api, stream, name, subject, 1, headers_only=True):
        return None
    async with api.pulls(stream, name) as conversation:
        await conversation.ask(json.dumps({"batch": 1, "no_wait": True}).encode())
        heard = await _next(conversation, stream)
    try:
        return None if heard is None else delivery(heard.reply)
    except ValueError as error:
        raise LanePaused(f"stream {stream}: a message that can't be read: {error}") from None


async def contents(
    api: Api, stream: str, subject: str, first_seq: int
) -> AsyncGenerator[tuple[StoredHeaders, bytes], None]:
    """The same with the body of each."""
    async with aclosing(_read(api, stream, subject, first_seq, headers_only=False)) as messages:
        async for seen, data in messages:
            yield seen, data


async def one_by_one(
    api: Api, stream: str, subject: str, first_seq: int
) -> AsyncGenerator[tuple[StoredHeaders, bytes], None]:
    """The same by a request for each message: slower, and without a consumer. Raises as above."""
    seq = max(1, first_seq)
    while found := await api.next(stream, subject, seq):
        if isinstance(found, ApiRefusal):
            raise found.paused(f"stream {stream}: its messages can't be read")
        yield StoredHeaders(found.seq, found.subject, found.headers, len(found.data)), found.data
        seq = found.seq + 1


async def _read(
    api: Api, stream: str, subject: str, first_seq: int, headers_only: bool
) -> AsyncGenerator[tuple[StoredHeaders, bytes], None]:
    """Each message as its headers tell it, and what came with them."""
    name, batch, seq = f"history-{secrets.token_hex(8)}", _BATCH if headers_only else _BODIES, 0
    left = await _create(api, stream, name, subject, first_seq, headers_only)
    async with api.pulls(stream, name) as conversation:
        while left > 0:
            await conversation.ask(json.dumps({"batch": min(left, batch), "no_wait": True}).encode())
            for _ in range(min(left, batch)):
                heard = await _next(conversation, stream)
                if heard is None:  # some were deleted since we began
                    return
                seen = _seen(heard, stream, seq, headers_only)
                left, seq = left - 1, seen.seq
                yield seen, heard.data


async def _create(api: Api, stream: str, name: str, subject: str, first_seq: int, headers_only: bool) -> int:
    """Makes the consumer; how many messages it will give."""
    config: dict[str, Any] = {
        "name": name,
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": max(1, first_seq),
        "filter_subject": subject,
        "ack_policy": "none",
        "headers_only": headers_only,
        "inactive_threshold": _FORGET_SECONDS * 1_000_000_000,
        "mem_storage": True,
        "num_replicas": 1,
    }
    answer = await api.create_consumer(stream, config)
    if isinstance(answer, ApiRefusal):
        raise answer.paused(f"stream {stream}: its messages can't be read")
    return answer.pending


async def _next(conversation: Conversation, stream: str) -> Heard | None:
    """The next message; None where the consumer has no more."""
    try:
        heard = await conversation.next(_SILENT_SECONDS)
    except TimeoutError:
        raise LanePaused(f"stream {stream}: reading its messages does not go on") from None
    if heard.reply:
        return heard
    said = status(heard.headers)
    if not said.usual:  # the rest is there, and did not come
        raise LanePaused(f"stream {stream}: reading its messages ended with {said.words}")
    return None


def _seen(heard: Heard, stream: str, after: int, headers_only: bool) -> StoredHeaders:
    """The message. Its sequence is part of its reply subject, and above `after`, that of the message before.

    Where only headers come, the server adds the size of the body as the last of them; before it, a message may have
    any header of that name.
    """
    headers = header_fields(heard.headers or b"")
    try:
        seq = fields.whole(delivery(heard.reply).seq, after + 1)
        size = fields.number(headers.get("Nats-Msg-Size", "0")) if headers_only else len(heard.data)
        return StoredHeaders(seq, heard.subject.decode(errors="replace"), headers, size)
    except ValueError as error:
        raise LanePaused(f"stream {stream}: a message that can't be read: {error}") from None
