"""What a cosigner accepts and refuses, what its state remembers, and what it makes of a witness's answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncdaemon.base.errors import SettingsError
from syncdaemon.evidence.keyfile import CheckpointKey
from syncdaemon.evidence.notes import COSIGNER_KEY, SignedNote, VerifierKey
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.evidence.submission import Submission
from syncdaemon.hub.audit import witness_words
from syncdaemon.hub.audit.cosigner import Arrived, SignatureDesk
from syncdaemon.hub.audit.judge import Accepted, LogHead, NotCosigned, NotTaken, judge
from syncdaemon.hub.audit.pins import read_pins
from syncdaemon.hub.audit.silence import Voice, voice
from syncdaemon.hub.audit.state import Cursor, State, open_state, order
from syncdaemon.hub.audit.witness_words import HasSize, Signed, WitnessAnswer, WitnessSays, answer_of, way
from tests.support.sites import Site

KEY = CheckpointKey(b"c" * 32)
NAME = "auditor.example.com/w"
VERIFIER = VerifierKey(NAME, COSIGNER_KEY, KEY.public)
A = Site("a")
FORKED = Site("a", fork=" another")


def head(site: Site, size: int) -> LogHead:
    """What was accepted of a site."""
    return LogHead.parse(bytes(site.note(size)))


def reason(submission: Submission, known: LogHead | None, rebased: bytes = b"") -> NotCosigned | None:
    """Why it is refused; None: it is not."""
    found = judge(submission, A.pin, known, rebased)
    return found.reason if isinstance(found, NotTaken) else None


@pytest.mark.parametrize("old", [1, 7, 50, 128])
@pytest.mark.parametrize("new", [128, 129, 399])
def test_what_goes_on_is_accepted(old: int, new: int) -> None:
    found = judge(A.submission(old, new), A.pin, head(A, old))
    assert isinstance(found, Accepted)
    assert found.head == head(A, new)
    assert found.same == (old == new)


def test_the_first_one_is_accepted_wherever_it_begins() -> None:
    found = judge(A.submission(20, 50), A.pin, None)
    assert isinstance(found, Accepted)
    assert found.skipped


@pytest.mark.parametrize(
    ("submission", "wanted"),
    [
        (FORKED.submission(50, 80), NotCosigned.FORK),
        (FORKED.submission(0, 50), NotCosigned.FORK),
        (A.submission(50, 80)._replace(hashes=()), NotCosigned.FORK),
        (A.submission(0, 40), NotCosigned.ROLLBACK),
        (A.submission(40, 80), NotCosigned.UNCHECKED),
        (A.submission(0, 80), NotCosigned.UNCHECKED),
        (Site("a", seed=b"stolen").submission(50, 80), NotCosigned.OTHER_KEY),
        (Site("b").submission(50, 80), NotCosigned.STRAY),
        (A.submission(50, 80)._replace(old=90), NotCosigned.STRAY),
        (Submission(0, (), b"nothing"), NotCosigned.STRAY),
        (Submission(0, (), bytes(A.checkpoint(0).note().signed(A.origin, A.key.seed))), NotCosigned.EMPTY),
    ],
)
def test_what_does_not_go_on_is_refused(submission: Submission, wanted: NotCosigned) -> None:
    assert reason(submission, head(A, 50)) is wanted


def test_a_new_log_needs_the_end_of_the_old_one() -> None:
    site = Site("a")
    proof = site.begin_anew(50)
    assert reason(site.submission(0, 1), head(A, 50), proof) is NotCosigned.REBASED
    assert reason(site.submission(0, 1), head(A, 51), proof) is NotCosigned.NEW_LOG
    assert reason(site.submission(0, 2), head(A, 50), proof) is NotCosigned.NEW_LOG
    assert reason(site.submission(0, 1), head(A, 50), proof[:100]) is NotCosigned.NEW_LOG
    assert reason(site.submission(0, 1), head(A, 50)) is NotCosigned.NEW_LOG


def desk_in(folder: Path, now: float = 1e9, *, accept: bool = True) -> SignatureDesk:
    """A cosigner with this state."""
    return SignatureDesk(NAME, KEY, {"a": A.pin}, open_state(folder, KEY.public, accept=accept), lambda: now)


def test_what_is_signed_is_on_disk_before(tmp_path: Path) -> None:
    desk = desk_in(tmp_path / "s")
    desk.take("a", Arrived(1, 5), A.submission(0, 50))
    note = desk.cosign("a")
    assert note.cosigned(VERIFIER) == 10**9
    desk.state.close()
    again = desk_in(tmp_path / "s", accept=False)
    assert again.head_of("a") == head(A, 50)
    assert again.take("a", Arrived(1, 5), FORKED.submission(0, 50)) is None
    found = again.take("a", Arrived(2, 6), FORKED.submission(50, 60))
    assert isinstance(found, NotTaken)
    assert again.head_of("a") == head(A, 50)
    again.state.close()


def test_nothing_is_signed_that_the_disk_does_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = desk_in(tmp_path / "s")
    desk.take("a", Arrived(1, 5), A.submission(0, 50))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("syncdaemon.hub.audit.state.write_durably", full)
        with pytest.raises(OSError, match="No space"):
            desk.cosign("a")
    assert desk.cosign("a").cosigned(VERIFIER)
    desk.state.close()


def test_the_time_of_a_cosignature_never_goes_back(tmp_path: Path) -> None:
    desk = desk_in(tmp_path / "s", now=2e9)
    desk.take("a", Arrived(1, 5), A.submission(0, 50))
    desk.cosign("a")
    desk.state.close()
    desk = desk_in(tmp_path / "s", now=1e9)
    assert desk.cosign("a").cosigned(VERIFIER) == 2 * 10**9
    desk.state.close()


def test_a_hub_that_was_put_back_is_no_rollback(tmp_path: Path) -> None:
    desk = desk_in(tmp_path / "s")
    desk.take("a", Arrived(9, 5), A.submission(0, 50))
    desk.begin_again()
    assert desk.state.cursor == Cursor()
    assert desk.take("a", Arrived(1, 5), A.submission(0, 20)) is None
    assert isinstance(desk.take("a", Arrived(2, 5), A.submission(20, 50)), Accepted)
    assert isinstance(desk.take("a", Arrived(3, 5), A.submission(0, 20)), NotTaken)
    desk.state.close()


def test_a_conflict_stays_until_somebody_has_looked(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    desk = desk_in(folder)
    desk.take("a", Arrived(1, 5), A.submission(0, 50))
    desk.take("a", Arrived(2, 5), FORKED.submission(50, 60))
    desk.take("a", Arrived(3, 5), A.submission(50, 60))
    desk.state.flush()
    conflict = desk.state.of("a").conflict
    assert conflict is not None
    assert conflict.reason == "fork"
    assert SignedNote.parse(conflict.note.encode()).text == FORKED.note(60).text
    assert not desk.follow("a")
    assert order(folder, "a") == "*"
    assert desk.follow("a")
    assert desk.state.of("a").conflict is None
    assert desk.head_of("a") == head(A, 60)
    with pytest.raises(SettingsError, match="nothing to accept"):
        order(folder, "a")
    desk.state.close()


def _opened(folder: Path, key: bytes = KEY.public) -> State:
    return open_state(folder, key, accept=False)


def test_a_state_that_is_not_its_own_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with pytest.raises(SettingsError, match="has no state"):
        _opened(folder)
    open_state(folder, KEY.public, accept=True).close()
    _opened(folder).close()
    with pytest.raises(SettingsError, match="another key"):
        _opened(folder, b"x" * 32)
    (folder / "kept").hardlink_to(folder / "lock")  # so that its number on disk is not free
    os.unlink(folder / "lock")
    with pytest.raises(SettingsError, match="is a copy"):
        _opened(folder)
    (folder / "sites" / "a.json").write_text("{")
    with pytest.raises(SettingsError, match="damaged"):
        open_state(folder, KEY.public, accept=True)


def test_pins_are_one_a_site() -> None:
    text = f"# sites\n\n{A.pin}\n{Site('b').pin}\n"
    assert sorted(read_pins(text)) == ["a", "b"]
    for bad in ("", f"{A.pin}\n{A.pin}\n", "nonsense\n", f"{A.pin}\n{Site('b', seed=b'a' * 32).pin}\n"):
        with pytest.raises(BadEvidence):
            read_pins(bad)


def test_silence_is_not_the_same_as_what_is_withheld() -> None:
    day = 86_400.0
    assert voice(10 * day, None, 11 * day) is Voice.HEARD
    assert voice(10 * day, None, 12 * day) is Voice.SILENT
    assert voice(10 * day, 10 * day + 60, 12 * day) is Voice.SILENT
    assert voice(10 * day, 11 * day, 12 * day) is Voice.WITHHELD
    assert voice(0, None, 12 * day) is Voice.SILENT


def signatures(note: SignedNote) -> bytes:
    """As a witness sends them."""
    return "".join(one.line for one in note.of(VERIFIER)).encode()


def test_a_witness_is_believed_what_its_key_signed() -> None:
    sent = A.submission(50, 80)
    good = signatures(A.note(80).cosigned_by(NAME, KEY.seed, 7))
    found = answer_of(sent, VERIFIER, 200, "text/plain", good)
    assert isinstance(found, Signed)
    assert found.note.cosigned(VERIFIER) == 7
    other = signatures(A.note(81).cosigned_by(NAME, KEY.seed, 7))
    for body in (b"", b"\n", other, good[:-9], b"x" * 99_999, good.replace(b"/w ", b"/v ")):
        assert isinstance(answer_of(sent, VERIFIER, 200, "", body), WitnessSays)


def test_the_status_of_a_witness_says_what_to_do() -> None:
    sent = A.submission(50, 80)
    assert answer_of(sent, VERIFIER, 409, "text/x.tlog.size", b"60\n") == HasSize(60)
    same = answer_of(sent, VERIFIER, 409, "text/x.tlog.size", b"50\n")
    assert isinstance(same, WitnessSays)
    assert same.conflict
    for body in (b"+60\n", b"060", "٣".encode(), b"1_0", b""):
        assert isinstance(answer_of(sent, VERIFIER, 409, "text/x.tlog.size", body), WitnessSays)
    for status, conflict in ((400, False), (403, False), (404, False), (422, True), (500, False), (302, False)):
        found = answer_of(sent, VERIFIER, status, "", b"")
        assert isinstance(found, WitnessSays)
        assert found.conflict is conflict


def test_a_witness_that_is_behind_is_led_step_by_step() -> None:
    steps = [A.submission(0, 20), A.submission(20, 50), A.submission(50, 80)]
    assert way(steps[:3], A.pin, 20, head(A, 80)) == steps[1:3]
    assert way(steps[:3], A.pin, 0, head(A, 80)) == [Submission(0, (), head(A, 80).note)]
    assert way(steps[:3], A.pin, 30, head(A, 80)) == []
    assert way(steps[:3], A.pin, 90, head(A, 80)) == []


@pytest.mark.parametrize(
    ("submission", "known", "status"),
    [
        (A.submission(0, 50), None, 200),
        (A.submission(50, 80), head(A, 50), 200),
        (A.submission(50, 50), head(A, 50), 200),
        (A.submission(20, 50), None, 409),
        (A.submission(40, 80), head(A, 50), 409),
        (FORKED.submission(50, 80), head(A, 50), 422),
        (FORKED.submission(50, 50), head(A, 50), 422),
        (A.submission(50, 80)._replace(old=81), head(A, 50), 400),
        (Site("a", seed=b"stolen").submission(50, 80), head(A, 50), 403),
        (Site("b").submission(50, 80), head(A, 50), 404),
    ],
)
def test_a_witness_answers_as_the_protocol_says(submission: Submission, known: LogHead | None, status: int) -> None:
    found = witness_words.accept(submission, A.pin, known)
    assert (found.status if isinstance(found, WitnessAnswer) else 200) == status
    if status == 409:
        assert isinstance(found, WitnessAnswer)
        assert (found.body, found.kind) == (f"{known.rows if known else 0}\n", "text/x.tlog.size")
