"""Atomic batches: many messages, stored as a whole or not at all, with one sync at the server and one answer.

The rules are those of ADR-50, as nats-server 2.12 and later keep them. The stream has to allow batches
(`allow_atomic`). Each message carries the batch's id and its own number, and the last one a commit. What was not
committed is never stored. If the stream knows one of the messages, or if one is wrong in any way, nothing of the batch
is stored, and the answer does not say which message it was. An answer to a message before the last is empty and means
that the message has arrived.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import uuid4

from syncdaemon.link import Session
from syncdaemon.link.frame import frame
from syncdaemon.publish.flight import Flight, length
from syncdaemon.publish.message import Message
from syncdaemon.stream import verdict

MOST = 1_000  # messages of a batch: the server's limit (10199)
MORE_BYTES = 128  # more than a batch adds to the headers of a message


class AtomicFlight(Flight):
    """The messages of a batch. `answers` are as if the server had answered each message by itself.

    `handed` is 0 until the commit may have left, because nothing is stored without it. `rejected`: certainly nothing
    is stored. `unclear`: we do not understand the answer, or do not believe it.
    """

    def __init__(self, messages: Sequence[Message], stream: str, domain: str | None = None) -> None:
        super().__init__(messages)
        self._home = verdict.Home(stream, domain)
        self.rejected: verdict.BatchRejected | None = None
        self.unclear = False
        self.first_seq = 0
        self._id = uuid4().hex
        self._left: list[float] = []  # when each message did

    def _piece(self, session: Session, most: int) -> list[bytes]:
        keys = self._take(most)
        commits = keys.stop == len(self.messages)
        size = sum(length(self.messages[key]) + MORE_BYTES for key in keys)
        reply = session.expect(self, keys.stop, size)
        frames: list[bytes] = []
        for key in keys:
            message, ends = self.messages[key], key == keys[-1]
            headers = self._headers(message, key + 1, commits and ends)
            frames += frame(message.subject.encode(), reply if ends else b"", headers, message.body)
        self._left += [time.monotonic()] * len(keys)
        if commits:
            self.handed = len(self.messages)
        return frames

    def _headers(self, message: Message, number: int, commits: bool) -> bytes:
        commit = b"Nats-Batch-Commit: 1\r\n" if commits else b""
        block = message.headers[:-2]
        return b"%bNats-Batch-Id: %b\r\nNats-Batch-Sequence: %d\r\n%b\r\n" % (block, self._id.encode(), number, commit)

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        """The server's answer to the end of a piece, or to the batch."""
        if key < len(self.messages) or self.landed.done():
            return
        match verdict.judge_batch(data, headers):
            case verdict.Committed() as committed:
                self._settle(committed, latency)
            case verdict.BatchRejected() as rejected:
                self.rejected = rejected
            case None:
                self.unclear = True
        self.land()

    def _settle(self, committed: verdict.Committed, latency: float) -> None:
        """The messages of a batch have consecutive sequences; the answer names the last one."""
        count = len(self.messages)
        if not self._home.answers_for(committed.stream, committed.domain):
            self.unclear = True
            self.answers = [verdict.other_stream(committed.stream, committed.domain, self._home)] * count
            return
        if (committed.batch, committed.messages) != (self._id, count) or committed.last_seq < count:
            self.unclear = True
            return
        self.first_seq = committed.last_seq - count + 1
        sequences = range(self.first_seq, committed.last_seq + 1)
        self.answers = [verdict.Stored(committed.stream, seq, False) for seq in sequences]
        answered_at = self._left[-1] + latency
        self.latencies = [answered_at - left for left in self._left]

    @property
    def whole(self) -> bool:
        """Whether the batch is stored: it has its answer, and that can be believed."""
        return super().whole and not self.unclear

    def doubt(self) -> None:
        """We do not believe the answer: all its messages are in doubt."""
        self.answers, self.latencies = [None] * len(self.messages), []
