"""Whether the server is still there: its last signs of life, when to probe it, and when to give it up. Pure.

The time is an argument: seconds of a clock that is never set back.
"""

from __future__ import annotations

from syncdaemon.link.pace import overdue

PROBE_SECONDS = 0.5  # without a sign of life for so long: the server is probed
SILENT_SECONDS = 4.0  # neither an answer nor a byte taken by the peer for so long: the connection is dead
_SOME_PAYLOAD = 1 << 10  # bytes: more than all probes that can wait


class Pulse:
    """The signs of life of one connection.

    There are three kinds, and they prove different things. An answer proves that the server works for us. An answer to
    a probe proves that the server is there. Progress proves that the connection is slow and not dead: bytes that had
    to wait go on to be taken, or a long answer goes on to arrive.
    """

    def __init__(self) -> None:
        self.proved_at = 0.0  # when the server last answered anything, a probe included
        self.taken = 0  # bytes that the peer's kernel had acknowledged at the last look
        self._progress_at = 0.0
        self._answered_at = 0.0
        self._newest_answered = 0.0
        self._arriving = 0
        self._waited = False  # at the last look some payload had to wait

    def started(self, now: float) -> None:
        """The connection is up."""
        self._progress_at = self._answered_at = self.proved_at = now

    def probe_answered(self, now: float) -> None:
        """The server answered a probe."""
        self.proved_at = now

    def answered(self, now: float, sent: float = 0.0) -> None:
        """The server answered the message that was sent at `sent`; 0 where it is not known when that was."""
        self.proved_at = self._answered_at = now
        if sent > self._newest_answered:
            self._newest_answered = sent

    def goes_on(self, now: float) -> None:
        """The server is at work for us, even if it has not answered yet."""
        self.proved_at = self._progress_at = now

    def look(self, now: float, *, arriving: int, written: int, unsent: int) -> None:
        """Looks for progress since the last look. All three are numbers of bytes.

        `arriving`: of a message that has not come to its end yet; `written`: all that was ever written to the
        connection; `unsent`: those of them that the peer's kernel has not acknowledged yet.

        Only payload that had to wait counts: the kernel of a frozen peer takes bytes, and our probes, for as long as
        its buffer has room.
        """
        if arriving > self._arriving:
            self._progress_at = now
        taken = written - unsent
        if self._waited and taken > self.taken:
            self._progress_at = now
        self._arriving, self.taken, self._waited = arriving, taken, unsent > _SOME_PAYLOAD

    def wants_probe(self, now: float) -> bool:
        """Whether to ask the server for a sign of life now."""
        return now - self.proved_at >= PROBE_SECONDS

    def silent(self, now: float) -> bool:
        """Whether the server has been silent for too long, and nothing goes on either."""
        return now - max(self.proved_at, self._progress_at) > SILENT_SECONDS

    def overdue(self, now: float, sent: float) -> bool:
        """Whether the message that was sent at `sent` will not be answered any more. `pace.overdue` has the rule."""
        return overdue(now, sent, max(self._answered_at, self._progress_at), self._newest_answered)
