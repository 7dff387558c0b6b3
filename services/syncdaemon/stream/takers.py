"""How many streams take a message: one is right."""

from __future__ import annotations

from contextlib import suppress

from syncdaemon.link import Session
from syncdaemon.link.frame import header_block
from syncdaemon.stream import answers
from syncdaemon.stream.api import IMPOSSIBLE

PATIENCE = 1.0  # seconds that a second stream may take longer to answer than the first


async def takers(session: Session, subject: str) -> int:
    """How many streams would take a message on this subject, by their answers to one that none of them can store.

    Two are there where a hub and its leaf node have the subject in one account: then each stores the message, and both
    acknowledge it. Raises LinkDown, PermissionError.
    """
    found = 0
    async with session.converse(subject) as conversation:
        await conversation.ask(b"", header_block(("Nats-Expected-Stream", IMPOSSIBLE)))
        with suppress(TimeoutError):
            while True:
                heard = await conversation.next(PATIENCE)
                found += answers.refuses_as_another(heard.data)
    return found
