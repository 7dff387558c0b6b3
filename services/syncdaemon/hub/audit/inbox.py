"""The streams of checkpoints as the auditor reads and writes them: by direct gets alone, as its rights are.

`edge_checkpoints` is read in the order of its sequences, every retained message of every site. On `edge_cosigned` only
the auditor publishes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from syncdaemon.base.errors import LanePaused
from syncdaemon.link.frame import header_block
from syncdaemon.stream import answers, direct, fields
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.direct import End
from syncdaemon.stream.stored import StoredMessage

CHECKPOINTS, COSIGNED = "edge_checkpoints", "edge_cosigned"
READ_TO = "Edge-Read-To"
_SUBJECT = "edge.checkpoint."
_AT_ONCE, _BYTES = 256, 4 << 20
_PATIENCE = 10.0  # seconds until an answer has to be there


class RetainedMessages(NamedTuple):
    """Messages in order, and how many more the stream has behind them."""

    messages: list[StoredMessage]
    left: int


def subject_of(site: str) -> str:
    """Where a site's checkpoints are."""
    return f"{_SUBJECT}{site}"


def site_of(subject: str) -> str:
    """The site whose subject this is."""
    return subject.removeprefix(_SUBJECT)


async def read(api: Api, seq: int, subject: str = f"{_SUBJECT}*", most: int = _AT_ONCE) -> RetainedMessages:
    """The next messages from this sequence on, so many at most. Raises LinkDown, PermissionError, LanePaused."""
    found: list[StoredMessage] = []
    async with api.gets(CHECKPOINTS) as conversation:
        await conversation.ask(direct.several(subject, max(1, seq), most, _BYTES))
        while True:
            try:
                heard = await conversation.next(_PATIENCE)
            except TimeoutError:
                raise LanePaused(f"{CHECKPOINTS} does not answer a direct get within {_PATIENCE:g} seconds") from None
            piece = direct.piece_of(heard, CHECKPOINTS, subject)
            if isinstance(piece, ApiRefusal):
                raise piece.paused(CHECKPOINTS)
            if isinstance(piece, End):
                return RetainedMessages(found, piece.left)
            if found and piece.message.seq <= found[-1].seq:
                raise LanePaused(f"{CHECKPOINTS}: messages come out of order")
            found.append(piece.message)


async def newest_cosigned(api: Api, site: str) -> StoredMessage | None:
    """The note of this site that was published last. Raises as `read`."""
    found = await api.newest(COSIGNED, f"edge.cosigned.{site}.*")
    if isinstance(found, ApiRefusal):
        raise found.paused(COSIGNED)
    return found


async def newest_message(api: Api, stream: str, subjects: str) -> datetime | None:
    """When the newest message on these subjects was stored; None where there is none, or it can't be seen."""
    try:
        found = await api.newest(stream, subjects)
    except (PermissionError, LanePaused):
        return None
    return None if found is None or isinstance(found, ApiRefusal) else found.at


def day_subject(site: str, now: float) -> str:
    """Where a note goes that is published now, in seconds since 1970."""
    return f"edge.cosigned.{site}.{datetime.fromtimestamp(now, UTC):%Y%m%d}"


async def publish(api: Api, subject: str, note: bytes, read_to: int, expected: int) -> int | None:
    """Publishes a note in the place of the one with the sequence `expected`; its own. None: another one is there now.

    Raises LinkDown, PermissionError, LanePaused.
    """
    headers = header_block(
        ("Nats-Expected-Stream", COSIGNED), ("Nats-Expected-Last-Subject-Sequence", expected), (READ_TO, read_to)
    )
    answer = await api.session.request(subject, note, headers)
    found = answers.read_answer(subject, *answer, _stored)
    if isinstance(found, ApiRefusal):
        if found.last_on_subject is not None:
            return None
        raise found.paused(COSIGNED)
    return found


def read_to_of(message: StoredMessage) -> int:
    """Up to where its author had read; 0 where it does not say."""
    try:
        return fields.number(message.headers.get(READ_TO, ""))
    except ValueError:
        return 0


def _stored(answer: Mapping[str, Any]) -> int:
    if answer.get("stream") != COSIGNED:
        raise ValueError("another stream has stored it")
    return fields.sequence(answer.get("seq"))
