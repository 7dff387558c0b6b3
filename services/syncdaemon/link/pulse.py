"""Whether the server is still there: its last signs of life, when to probe it, and when to give it up. Pure.

The time is an argument: seconds of a clock that is never set back.

Every probe costs the line about 200 bytes, in both directions together, so an idle connection is probed seldom. As soon
as something is wanted of the server, it is probed as often as a busy one, and its silence counts from then on.
"""

from __future__ import annotations

from syncdaemon.link.pace import overdue

PROBE_SECONDS = 0.5  # without a sign of life for so long: the server is probed, while something is wanted of it
RESTING_SECONDS = 1.0  # between two looks at whether something is wanted again, while nothing is
SILENT_SECONDS = 4.0  # neither an answer nor a byte taken by the peer for so long: the connection is dead
PROVED_SECONDS = 5.0  # so long a proof of life counts, beyond the pause between two probes of an idle connection
_SOME_PAYLOAD = 1 << 10  # bytes: more than all probes that can wait


class Pulse:
    """The signs of life of one connection.

    There are three kinds, and they prove different things. An answer proves that the server works for us. An answer to
    a probe proves that the server is there. Progress proves that the connection is slow and not dead: bytes that had
    to wait go on to be taken, or a long answer goes on to arrive.

    A connection rests while nothing is wanted of the server and no probe is unanswered. Then it is probed once in a
    `pause`, and silence means nothing. With the shortest pause, `PROBE_SECONDS`, it never rests.
    """

    def __init__(self, pause: float = PROBE_SECONDS) -> None:
        self.proved_at = 0.0  # when the server last answered anything, a probe included
        self.taken = 0  # bytes that the peer's kernel had acknowledged at the last look
        self._progress_at = 0.0
        self._answered_at = 0.0
        self._newest_answered = 0.0
        self._arriving = 0
        self._waited = False  # at the last look some payload had to wait
        self._pause = max(pause, PROBE_SECONDS)
        self._wanted = True
        self._probed_at = 0.0
        self._asked_at: float | None = 0.0  # since then silence counts; None: the connection rests
        self._believed_until = 0.0  # so long the last proof before `_asked_at` counts

    def started(self, now: float, pause: float = PROBE_SECONDS) -> None:
        """The connection is up. `pause`: the longest time, in seconds, between two probes while it rests."""
        self._progress_at = self._answered_at = self.proved_at = now
        self._pause = max(pause, PROBE_SECONDS)

    @property
    def rests(self) -> bool:
        """Whether the server may be silent now."""
        return self._asked_at is None

    def want(self, now: float, wanted: bool) -> None:
        """Whether something is wanted of the server now: to take what waits to be sent, or to answer."""
        self._wanted = wanted or self._pause <= PROBE_SECONDS
        if self._wanted:
            self._ask(now)
        elif self.proved_at > self._probed_at:
            self._asked_at = None

    def _ask(self, now: float) -> None:
        """From now on silence counts, if it did not before. What proved the server until now does so a little longer:
        a proof of a resting connection is older than that of a busy one, and that is no loss."""
        if self._asked_at is None:
            self._asked_at = now
            self._believed_until = min(now, self.proved_at + self._pause) + PROVED_SECONDS

    def proved(self, now: float) -> bool:
        """Whether the server has answered lately, for what may be known of it."""
        if self.rests:
            return now - self.proved_at <= self._pause + PROVED_SECONDS
        return now <= max(self.proved_at + PROVED_SECONDS, self._believed_until)

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
        if self._wanted:
            return now - self.proved_at >= PROBE_SECONDS
        return self.rests and now - self.proved_at >= self._pause

    def probed(self, now: float) -> None:
        """A probe was sent. Until its answer comes, silence counts."""
        self._probed_at = now
        self._ask(now)

    def silent(self, now: float) -> bool:
        """Whether the server has been silent for too long since silence counts, and nothing goes on either."""
        if self._asked_at is None:
            return False
        return now - max(self.proved_at, self._progress_at, self._asked_at) > SILENT_SECONDS

    def overdue(self, now: float, sent: float) -> bool:
        """Whether the message that was sent at `sent` will not be answered any more. `pace.overdue` has the rule."""
        return overdue(now, sent, max(self._answered_at, self._progress_at), self._newest_answered)
