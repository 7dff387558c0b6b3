"""What became of messages whose answer never came, where the stream itself would store a second copy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Protocol

import structlog

from syncdaemon.base.model import Instant
from syncdaemon.ledger.rows import Entry, attempts
from syncdaemon.link import Session
from syncdaemon.publish.doubt import Doubt
from syncdaemon.publish.message import Message
from syncdaemon.publish.trust import Trust
from syncdaemon.stream.api import Api
from syncdaemon.stream.history import since

log = structlog.get_logger(__name__)


class Journal(Protocol):
    """Where attempts are noted before they are made: the ledger."""

    @property
    def next_row(self) -> int:
        """A number that no row written from now on is below."""

    async def record(self, entries: Sequence[Entry]) -> None:
        """Returns when these rows are on disk."""


class Resolver:
    """Notes messages in the ledger before they leave, and later looks in the stream for those without an answer.

    `subject`, with a wildcard for the message id: where our messages lie in the stream of the name `stream`.
    """

    def __init__(self, doubt: Doubt, trust: Trust, journal: Journal, stream: str, subject: str) -> None:
        self._doubt = doubt
        self._trust = trust
        self._journal = journal
        self._stream = stream
        self._subject = subject

    async def note(self, messages: Sequence[Message]) -> None:
        """These messages leave now. The ledger has their row before they do, because the stream would not know them."""
        if messages:
            msg_ids = [message.msg_id for message in messages]
            first_seq = self._trust.last_seq + 1
            next_row = self._journal.next_row
            rows = attempts(msg_ids, first_seq, self._doubt.oldest_row, next_row)
            self._doubt.sent(msg_ids, first_seq, next_row, _now())
            await self._journal.record(rows)

    async def look(self, session: Session, window: float, first: bool) -> None:
        """Reads the stream from the oldest message in doubt on, where its ids are not surely known to the server.

        `window`: for how many seconds the server knows an id. `first`: at the first contact the stream is read even
        where nothing is in doubt, so that we see whether we may.

        Raises LinkDown; PermissionError where we may not read; LanePaused where the server can't answer now.
        """
        wanted = self._doubt.read_from(_now(), window)
        if wanted is None and not first:
            return
        read, end = 0, self._trust.last_seq + 1
        begin = end if wanted is None else wanted
        if begin > end:  # the stream was made anew since, and may have these messages anywhere
            begin = 1
        async with aclosing(since(Api.over(session), self._stream, self._subject, begin)) as messages:
            async for seen in messages:
                self._doubt.look(seen)
                read += 1
        if wanted is not None:
            open_since, next_row = self._doubt.oldest_row, self._journal.next_row
            found = self._doubt.looked(next_row)
            first_seq = self._doubt.first_seq or self._trust.last_seq + 1
            await self._journal.record(attempts(found, first_seq, open_since, next_row, resolved=True))
            log.info("doubt_resolved", stored=len(found), messages_read=read)


def _now() -> Instant:
    return Instant(time.monotonic(), time.time())
