"""Which messages have their receipt in the ledger already, of the newest ones. Pure."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Sequence

_RECENT = 16_384  # sequences: far more than can be stored and not yet recorded


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
