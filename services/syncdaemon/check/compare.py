"""Every receipt has its message, and every message its receipt: the comparison. Pure.

Both come in order of their sequence, so a message is looked at once and not kept. What does not agree is looked at once
more, in full.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from syncdaemon.base.model import StoredHeaders
from syncdaemon.check.receipts import SOURCE, ById, Receipts, Tombstones
from syncdaemon.check.said import differences
from syncdaemon.ledger.rows import DUPLICATE, PUBLISHED
from syncdaemon.stream.tombstone import is_tombstone

__all__ = ["Comparison", "Fetched", "Problem", "Receipts", "is_older", "lets_go", "second_look"]


class Problem(NamedTuple):
    """`what`: lost, altered, doubled or unknown. `path` is percent-encoded. `said`: more, in words."""

    what: str
    path: str
    seq: int
    said: str


class Comparison:
    """Compares the receipts for one stream with its messages, which `see` gets in order.

    `doubtful`: the rows of receipts that have to be looked at once more. `unknown`: messages of this site without a
    receipt.

    A stream that takes a site's messages by a source, as a hub's does, gives them sequences of its own. Such a message
    is told by its id. `sourced`: how many there were. `elsewhere`: for the rows whose message was found so and does not
    agree, its sequence. `earlier` and `waiting`: the rows before the first one and behind the last one whose message
    was found; the stream may have let their messages go, or not have got them yet.
    `freed`: receipts from before its first message whose message made room for a tombstone behind that.
    """

    def __init__(self, receipts: Receipts, site: str, first_seq: int) -> None:
        self._receipts = receipts
        self._site = site
        valid = receipts.valid()
        there = [at for at in valid if receipts.seq(at) >= first_seq]
        self._order = [at for at in there if receipts.covered(at)]
        self._next = 0
        self.void, self.expired = len(receipts) - len(valid), len(valid) - len(there)
        self.matched = self.messages = self.before = 0
        self.doubtful = [receipts.row(at) for at in there if not receipts.covered(at)]
        self.unknown: dict[int, StoredHeaders] = {}
        self.sourced = 0
        self.elsewhere: dict[int, int] = {}
        self.waiting: set[int] = set()
        self.earlier: set[int] = set()
        self._by_id: ById | None = None
        self._found = bytearray(len(receipts))
        self._early = array("Q", [at for at in valid if receipts.seq(at) < first_seq])
        self._tombstones, self.freed = Tombstones(receipts), 0

    def see(self, seen: StoredHeaders, digest: str | None = None) -> None:
        """The next message. `digest`: that of its content, where the content was read."""
        if is_tombstone(seen.headers, seen.size):
            self._see_tombstone(seen)
            return
        intact = digest is None or digest == seen.headers.get("Edge-Sha256")
        known = self._see_sourced(seen, intact) if SOURCE in seen.headers else self._see_own(seen, intact)
        if seen.headers.get("Edge-Site") == self._site:
            self.messages += 1
            if not known:
                self.unknown[seen.seq] = seen

    def _see_tombstone(self, seen: StoredHeaders) -> None:
        """Only a receipt that names this very message is passed by it: that is looked at once more, as any other."""
        if SOURCE in seen.headers:
            self.sourced += 1
            self._tombstones.add(seen.subject, 0)
        else:
            self._pass(seen.seq)
            self._tombstones.add(seen.subject, seen.seq)

    def _see_sourced(self, seen: StoredHeaders, intact: bool) -> bool:
        """Whether there is a receipt for this message, which came by a source."""
        self.sourced += 1
        self._by_id = self._by_id or ById(self._receipts, self._order)
        known = False
        for at in self._by_id.of(self._receipts.mark(seen.headers.get("Nats-Msg-Id", ""))):
            if self._found[at]:  # by another copy
                continue
            known, self._found[at] = True, 1
            if intact and self._receipts.agrees(at, seen, self._site):
                self.matched += 1
            else:
                self.elsewhere[self._receipts.row(at)] = seen.seq
        return known

    def _see_own(self, seen: StoredHeaders, intact: bool) -> bool:
        """Whether a receipt names this very message, whether or not all of it agrees."""
        self._pass(seen.seq)
        known = False
        while self._next < len(self._order) and self._receipts.seq(self._order[self._next]) == seen.seq:
            at = self._order[self._next]
            self._next += 1
            known = known or self._receipts.marked(at) == self._receipts.mark(seen.headers.get("Nats-Msg-Id", ""))
            if intact and self._receipts.agrees(at, seen, self._site):
                self.matched += 1
            else:
                self.doubtful.append(self._receipts.row(at))
        return known

    def _pass(self, seq: float) -> None:
        """The receipts before this sequence have no message."""
        while self._next < len(self._order) and self._receipts.seq(self._order[self._next]) < seq:
            if not self._found[self._order[self._next]]:
                self.doubtful.append(self._receipts.row(self._order[self._next]))
            self._next += 1

    def end(self) -> None:
        """There are no more messages."""
        self._pass(float("inf"))
        hold, receipts = self._tombstones.hold, self._receipts
        self.freed = sum(hold(receipts.subject(at), receipts.seq(at)) for at in self._early)
        self.expired -= self.freed
        if self.sourced:
            self._sort_sourced()

    def has_tombstone(self, subject: str, seq: int) -> bool:
        """Whether one was seen in the place of the message that had this subject and this sequence."""
        return self._tombstones.hold(self._receipts.mark(subject), seq)

    def _sort_sourced(self) -> None:
        """What was found by its id is not looked at by its sequence."""
        rows = [self._receipts.row(at) for at in self._order]
        places = [place for place, at in enumerate(self._order) if self._found[at]]
        found = {rows[place] for place in places} if self.doubtful else set()
        self.doubtful = [row for row in self.doubtful if row not in found] + list(self.elsewhere)
        self.waiting = set(rows[places[-1] + 1 :] if places else rows)
        self.earlier = set(rows[: places[0]] if places else ())

    def add_receipt(self, row: Mapping[str, Any]) -> None:
        """A receipt that the ledger has got since we began."""
        if not self.sourced:
            self.unknown.pop(row["stream_seq"], None)
            return
        for seq in [seq for seq, seen in self.unknown.items() if seen.headers.get("Nats-Msg-Id") == row["msg_id"]]:
            del self.unknown[seq]

    def without_receipt(self, began: int = 0) -> Iterator[Problem]:
        """The messages without a receipt: each is a second copy, or unknown.

        `began`: the first sequence since the ledger began. What is older and no second copy is counted in `before`.
        """
        first = self._first_copies() if self.unknown else {}
        for seen in self.unknown.values():
            path, mark = seen.headers.get("Edge-Path", ""), self._receipts.mark(seen.headers.get("Nats-Msg-Id", ""))
            if mark in first:
                yield Problem("doubled", path, seen.seq, f"a second copy of message {first[mark]}")
            else:
                first[mark] = seen.seq
                if seen.seq < began:
                    self.before += 1
                    continue
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
    """A message as it was fetched by its sequence.

    `digest`: of its content; None where that could not be had. `unread`: why it was not even asked for. `tombstone`: it
    is no message of a file, but says that one was received and freed. `subject`: where it lies.
    """

    seq: int
    headers: Mapping[str, str]
    digest: str | None
    unread: str = ""
    tombstone: bool = False
    subject: str = ""


def is_older(row: Mapping[str, Any], comparison: Comparison, state: Mapping[str, Any]) -> bool:
    """Whether a receipt is from before the stream's first message."""
    first = state["first_seq"]
    return bool(row["n"] in comparison.earlier and first > 1 if comparison.sourced else row["stream_seq"] < first)


def lets_go(config: Mapping[str, Any]) -> bool:
    """Whether messages leave from the middle of the stream by its own rules."""
    if config.get("retention", "limits") != "limits":
        return True
    refuses = config.get("discard") == "new" and config.get("discard_new_per_subject")
    return bool(config.get("max_msgs_per_subject", -1) > 0 and not refuses)


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
    if found.unread:
        return problem("lost", f"{found.unread}, so its object was not read")
    if found.digest is None:
        return problem("lost", "its object, or a part of it, is not there")
    if not same_content:
        return problem("altered", f"its content is {found.digest}")
    if found.subject and SOURCE not in found.headers and found.subject != row["subject"]:
        return problem("altered", f"it lies on the subject {found.subject!r}, and the row says {row['subject']!r}")
    if row["event"] == PUBLISHED and (other := next(differences(row, found.headers), "")):
        return problem("altered", other)
    if header("Edge-Size", str(row["size"])) != str(row["size"]):
        return problem("altered", f"it says that its content has {header('Edge-Size')} bytes")
    return None
