"""Which of the newest messages have their receipt in the ledger already. Pure."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Sequence

_RECENT = 16_384  # sequences: far more than there can be messages stored and without their receipt


class Recent:
    """The sequences of the newest `published` rows: those that the ledger had at the start, and those since."""

    def __init__(self, seqs: Sequence[int] = (), whole: bool = True, void: Iterable[int] = ()) -> None:
        """`whole`: there are no older rows. `void`: messages whose row counts no more."""
        self._order = deque(seqs)
        self._seqs = set(seqs)
        self._void = set(void) - self._seqs
        self._floor = 0 if whole else min(seqs, default=sys.maxsize) - 1  # below it, nothing is known

    def add(self, seq: int) -> None:
        """One more row. The oldest may be forgotten for it."""
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
        """The stream ends there: what it had beyond is lost, and other messages will get those sequences."""
        if self._order and max(self._order) > last_seq:
            self._order = deque(seq for seq in self._order if seq <= last_seq)
            self._seqs = set(self._order)
        self._void = {seq for seq in self._void if seq <= last_seq}

    def has(self, seq: int) -> bool:
        """Whether there certainly is a row for this message."""
        return seq in self._seqs

    def lacks(self, seq: int) -> bool:
        """Whether there certainly is none."""
        return seq > self._floor and seq not in self._seqs

    def is_void(self, seq: int) -> bool:
        """Whether there was a row that counts no more, and no other row has come since."""
        return seq in self._void
