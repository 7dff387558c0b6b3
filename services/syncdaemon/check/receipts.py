"""The receipts of a ledger that name one stream, in few bytes each. Pure.

Of a receipt, 57 bytes are kept: short keyed hashes stand for its fields. Two different values have the same hash with a
chance of one in 2^64.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import islice, takewhile
from typing import Any

from syncdaemon.base.model import StoredHeaders, first_id
from syncdaemon.check.said import said_by, said_in
from syncdaemon.ledger.rows import PUBLISHED

SOURCE = "Nats-Stream-Source"  # a server writes it itself, and refuses it from a client (nats-server 2.15)

_OWN, _COVERED, _PER_DIGEST = 1, 2, 4
_SHARED = 0  # the mark of a subject on which a tombstone says nothing of a single message


def is_per_digest(row: Mapping[str, Any]) -> bool:
    """Whether the subject of a receipt is one content's alone. On any other, a tombstone says nothing of a message."""
    return first_id(str(row["msg_id"])) in str(row.get("subject", "")).split(".")


class Receipts:
    """The receipts that name one stream. `key` is any secret of this run."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._seqs, self._rows = array("Q"), array("Q")
        self._ids, self._digests, self._subjects = array("Q"), array("Q"), array("Q")
        self._said = array("Q")
        self._kinds = bytearray()
        self._objects: dict[int, str] = {}
        self._void: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self._seqs)

    def mark(self, text: str) -> int:
        """A short hash that cannot be foreseen without the key."""
        data = text.encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(data, digest_size=8, key=self._key).digest(), "big")

    def add(self, row: Mapping[str, Any], covered: bool) -> None:
        """A `published` or `duplicate` row; `covered`: its message is on a subject that is read through."""
        if elsewhere := row.get("object"):
            self._objects[len(self._seqs)] = elsewhere
        self._seqs.append(row["stream_seq"])
        self._rows.append(row["n"])
        self._ids.append(self.mark(row["msg_id"]))
        self._digests.append(self.mark(row["sha256"]))
        self._subjects.append(self.mark(row["subject"]))
        self._said.append(self._mark_all(said_in(row)) if row["event"] == PUBLISHED else 0)
        self._kinds.append(_OWN * (row["event"] == PUBLISHED) + _COVERED * covered + _PER_DIGEST * is_per_digest(row))

    def _mark_all(self, said: Mapping[str, str]) -> int:
        return self.mark("\0".join(said.values()))

    def void(self, row: Mapping[str, Any]) -> None:
        """A `held_lost` row: the receipts before it for this message are void. A newer one says where the file is."""
        self._void[row["stream_seq"], self.mark(row["sha256"])] = row["n"]

    def valid(self) -> list[int]:
        """The receipts that are not void, by sequence."""
        valid = (at for at in range(len(self)) if not self._is_void(at))
        return sorted(valid, key=self._seqs.__getitem__)

    def _is_void(self, at: int) -> bool:
        return bool(self._void) and self._rows[at] < self._void.get((self._seqs[at], self._digests[at]), 0)

    def seq(self, at: int) -> int:
        """The sequence of a receipt."""
        return self._seqs[at]

    def row(self, at: int) -> int:
        """The number of its row in the ledger."""
        return self._rows[at]

    def covered(self, at: int) -> bool:
        """Whether its message is on a subject that is read through."""
        return bool(self._kinds[at] & _COVERED)

    def agrees(self, at: int, seen: StoredHeaders, site: str) -> bool:
        """Whether this is the message of a receipt, as far as we can see from its headers and its size.

        A message that came by a source may lie on another subject here.
        """
        header = seen.headers.get
        own = header("Edge-Site") == site or not self._kinds[at] & _OWN
        same_id = self._ids[at] == self.mark(header("Nats-Msg-Id", ""))
        same_digest = self._digests[at] == self.mark(header("Edge-Sha256", ""))
        elsewhere = header("Edge-Object", "")
        if self._kinds[at] & _OWN:
            own = own and self._said[at] == self._mark_all(said_by(seen.headers))
        if SOURCE not in seen.headers:
            own = own and self._subjects[at] == self.mark(seen.subject)
        whole = bool(elsewhere or header("Content-Encoding")) or header("Edge-Size") == str(seen.size)
        return own and same_id and same_digest and whole and elsewhere == self._objects.get(at, "")

    def subject(self, at: int) -> int:
        """The mark of a receipt's subject; `_SHARED`, which no tombstone has, where many contents share it."""
        return self._subjects[at] if self._kinds[at] & _PER_DIGEST else _SHARED

    def marked(self, at: int) -> int:
        """The mark of a receipt's message id."""
        return self._ids[at]


class Tombstones:
    """The subjects on which a message was received and freed, in 16 bytes each."""

    def __init__(self, receipts: Receipts) -> None:
        self._mark = receipts.mark
        self._marks, self._seqs = array("Q"), array("Q")
        self._by_mark = array("Q")

    def add(self, subject: str, seq: int) -> None:
        """One more. `seq`: where it lies; 0 where that is no sequence of the stream which the receipts are about."""
        self._marks.append(self._mark(subject))
        self._seqs.append(seq)

    def hold(self, mark: int, seq: int) -> bool:
        """Whether one of them is in the place of a message: that had this sequence, and a subject with this mark."""
        if len(self._by_mark) != len(self._marks):
            self._by_mark = array("Q", sorted(range(len(self._marks)), key=self._marks.__getitem__))
        start = bisect_left(self._by_mark, mark, key=self._marks.__getitem__)
        same = takewhile(lambda at: self._marks[at] == mark, islice(self._by_mark, start, None))
        return any(not self._seqs[at] or self._seqs[at] >= seq for at in same)


class ById:
    """Some receipts, by the marks of their message ids."""

    def __init__(self, receipts: Receipts, some: Iterable[int]) -> None:
        self._marked = receipts.marked
        self._sorted = array("Q", sorted(some, key=self._marked))

    def of(self, mark: int) -> Iterator[int]:
        """Those with this mark."""
        start = bisect_left(self._sorted, mark, key=self._marked)
        return takewhile(lambda at: self._marked(at) == mark, islice(self._sorted, start, None))
