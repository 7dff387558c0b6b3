"""Checkpoints of strangers for an auditor, and answers of strange witnesses: nothing counts that nobody signed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from syncdaemon.evidence.keyfile import CheckpointKey
from syncdaemon.evidence.notes import COSIGNER_KEY, VerifierKey
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.evidence.submission import Submission
from syncdaemon.hub.audit.judge import Accepted, LogHead, judge
from syncdaemon.hub.audit.pins import read_pins, site_of
from syncdaemon.hub.audit.state import SiteBook
from syncdaemon.hub.audit.witness_words import Signed, WitnessAnswer, accept, answer_of
from tests.fuzz import mutate
from tests.fuzz.surface import Case, Surface
from tests.support.sites import Site

_SITE, _MOVED = Site("a"), Site("a")
_KNOWN, _NEXT = LogHead.parse(bytes(_SITE.note(50))), _SITE.submission(50, 80)
_PROOF = _MOVED.begin_anew(50)
_ANEW = _MOVED.submission(0, 1)
_KEY = CheckpointKey(b"c" * 32)
_WITNESS = VerifierKey("w.example.org/w", COSIGNER_KEY, _KEY.public)
_ANSWER = "".join(one.line for one in _SITE.note(80).cosigned_by(_WITNESS.name, _KEY.seed, 7).of(_WITNESS)).encode()
_PINS = f"# sites\n{_SITE.pin}\n{Site('b').pin}\n".encode()
_BOOK = SiteBook(_KNOWN, 7, False, 9, 9, LogHead.parse(_ANEW.note)).to_json()


@contextmanager
def submissions() -> Iterator[Case]:
    """Accepted is the one checkpoint that the site signed, and the one that goes on; a new log never by itself."""
    text = _SITE.note(80).text

    def case(random: Random) -> None:
        sent, proof = random.choice(((_NEXT, b""), (_ANEW, _PROOF)))
        try:
            submission = Submission.parse(mutate.data(random, bytes(sent)))
        except BadEvidence as error:
            str(error).encode()
            return
        verdict = judge(submission, _SITE.pin, _KNOWN, mutate.data(random, proof) if proof else b"")
        if isinstance(verdict, Accepted):
            assert verdict.head.text.startswith(text)
        else:
            verdict.why.encode(errors="surrogateescape")
        answer = accept(submission, _SITE.pin, _KNOWN)
        assert isinstance(answer, WitnessAnswer) or answer.text.startswith(text)

    yield case


@contextmanager
def answers() -> Iterator[Case]:
    """A signature counts only if the witness's key made it for this checkpoint."""

    def case(random: Random) -> None:
        status = random.choice((200, 200, 200, 409, 422, 500))
        kind = random.choice(("text/x.tlog.size", "text/plain", ""))
        body = mutate.data(random, random.choice((_ANSWER, b"50\n", b"60\n")))
        found = answer_of(_NEXT, _WITNESS, status, kind, body)
        if isinstance(found, Signed):
            assert status == 200
            assert found.note.cosigned(_WITNESS) == 7

    yield case


@contextmanager
def files() -> Iterator[Case]:
    """Pins and states are read, or refused."""

    def case(random: Random) -> None:
        text = mutate.data(random, _PINS).decode(errors="replace")
        try:
            assert all(site == site_of(pin) for site, pin in read_pins(text).items())
        except BadEvidence as error:
            str(error).encode(errors="surrogateescape")
        try:
            book = SiteBook.of_json(mutate.data(random, _BOOK))
        except (ValueError, KeyError, TypeError, BadEvidence):
            return
        assert min(book.seq, book.time, book.heard, book.unchecked) >= 0

    yield case


SURFACES = (
    Surface("checkpoints", "checkpoints for an auditor, changed", submissions),
    Surface("witnesses", "answers of witnesses, changed", answers),
    Surface("audit-files", "pins and states of an auditor, changed", files),
)
