"""What we know of messages whose answer never came, where the stream can't refuse a second copy by itself. Pure.

Every message is noted before its bytes leave, with the first sequence that the stream could store it at. After a cut
or a crash we look in the stream for every message that was noted and not answered, from the oldest of these sequences
on, before anything else is sent. What we find there is stored, the rest is not. While the server certainly remembers
the ids of these messages, we need not look: the server refuses the second copy then.

A message that was sent afresh, under its first id with more behind it, belongs to the attempt of the first id. That
attempt is open as long as the message has no receipt, so no other row says that it was sent afresh.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from syncdaemon.base.model import Attempt, Instant, StoredHeaders, first_id


class Doubt:
    """The attempts that are open, by message id."""

    def __init__(self) -> None:
        self._open: dict[str, Attempt] = {}
        self._found: dict[str, StoredHeaders] = {}

    def take_over(self, attempts: Mapping[str, Attempt]) -> None:
        """What an earlier process left open."""
        self._open.update(attempts)

    def sent(self, msg_ids: Iterable[str], first_seq: int, row: int, now: Instant) -> None:
        """These messages leave now. A message that is in doubt already keeps its first sequence, row and time."""
        for msg_id in msg_ids:
            open_ = self._open.get(msg_id, Attempt(first_seq, row, 0, now))
            self._open[msg_id] = open_._replace(files=open_.files + 1)

    def answered(self, msg_id: str) -> None:
        """We know of one message of this id that it is stored, or that it is not."""
        msg_id = first_id(msg_id)
        if (open_ := self._open.get(msg_id)) is None:
            return
        if open_.files > 1:
            self._open[msg_id] = open_._replace(files=open_.files - 1)
        else:
            del self._open[msg_id]
            self._found.pop(msg_id, None)

    def read_from(self, now: Instant, window: float) -> int | None:
        """The sequence from which on we have to look through the stream; None where we need not.

        `window`: for how many seconds the server knows an id. We rely on half of it: the other half is for clocks that
        differ and for messages that are still under way.
        """
        unknown = [attempt for msg_id, attempt in self._open.items() if msg_id not in self._found]
        if all(now.since(attempt.at) < window / 2 for attempt in unknown):
            return None
        return min(attempt.first_seq for attempt in unknown)

    def look(self, seen: StoredHeaders) -> None:
        """The stream holds this message."""
        msg_id = first_id(seen.headers.get("Nats-Msg-Id", ""))
        if msg_id in self._open:
            self._found.setdefault(msg_id, seen)

    def looked(self, row: int) -> list[str]:
        """We looked through all of it: what was not found is not stored, and no longer in doubt.

        Returns the ids of the messages that were found, to be noted again in the ledger's row `row`.
        """
        self._open = {
            msg_id: attempt._replace(row=row) for msg_id, attempt in self._open.items() if msg_id in self._found
        }
        return [msg_id for msg_id, attempt in self._open.items() for _ in range(attempt.files)]

    def found(self, msg_id: str) -> StoredHeaders | None:
        """The message of this id, where we found it in the stream."""
        return self._found.get(first_id(msg_id))

    @property
    def first_seq(self) -> int:
        """The first sequence that a message in doubt can have; 0 where none is in doubt."""
        return min((attempt.first_seq for attempt in self._open.values()), default=0)

    @property
    def oldest_row(self) -> int:
        """The first row of the ledger that still matters; 0 where none does."""
        return min((attempt.row for attempt in self._open.values()), default=0)

    def forget(self) -> None:
        """No file waits, so none is in doubt: what is left belongs to files that their producer took away."""
        self._open.clear()
        self._found.clear()

    def __contains__(self, msg_id: str) -> bool:
        return first_id(msg_id) in self._open

    def __bool__(self) -> bool:
        return bool(self._open)
