"""What a stream holds, read back in order: the headers of its messages, or all of them.

By a consumer of our own that acknowledges nothing and that the server forgets by itself (JetStream API v1 as of
nats-server 2.15: CONSUMER.CREATE with a name, `headers_only`, `ack_policy` none; ADR-13 for the requests). Only on a
stream with limits retention: the others hand a message to one consumer, which must not be us. Those are read
`one_by_one`, and so is a stream on which we may make no consumer.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from syncdaemon.base.errors import LanePaused
from syncdaemon.base.model import StoredHeaders
from syncdaemon.link import Conversation, Heard, Session
from syncdaemon.stream.stored import StoredMessage, header_fields
from syncdaemon.stream.verdict import NO_MESSAGE

_BATCH = 1_000
_BODIES = 32  # messages at once with their bodies: each may be as large as the server takes
_FORGET_SECONDS = 60
_SILENT_SECONDS = 15.0  # no message for so long: the server does not go on


async def since(session: Session, stream: str, subject: str, first_seq: int) -> AsyncGenerator[StoredHeaders, None]:
    """The messages on `subject` (wildcards too) from sequence `first_seq` on that are there now, in order.

    Raises LinkDown; PermissionError where the server does not let us; LanePaused where it cannot now.
    """
    async with aclosing(_read(session, stream, subject, first_seq, _BATCH, headers_only=True)) as messages:
        async for heard in messages:
            yield _seen(heard)


async def contents(
    session: Session, stream: str, subject: str, first_seq: int
) -> AsyncGenerator[tuple[StoredHeaders, bytes], None]:
    """The same with the body of each."""
    async with aclosing(_read(session, stream, subject, first_seq, _BODIES, headers_only=False)) as messages:
        async for heard in messages:
            yield _seen(heard)._replace(size=len(heard.data)), heard.data


async def one_by_one(
    session: Session, stream: str, subject: str, first_seq: int
) -> AsyncGenerator[tuple[StoredHeaders, bytes], None]:
    """The same by a request for each: slower, and nobody's consumer. Raises as above."""
    seq = max(1, first_seq)
    while True:
        ask = {"seq": seq, "next_by_subj": subject}
        answer = await session.request_json(f"$JS.API.STREAM.MSG.GET.{stream}", ask)
        if answer is not None and answer.get("error", {}).get("err_code") == NO_MESSAGE:
            return
        if answer is None or "message" not in answer:
            raise LanePaused(f"stream {stream}: its messages can't be read: {answer}")
        found = StoredMessage.from_api(answer["message"])
        yield StoredHeaders(found.seq, found.subject, found.headers, len(found.data)), found.data
        seq = found.seq + 1


async def _read(
    session: Session, stream: str, subject: str, first_seq: int, batch: int, headers_only: bool
) -> AsyncGenerator[Heard, None]:
    name = f"history-{secrets.token_hex(8)}"
    left = await _create(session, stream, name, subject, first_seq, headers_only)
    async with session.converse(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}") as conversation:
        while left > 0:
            await conversation.ask(json.dumps({"batch": min(left, batch), "no_wait": True}).encode())
            for _ in range(min(left, batch)):
                heard = await _next(conversation, stream)
                if not heard.reply:  # a status: some were deleted since we began
                    return
                left -= 1
                yield heard


async def _create(session: Session, stream: str, name: str, subject: str, first_seq: int, headers_only: bool) -> int:
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
    ask = {"stream_name": stream, "config": config, "action": "create"}
    answer = await session.request_json(f"$JS.API.CONSUMER.CREATE.{stream}.{name}", ask)
    if answer is None or "error" in answer:
        told = answer["error"].get("description") if answer else "no answer"
        raise LanePaused(f"stream {stream}: its messages can't be read: {told}")
    return int(answer["num_pending"])


async def _next(conversation: Conversation, stream: str) -> Heard:
    try:
        return await conversation.next(_SILENT_SECONDS)
    except TimeoutError:
        raise LanePaused(f"stream {stream}: reading its messages does not go on") from None


def _seen(heard: Heard) -> StoredHeaders:
    """The reply subject tells the sequence.

    `$JS.ACK.<stream>.<consumer>.<delivered>.<seq>.<consumer seq>.<time>.<pending>`, or eleven tokens and more, with
    domain and account hash before the stream (ADR-15).
    """
    tokens = heard.reply.split(b".")
    fields = header_fields(heard.headers or b"")
    size = int(fields.get("Nats-Msg-Size", "0"))
    return StoredHeaders(
        int(tokens[5 if len(tokens) == 9 else 7]), heard.subject.decode(errors="replace"), fields, size
    )
