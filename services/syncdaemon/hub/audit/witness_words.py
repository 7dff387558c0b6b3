"""What a witness of somebody else answers to `add-checkpoint` (C2SP tlog-witness), and what we answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from syncdaemon.evidence import tree
from syncdaemon.evidence.notes import SignedNote, VerifierKey
from syncdaemon.evidence.origins import Pin
from syncdaemon.evidence.strict import BadEvidence, decimal
from syncdaemon.evidence.submission import Submission
from syncdaemon.hub.audit.judge import LogHead, NotCosigned, NotTaken, read_head

SIZE_KIND = "text/x.tlog.size"


class Signed(NamedTuple):
    """The witness has cosigned: the note with its signatures."""

    note: SignedNote


class HasSize(NamedTuple):
    """The witness has another size of this log than the one that was said."""

    size: int


class WitnessSays(NamedTuple):
    """No signature. `conflict`: the witness knows another history; else it is not now, or it does not take this log."""

    why: str
    conflict: bool = False


def answer_of(
    sent: Submission, key: VerifierKey, status: int, kind: str, body: bytes
) -> Signed | HasSize | WitnessSays:
    """What an answer means to what was sent. `key`: the witness's; other signatures are not believed."""
    if status == 200:
        return _signed(sent, key, body)
    if status == 409 and kind.partition(";")[0].strip() == SIZE_KIND:
        try:
            text = body.decode("ascii")
            size = decimal(text.removesuffix("\n"), "size of the witness")
        except (UnicodeDecodeError, BadEvidence):
            return WitnessSays("its answer 409 has no size that can be read")
        if size == sent.old:
            return WitnessSays(f"it has another history of {size} rows", conflict=True)
        return HasSize(size)
    said = {
        400: "it can't read the checkpoint (400)",
        403: "it does not know the key of this log (403)",
        404: "it does not know this log (404)",
        409: "it has another history (409)",
        422: f"it finds that the log does not go on from {sent.old} rows (422)",
    }.get(status, f"it answers with status {status}")
    return WitnessSays(said, conflict=status in (409, 422))


def _signed(sent: Submission, key: VerifierKey, body: bytes) -> Signed | WitnessSays:
    try:
        note = SignedNote.parse(sent.note)
        answered = SignedNote.parse(f"{note.text}\n".encode() + body)
        lines = tuple(answered.of(key))
        whole = note._replace(signatures=(*note.signatures, *lines))
        if whole.cosigned(key) is None:
            return WitnessSays("its answer has no signature of its key")
    except BadEvidence as error:
        return WitnessSays(f"its answer is no signature: {error}")
    return Signed(whole)


def way(submissions: Sequence[Submission], pin: Pin, size: int, head: LogHead) -> list[Submission]:
    """The submissions that lead a witness from this size to the head, in order; empty where there is no way."""
    if size == 0:
        return [Submission(0, (), head.note)]
    steps: dict[int, tuple[int, Submission]] = {}
    for one in submissions:
        found = read_head(one.note, pin)
        if isinstance(found, LogHead) and found.origin == head.origin and one.old < found.rows <= head.rows:
            steps[one.old] = max(steps.get(one.old, (0, one)), (found.rows, one), key=lambda step: step[0])
    taken = []
    while size < head.rows and size in steps:
        size, step = steps[size]
        taken.append(step)
    return taken if size == head.rows else []


class WitnessAnswer(NamedTuple):
    """What a witness answers: a status, and where it is no signature, the body and its kind."""

    status: int
    body: str = ""
    kind: str = "text/plain; charset=utf-8"


def accept(submission: Submission, pin: Pin, known: LogHead | None) -> LogHead | WitnessAnswer:
    """The head that a witness takes, which has the log's signature; else its answer."""
    head = read_head(submission.note, pin)
    if isinstance(head, NotTaken):
        status = {NotCosigned.OTHER_KEY: 403, NotCosigned.EMPTY: 400}.get(head.reason, 404)
        return WitnessAnswer(status, f"{head.why}\n")
    if submission.old > head.rows:
        return WitnessAnswer(400, "the old size is over the new one\n")
    if known is not None and head.origin != known.origin:
        return WitnessAnswer(404, "another log of this site is followed here\n")
    size = known.rows if known else 0
    if submission.old != size:
        return WitnessAnswer(409, f"{size}\n", SIZE_KIND)
    old_root = known.checkpoint.root if known else tree.EMPTY_ROOT
    try:
        tree.check_consistency(size, old_root, head.rows, head.checkpoint.root, submission.hashes)
    except BadEvidence as error:
        return WitnessAnswer(422, f"{error}\n")
    return head


class Readable(Protocol):
    """A body that comes in parts."""

    async def read(self, n: int = -1) -> bytes: ...


async def at_most(content: Readable, most: int) -> bytes:
    """The body, or as much of it as shows that it is too long."""
    data = b""
    while len(data) < most and (more := await content.read(most - len(data))):
        data += more
    return data
