"""How far a hub has fetched a site's stream, by the newest message that the hub has of it.

The site's server hides the consumer by which the hub fetches (nats-server 2.15.1). But a message at the hub tells which
message of the site's own stream it was: `Nats-Stream-Source`, which the hub's server writes. So one direct get of the
site's subjects, a wildcard, tells all of it. A site may ask that where it is permitted nothing else: at a hub of many
sites, the site's landing account answers.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from syncdaemon.base.errors import LanePaused
from syncdaemon.stream import direct, fields
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.stored import StoredMessage

PATIENCE = 10.0  # seconds until an answer has to be there
_COPIES = 5  # of a stream, at most (nats-server 2.15), and so answers
_FURTHER = 1.0  # and the second one, of another copy of the stream, behind it
_SOURCE = "Nats-Stream-Source"


class Place(NamedTuple):
    """Whose messages, and where: the site's stream, its subjects as a wildcard, a subject that no message has.

    `domain`: of the hub's JetStream.
    """

    stream: str
    subject: str
    no_subject: str
    domain: str


class AtHub(NamedTuple):
    """The newest message that the hub has: its sequence in the site's own stream, its subject, and its size in bytes.

    `at`: when the hub stored it, by the hub's clock; None: not said.
    """

    seq: int
    subject: str
    size: int
    at: datetime | None = None


async def fetched(hub: Api, stream: str, subject: str) -> AtHub | None:
    """What the hub has of the messages on `subject`, a wildcard; None where it has none.

    A copy of the hub's stream may be behind another one: of several answers the newest counts.
    Raises LinkDown, PermissionError, and LanePaused where the hub does not answer, or not so that it can be read.
    """
    found: list[AtHub | None] = []
    async with hub.session.converse(hub.calls.direct(stream, subject)) as conversation:
        await conversation.ask(b"")
        try:
            while len(found) < _COPIES:
                heard = await conversation.next(_FURTHER if found else PATIENCE)
                message = direct.message_of(heard, stream, subject)
                if isinstance(message, ApiRefusal):
                    raise LanePaused(f"the hub does not answer: {message.words}")
                found.append(None if message is None else fetched_of(message))
        except TimeoutError:
            if not found:
                raise LanePaused(f"the hub does not answer within {PATIENCE:g} seconds") from None
    return max(filter(None, found), key=_seq, default=None)


def _seq(one: AtHub) -> int:
    return one.seq


def fetched_of(message: StoredMessage) -> AtHub:
    """Which message of the site's own stream this is, as `<stream>[:<domain>] <sequence> …` tells (nats-server 2.15).

    Raises LanePaused where it does not tell: then the hub has it by another way than a source.
    """
    words = message.headers.get(_SOURCE, "").split()
    try:
        seq = fields.sequence(fields.number(words[1]))
    except (IndexError, ValueError):
        raise LanePaused("the newest message at the hub does not say which one of this site's stream it is") from None
    return AtHub(seq, message.subject, len(message.data), message.at)
