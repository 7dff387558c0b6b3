"""What a direct get brings: messages as they were stored, and the server's word at the end. Pure.

A direct get (ADR-31, nats-server 2.15) is a request to a stream itself: no consumer is made for it. It is answered by
any copy of the stream, and one of them may be behind the others. Behind a message's own headers the server writes what
the message is. Of two headers of one name the last counts, so a sender can't write these itself.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from syncdaemon.base.errors import LanePaused
from syncdaemon.link import Heard
from syncdaemon.stream import fields
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.info import captured
from syncdaemon.stream.pulled import status
from syncdaemon.stream.stored import StoredMessage, header_fields

_END, _NOT_FOUND, _UNANSWERED = 204, 404, 503


class Piece(NamedTuple):
    """A message out of several. `before`: the sequence of the one before it in the same answer, 0 for the first.

    `left`: how many more of them the stream has behind it.
    """

    message: StoredMessage
    before: int
    left: int


class End(NamedTuple):
    """Nothing more comes. `left`: how many messages more the stream has."""

    left: int


def newest(subject: str) -> bytes:
    """The request for the newest message on this subject."""
    return json.dumps({"last_by_subj": subject}).encode()


def several(subject: str, seq: int, count: int, size: int) -> bytes:
    """The request for the messages on this subject from sequence `seq` on: so many at most.

    The server stops behind the message that makes it `size` bytes or more.
    """
    return json.dumps({"seq": seq, "next_by_subj": subject, "batch": count, "max_bytes": size}).encode()


def message_of(heard: Heard, stream: str, subject: str) -> StoredMessage | ApiRefusal | None:
    """The message on this subject, which may be a wildcard; None where there is none.

    Raises LanePaused where the answer can't be read.
    """
    found = header_fields(heard.headers or b"")
    if "Nats-Sequence" in found:
        return _message(heard, found, stream, subject)
    return None if status(heard.headers).code == _NOT_FOUND else _refusal(heard)


def piece_of(heard: Heard, stream: str, subject: str) -> Piece | End | ApiRefusal:
    """One of the answers to a request for several. Raises LanePaused where it can't be read."""
    found, said = header_fields(heard.headers or b""), status(heard.headers)
    try:
        if "Nats-Sequence" in found:
            before, left = (fields.number(found.get(name, "")) for name in ("Nats-Last-Sequence", "Nats-Num-Pending"))
            return Piece(_message(heard, found, stream, subject), before, left)
        if said.code == _NOT_FOUND:
            return End(0)
        return End(fields.number(found.get("Nats-Num-Pending", ""))) if said.code == _END else _refusal(heard)
    except ValueError as error:
        raise _unread(stream, error) from None


def _message(heard: Heard, found: dict[str, str], stream: str, subject: str) -> StoredMessage:
    try:
        seq, at = fields.sequence(fields.number(found["Nats-Sequence"])), found.get("Nats-Time-Stamp")
        own = found.get("Nats-Subject", "")
        if not captured([subject], own) or found.get("Nats-Stream") != stream:
            raise ValueError("it is about another message")
        return StoredMessage(seq, own, found, heard.data, None if at is None else fields.moment(at))
    except ValueError as error:
        raise _unread(stream, error) from None


def _refusal(heard: Heard) -> ApiRefusal:
    said = status(heard.headers)
    if said.code == _UNANSWERED:
        return ApiRefusal(_UNANSWERED, 0, "no server answers a direct get of it")
    return ApiRefusal(said.code, 0, said.words[:300] or "an answer without a status")


def _unread(stream: str, error: ValueError) -> LanePaused:
    return LanePaused(f"stream {stream}: the answer to a direct get can't be read: {error}")
