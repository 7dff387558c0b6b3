"""Every receipt has its message, and every message its receipt: the comparison. Pure.

Both come in order of their sequence, so a message is looked at once and not kept. Of a receipt, 41 bytes are kept:
short keyed hashes stand for its fields. Two different values have the same hash with a chance of one in 2^64. What does
not agree is looked at once more, in full.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from syncdaemon.base.model import StoredHeaders
from syncdaemon.ledger.rows import DUPLICATE, PUBLISHED

_OWN, _COVERED = 1, 2


class Problem(NamedTuple):
    """`what`: lost, altered, doubled or unknown. `path` is percent-encoded. `said`: more, in words."""

    what: str
    path: str
    seq: int
    said: str


class Receipts:
    """The receipts that name one stream. `key` is any secret of this run."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._seqs, self._rows = array("Q"), array("Q")
        self._ids, self._digests = array("Q"), array("Q")
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
        self._kinds.append(_OWN * (row["event"] == PUBLISHED) + _COVERED * covered)

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
        """Whether this is the message of a receipt, as far as we can see from its headers and its size."""
        header = seen.headers.get
        own = header("Edge-Site") == site or not self._kinds[at] & _OWN
        same_id = self._ids[at] == self.mark(header("Nats-Msg-Id", ""))
        same_digest = self._digests[at] == self.mark(header("Edge-Sha256", ""))
        elsewhere = header("Edge-Object", "")
        whole = bool(elsewhere or header("Content-Encoding")) or header("Edge-Size") == str(seen.size)
        return own and same_id and same_digest and whole and elsewhere == self._objects.get(at, "")

    def marked(self, at: int) -> int:
        """The mark of a receipt's message id."""
        return self._ids[at]


class Comparison:
    """Compares the receipts for one stream with its messages, which `see` gets in order.

    `doubtful`: the rows of receipts that have to be looked at once more. `unknown`: messages of this site without a
    receipt.
    """

    def __init__(self, receipts: Receipts, site: str, first_seq: int) -> None:
        self._receipts = receipts
        self._site = site
        valid = receipts.valid()
        there = [at for at in valid if receipts.seq(at) >= first_seq]
        self._order = [at for at in there if receipts.covered(at)]
        self._next = 0
        self.void, self.expired = len(receipts) - len(valid), len(valid) - len(there)
        self.matched = self.messages = 0
        self.doubtful = [receipts.row(at) for at in there if not receipts.covered(at)]
        self.unknown: dict[int, StoredHeaders] = {}

    def see(self, seen: StoredHeaders, digest: str | None = None) -> None:
        """The next message. `digest`: that of its content, where the content was read."""
        self._pass(seen.seq)
        intact = digest is None or digest == seen.headers.get("Edge-Sha256")
        known = False  # a receipt names this very message, whether or not all of it agrees
        while self._next < len(self._order) and self._receipts.seq(self._order[self._next]) == seen.seq:
            at = self._order[self._next]
            self._next += 1
            known = known or self._receipts.marked(at) == self._receipts.mark(seen.headers.get("Nats-Msg-Id", ""))
            if intact and self._receipts.agrees(at, seen, self._site):
                self.matched += 1
            else:
                self.doubtful.append(self._receipts.row(at))
        if seen.headers.get("Edge-Site") == self._site:
            self.messages += 1
            if not known:
                self.unknown[seen.seq] = seen

    def _pass(self, seq: float) -> None:
        """The receipts before this sequence have no message."""
        while self._next < len(self._order) and self._receipts.seq(self._order[self._next]) < seq:
            self.doubtful.append(self._receipts.row(self._order[self._next]))
            self._next += 1

    def end(self) -> None:
        """There are no more messages."""
        self._pass(float("inf"))

    def without_receipt(self) -> Iterator[Problem]:
        """The messages without a receipt: each is a second copy, or unknown."""
        first = self._first_copies() if self.unknown else {}
        for seen in self.unknown.values():
            path, mark = seen.headers.get("Edge-Path", ""), self._receipts.mark(seen.headers.get("Nats-Msg-Id", ""))
            if mark in first:
                yield Problem("doubled", path, seen.seq, f"a second copy of message {first[mark]}")
            else:
                first[mark] = seen.seq
                yield Problem("unknown", path, seen.seq, "the ledger has no receipt of it")

    def _first_copies(self) -> dict[int, int]:
        """For each id of an unknown message that a receipt with a message has too: the mark, and that sequence."""
        wanted = {self._receipts.mark(seen.headers.get("Nats-Msg-Id", "")) for seen in self.unknown.values()}
        doubtful = set(self.doubtful)
        return {
            self._receipts.marked(at): self._receipts.seq(at)
            for at in self._order
            if self._receipts.marked(at) in wanted and self._receipts.row(at) not in doubtful
        }


class Fetched(NamedTuple):
    """A message as it was fetched by its sequence. `digest`: of its content; None where that could not be had."""

    seq: int
    headers: Mapping[str, str]
    digest: str | None


def second_look(row: Mapping[str, Any], found: Fetched | None, site: str) -> Problem | None:
    """Compares a receipt with the message at its sequence, in full. None where it is the receipt's message.

    A duplicate's message may be of another site, or of another program that uses the same id or content.
    """

    def problem(what: str, said: str) -> Problem:
        return Problem(what, str(row["path"]), int(row["stream_seq"]), said)

    if found is None:
        return problem("lost", f"the stream has no message {row['stream_seq']}")
    header = found.headers.get
    same_id, same_content = header("Nats-Msg-Id") == row["msg_id"], found.digest == row["sha256"]
    if not same_id and not (same_content and row["event"] == DUPLICATE):
        return problem("lost", f"message {found.seq} is another one, with the id {header('Nats-Msg-Id', '')!r}")
    if row["event"] == PUBLISHED and header("Edge-Site") != site:
        return problem("altered", f"it says that it is of the site {header('Edge-Site', '')!r}")
    if header("Edge-Sha256", row["sha256"]) != row["sha256"]:
        return problem("altered", f"it says that its content is {header('Edge-Sha256')}")
    if header("Edge-Object", "") != row.get("object", ""):
        return problem("altered", f"it names the object {header('Edge-Object', '')!r}")
    if found.digest is None:
        return problem("lost", "its object, or a part of it, is not there")
    if not same_content:
        return problem("altered", f"its content is {found.digest}")
    return None
