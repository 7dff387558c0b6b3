"""What is known of messages whose answer never came. Pure.

`Recent` tells whether such a message, found in the stream, has its receipt already. `Doubt` is for a stream that can't
refuse a second copy by itself:

Every message is noted before its bytes leave, with the first sequence that the stream could store it at. After a cut
or a crash, what is noted and not answered is looked for in the stream, from the oldest of these sequences on, before
anything else is sent: what is found is stored, the rest is not. While the server's own memory of message ids is sure
to reach back far enough, looking is not needed: it refuses the second copy then.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from syncdaemon.base.model import Seen

_FAR_AGO = float("-inf")
_RECENT = 16_384  # sequences: far more than can be stored and not yet recorded


class Instant(NamedTuple):
    """Now, by two clocks, in seconds: one that is never set, and one that goes on while the machine sleeps."""

    monotonic: float
    wall: float

    def since(self, earlier: Instant) -> float:
        """Seconds since then; the more, where the clocks disagree."""
        return max(self.monotonic - earlier.monotonic, self.wall - earlier.wall)


LONG_AGO = Instant(_FAR_AGO, _FAR_AGO)


class Attempt(NamedTuple):
    """`files` messages of one id: the stream can hold them from `first_seq` on; noted in the ledger's row `row`."""

    first_seq: int
    row: int
    files: int
    at: Instant = LONG_AGO


class Doubt:
    """The attempts that are open, by message id."""

    def __init__(self) -> None:
        self._open: dict[str, Attempt] = {}
        self._found: dict[str, Seen] = {}

    def take_over(self, attempts: Mapping[str, Attempt]) -> None:
        """What an earlier process left open."""
        self._open.update(attempts)

    def sent(self, msg_ids: Iterable[str], first_seq: int, row: int, now: Instant) -> None:
        """These messages leave now. One that is in doubt already stays so since the first time."""
        for msg_id in msg_ids:
            open_ = self._open.get(msg_id, Attempt(first_seq, row, 0, now))
            self._open[msg_id] = open_._replace(files=open_.files + 1)

    def answered(self, msg_id: str) -> None:
        """One message of this id is known to be stored, or known not to be."""
        if (open_ := self._open.get(msg_id)) is None:
            return
        if open_.files > 1:
            self._open[msg_id] = open_._replace(files=open_.files - 1)
        else:
            del self._open[msg_id]
            self._found.pop(msg_id, None)

    def read_from(self, now: Instant, window: float) -> int | None:
        """The sequence from which on the stream has to be looked through; None where that is not needed.

        `window`: for how many seconds the server knows an id. Half of it is left for clocks and for what is under way.
        """
        unknown = [attempt for msg_id, attempt in self._open.items() if msg_id not in self._found]
        if all(now.since(attempt.at) < window / 2 for attempt in unknown):
            return None
        return min(attempt.first_seq for attempt in unknown)

    def look(self, seen: Seen) -> None:
        """The stream holds this message."""
        msg_id = seen.headers.get("Nats-Msg-Id", "")
        if msg_id in self._open:
            self._found.setdefault(msg_id, seen)

    def looked(self, row: int) -> list[str]:
        """All was looked at: what was not found is not stored, and in doubt no more.

        The ids of the messages that were found, to be noted anew in the ledger's row `row`.
        """
        self._open = {
            msg_id: attempt._replace(row=row) for msg_id, attempt in self._open.items() if msg_id in self._found
        }
        return [msg_id for msg_id, attempt in self._open.items() for _ in range(attempt.files)]

    def found(self, msg_id: str) -> Seen | None:
        """The message of this id, where looking has found it."""
        return self._found.get(msg_id)

    @property
    def first_seq(self) -> int:
        """The first sequence that a message in doubt can have; 0 where none is."""
        return min((attempt.first_seq for attempt in self._open.values()), default=0)

    @property
    def oldest_row(self) -> int:
        """The first row of the ledger that matters still; 0 where none does."""
        return min((attempt.row for attempt in self._open.values()), default=0)

    def forget(self) -> None:
        """No file waits, so none is in doubt: what is left belongs to files that were taken away."""
        self._open.clear()
        self._found.clear()

    def __contains__(self, msg_id: str) -> bool:
        return msg_id in self._open

    def __bool__(self) -> bool:
        return bool(self._open)


class Recent:
    """The sequences of the newest `published` rows: those that the ledger had at the start, and those since."""

    def __init__(self, seqs: Sequence[int] = (), whole: bool = True, void: Iterable[int] = ()) -> None:
        """`whole`: there are no older ones. `void`: messages whose row counted once, and does no more."""
        self._order = deque(seqs)
        self._seqs = set(seqs)
        self._void = set(void) - self._seqs
        self._floor = 0 if whole else min(seqs, default=sys.maxsize) - 1  # below it, nothing is known

    def add(self, seq: int) -> None:
        """One more row; the oldest may be forgotten."""
        self._order.append(seq)
        self._seqs.add(seq)
        self._void.discard(seq)
        if len(self._order) > _RECENT:
            oldest = self._order.popleft()
            self._seqs.discard(oldest)
            self._floor = max(self._floor, oldest)

    def forget(self, seq: int) -> None:
        """The row for this message counts no more."""
        self._seqs.discard(seq)
        self._void.add(seq)

    def forget_beyond(self, last_seq: int) -> None:
        """The stream ends there: what it had beyond is lost, and those sequences will be other messages'."""
        if self._order and max(self._order) > last_seq:
            self._order = deque(seq for seq in self._order if seq <= last_seq)
            self._seqs = set(self._order)
        self._void = {seq for seq in self._void if seq <= last_seq}

    def has(self, seq: int) -> bool:
        """Whether there certainly is such a row for this message."""
        return seq in self._seqs

    def lacks(self, seq: int) -> bool:
        """Whether there certainly is none."""
        return seq > self._floor and seq not in self._seqs

    def is_void(self, seq: int) -> bool:
        """Whether there was one that counts no more, and no other has come since."""
        return seq in self._void
