"""What a cosigner makes of a checkpoint that reaches it: whether it goes on from the one that it cosigned last. Pure.

A cosigner says one thing of a log: that its history, as far as it has seen it, was only ever added to. So it accepts a
checkpoint only if its site's key has signed it, and a proof shows that it begins with the checkpoint accepted last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from syncdaemon.evidence import tree
from syncdaemon.evidence.notes import LOG_KEY, Checkpoint, SignedNote, VerifierKey
from syncdaemon.evidence.origins import LogOrigin, Pin
from syncdaemon.evidence.proofs import Proof
from syncdaemon.evidence.strict import BadEvidence, hash_bytes
from syncdaemon.evidence.submission import Submission


class NotCosigned(StrEnum):
    """Why a checkpoint is not cosigned."""

    STRAY = "stray"  # no checkpoint of the site's log at all
    UNPINNED = "unpinned"  # no key of this site is known here
    OTHER_KEY = "other_key"  # its log's name, and not its key's signature
    EMPTY = "empty"  # the root of nothing, after something
    ROLLBACK = "rollback"  # smaller than the one cosigned last
    FORK = "fork"  # another history of the same log
    NEW_LOG = "new_log"  # another log of the site, which nobody announced, or announced wrongly
    REBASED = "rebased"  # another log of the site, announced: waits for `audit accept`
    UNCHECKED = "unchecked"  # its proof begins at another size: it can't be held against ours


CONFLICTS = frozenset(
    {NotCosigned.OTHER_KEY, NotCosigned.EMPTY, NotCosigned.ROLLBACK, NotCosigned.FORK, NotCosigned.NEW_LOG}
)
"""Somebody has shown two histories, or signs with a key that is not the site's: people must look at it."""


class LogHead(NamedTuple):
    """A log as it was accepted last. `note`: as the site signed it."""

    checkpoint: Checkpoint
    note: bytes

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.checkpoint.origin

    @property
    def rows(self) -> int:
        """How many it has."""
        return self.checkpoint.size

    @property
    def text(self) -> str:
        """The note, as a text."""
        return self.note.decode()

    @classmethod
    def parse(cls, note: bytes) -> LogHead:
        """The head in a note, whose signatures are not checked. Raises BadEvidence."""
        return cls(Checkpoint.parse(SignedNote.parse(note).text), note)


class Accepted(NamedTuple):
    """It goes on from the head, or is the first. `same`: it is the head once more. `skipped`: nothing held it against
    an earlier one, since none was known."""

    head: LogHead
    same: bool = False
    skipped: bool = False


class NotTaken(NamedTuple):
    """It is not cosigned. `head`: what it says, where it is signed by the site's key."""

    reason: NotCosigned
    why: str
    head: LogHead | None = None


Verdict = Accepted | NotTaken


def read_head(note: bytes, pin: Pin) -> LogHead | NotTaken:
    """The checkpoint in a note that the pinned key has signed, with the log's signature alone; else why it is none."""
    try:
        signed = SignedNote.parse(note)
        checkpoint = Checkpoint.parse(signed.text)
        key = pin.key(LogOrigin.parse(checkpoint.origin))
    except BadEvidence as error:
        return NotTaken(NotCosigned.STRAY, str(error))
    try:
        signed.check(key)
    except BadEvidence as error:
        return NotTaken(NotCosigned.OTHER_KEY, str(error))
    if checkpoint.size == 0:
        return NotTaken(NotCosigned.EMPTY, "it has no entries: a ledger's first checkpoint has one at least")
    return LogHead(checkpoint, bytes(signed._replace(signatures=tuple(signed.of(key)))))


def judge(submission: Submission, pin: Pin, known: LogHead | None, rebased: bytes = b"") -> Verdict:
    """What a checkpoint is, for a cosigner that has accepted `known` last; None: nothing of this site yet.

    `rebased`: the proof of a new log's first row, if one came with it.
    """
    head = read_head(submission.note, pin)
    if isinstance(head, NotTaken):
        return head
    if submission.old > head.rows:
        return NotTaken(NotCosigned.STRAY, f"it goes on from {submission.old} rows, and has {head.rows}")
    if known is None:
        return Accepted(head, skipped=submission.old > 0)
    if head.origin != known.checkpoint.origin:
        return _new_log(head, known, rebased)
    return _further(submission, head, known)


def _further(submission: Submission, head: LogHead, known: LogHead) -> Verdict:
    new, old = head.checkpoint, known.checkpoint
    if new.size == old.size:
        if new.root != old.root:
            return NotTaken(NotCosigned.FORK, f"another history of {old.size} rows", head)
        return Accepted(known, same=True)
    if new.size < old.size:
        return NotTaken(NotCosigned.ROLLBACK, f"{new.size} rows, after {old.size}", head)
    if submission.old != old.size:
        return NotTaken(
            NotCosigned.UNCHECKED, f"{new.size} rows, proved to go on from {submission.old}; here are {old.size}", head
        )
    try:
        tree.check_consistency(old.size, old.root, new.size, new.root, submission.hashes)
    except BadEvidence as error:
        return NotTaken(NotCosigned.FORK, f"{new.size} rows that do not go on from the {old.size} here: {error}", head)
    return Accepted(head)


def _new_log(head: LogHead, known: LogHead, rebased: bytes) -> NotTaken:
    if not rebased:
        return NotTaken(NotCosigned.NEW_LOG, f"the log {head.origin}, and no proof that it was begun anew", head)
    try:
        _check_announced(Proof.parse(rebased), head.checkpoint, known.checkpoint)
    except BadEvidence as error:
        return NotTaken(NotCosigned.NEW_LOG, f"the log {head.origin}, announced wrongly: {error}", head)
    return NotTaken(NotCosigned.REBASED, f"the log {head.origin}, begun anew after {known.checkpoint.size}", head)


def _check_announced(proof: Proof, new: Checkpoint, old: Checkpoint) -> None:
    """Raises BadEvidence where the first row of the new log does not name the end of the old one."""
    if proof.entry_index != 0:
        raise BadEvidence("the proof is not about row 1")
    tree.check_inclusion(tree.leaf_hash(proof.row), 0, new.size, proof.hashes, new.root)
    try:
        row = json.loads(proof.row)
    except (ValueError, RecursionError):
        raise BadEvidence("row 1 is no row of a ledger") from None
    if not isinstance(row, Mapping) or row.get("event") != "rebased":
        raise BadEvidence("row 1 does not say that the ledger was begun anew")
    root = row.get("old_root")
    named = (row.get("old_origin"), row.get("old_size"), hash_bytes(root, "root") if isinstance(root, str) else b"")
    if named != (old.origin, old.size, old.root):
        raise BadEvidence(f"row 1 names an end of the old log which is not the one known here, {old.size} rows")


def log_key(head: LogHead, pin: Pin) -> VerifierKey:
    """The key of a head's log."""
    return VerifierKey(head.origin, LOG_KEY, pin.public)
