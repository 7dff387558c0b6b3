"""What the hub has of a site's log, and so what may be signed over this connection. Pure.

The site's subject at the hub is a mailbox: whoever has the site's login can write there, also without its key. So its
newest message counts only where it is a checkpoint of our key. Where it is something else, a *stray*, nothing is signed
until the auditor, who alone publishes cosigned notes, says in one that he has read past it.
"""

from __future__ import annotations

from typing import NamedTuple

from syncdaemon.evidence.notes import LOG_KEY, Checkpoint, SignedNote, VerifierKey, open_checkpoint
from syncdaemon.evidence.origins import LogOrigin
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.evidence.submission import Submission


class MailedNote(NamedTuple):
    """A message on the site's subject: its sequence in the stream, and its body."""

    seq: int
    body: bytes


class CosignedNote(NamedTuple):
    """What the auditor published last. `read_to`: up to which sequence of the checkpoints' stream he has read."""

    body: bytes
    read_to: int = 0


class OwnNote(NamedTuple):
    """A checkpoint that our key has signed, with its note."""

    checkpoint: Checkpoint
    note: SignedNote


class Standing(NamedTuple):
    """What the hub has. `seq`: of the subject's newest message, 0 for none; the next message expects it to be that.

    `newest`: the newest checkpoint there; None: none, or not known for the `stray`, which says why. `cosigned`: the
    newest that an auditor has published.
    """

    seq: int
    newest: OwnNote | None
    cosigned: OwnNote | None
    stray: str = ""


def own_checkpoint(note: bytes, public: bytes, site: str) -> OwnNote:
    """A checkpoint of a log of this site that this public key has signed, whatever the log's name begins with.

    Raises BadEvidence.
    """
    origin = LogOrigin.parse(Checkpoint.parse(SignedNote.parse(note).text).origin)
    if origin.site != site:
        raise BadEvidence(f"the checkpoint is of site {origin.site}")
    return OwnNote(*open_checkpoint(note, [VerifierKey(str(origin), LOG_KEY, public)]))


def standing(newest: MailedNote | None, cosigned: CosignedNote | None, public: bytes, site: str) -> Standing:
    """What the subject's newest message and the auditor's newest note come to, for this key and site."""
    anchor, read_to = _anchor(cosigned, public, site)
    if newest is None:
        return Standing(0, None, anchor)
    try:
        own = own_checkpoint(Submission.parse(newest.body).note, public, site)
    except BadEvidence as error:
        if anchor is not None and read_to >= newest.seq:
            return Standing(newest.seq, anchor, anchor)
        return Standing(newest.seq, None, anchor, f"message {newest.seq} is none of our checkpoints: {error}")
    return Standing(newest.seq, own, anchor)


def _anchor(cosigned: CosignedNote | None, public: bytes, site: str) -> tuple[OwnNote | None, int]:
    """The auditor's newest note, if it is a checkpoint of our key, and how far he has read."""
    if cosigned is None:
        return None, 0
    try:
        return own_checkpoint(cosigned.body, public, site), cosigned.read_to
    except BadEvidence:
        return None, 0
