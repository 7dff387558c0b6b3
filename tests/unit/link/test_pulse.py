"""When the server counts as there, as slow and as gone. No connection and no clock is needed for that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.link.pace import ANSWER_SECONDS
from syncdaemon.link.pulse import PROBE_SECONDS, SILENT_SECONDS, Pulse

START = 1_000.0
LATE = START + SILENT_SECONDS + 0.1


@pytest.fixture
def pulse() -> Pulse:
    """That of a connection which has just come up."""
    pulse = Pulse()
    pulse.started(START)
    return pulse


def look(pulse: Pulse, now: float, *, arriving: int = 0, written: int = 0, unsent: int = 0) -> None:
    pulse.look(now, arriving=arriving, written=written, unsent=unsent)


def test_a_server_that_says_nothing_is_probed_and_then_given_up(pulse: Pulse) -> None:
    """Connecting was a sign of life."""
    assert not pulse.wants_probe(START + PROBE_SECONDS - 0.1)
    assert pulse.wants_probe(START + PROBE_SECONDS)
    assert not pulse.silent(START + SILENT_SECONDS)
    assert pulse.silent(LATE)


def test_an_answer_to_a_probe_is_a_sign_of_life_but_none_of_work(pulse: Pulse) -> None:
    """A message that is not answered is overdue however lively the server is."""
    end = START + ANSWER_SECONDS + 0.1
    pulse.probe_answered(end)
    assert not pulse.wants_probe(end)
    assert not pulse.silent(end)
    assert pulse.proved_at == end
    assert pulse.overdue(end, START - 1.0)


def test_an_answer_is_both(pulse: Pulse) -> None:
    """Also one whose message is not known any more."""
    for answer in ((LATE,), (LATE, START + 1.0)):
        pulse.answered(*answer)
        assert pulse.proved_at == LATE
        assert not pulse.silent(LATE)
        assert not pulse.overdue(LATE + ANSWER_SECONDS, START)


def test_a_message_is_overdue_when_much_later_ones_are_answered(pulse: Pulse) -> None:
    """The newest message that was answered counts, not the one answered last."""
    pulse.answered(START + 20.0, sent=START + 11.0)
    pulse.answered(START + 20.0, sent=START + 2.0)
    pulse.answered(START + 20.0)
    assert pulse.overdue(START + 20.0, START)
    assert not pulse.overdue(START + 20.0, START + 2.0)


def test_payload_that_waited_and_is_taken_is_progress(pulse: Pulse) -> None:
    """The peer is slow, and not dead; it counts as an answer too."""
    look(pulse, START, written=100_000, unsent=50_000)
    look(pulse, LATE, written=100_000, unsent=49_999)
    assert not pulse.silent(LATE)
    assert not pulse.overdue(LATE + ANSWER_SECONDS, START)
    assert pulse.wants_probe(LATE)
    look(pulse, LATE + SILENT_SECONDS + 0.1, written=100_000, unsent=49_999)
    assert pulse.silent(LATE + SILENT_SECONDS + 0.1)


def test_what_a_frozen_peer_has_room_for_is_no_progress(pulse: Pulse) -> None:
    """Its kernel goes on to take what does not have to wait."""
    for second in range(5):
        look(pulse, START + second, written=10_000 * (second + 1), unsent=0)
    assert pulse.silent(LATE)
    assert pulse.taken == 50_000


def test_probes_that_wait_are_no_payload(pulse: Pulse) -> None:
    """A kilobyte of them is far more than can wait."""
    look(pulse, START, written=1_024, unsent=1_024)
    look(pulse, LATE, written=1_024, unsent=6)
    assert pulse.silent(LATE)


def test_a_long_answer_that_goes_on_to_arrive_is_progress(pulse: Pulse) -> None:
    """One that stops in the middle is none."""
    look(pulse, START, arriving=5_000)
    look(pulse, LATE, arriving=10_000)
    assert not pulse.silent(LATE)
    later = LATE + SILENT_SECONDS + 0.1
    look(pulse, later, arriving=10_000)
    assert pulse.silent(later)


def test_a_server_at_work_for_us_is_not_silent(pulse: Pulse) -> None:
    """Messages that it sends come before its answers to our probes."""
    pulse.goes_on(LATE)
    assert not pulse.wants_probe(LATE)
    assert not pulse.silent(LATE)
    assert not pulse.overdue(LATE + ANSWER_SECONDS, START)


@given(st.lists(st.tuples(st.floats(0, 10), st.sampled_from(["probe", "answer", "work"])), max_size=20))
def test_no_server_is_silent_within_four_seconds_of_a_sign_of_life(signs: list[tuple[float, str]]) -> None:
    """And each is after that, when nothing waits and nothing arrives."""
    pulse, now = Pulse(), START
    pulse.started(now)
    for pause, sign in signs:
        now += pause
        {"probe": pulse.probe_answered, "answer": pulse.answered, "work": pulse.goes_on}[sign](now)
        assert not pulse.silent(now + SILENT_SECONDS - 0.1)
    look(pulse, now, written=10_000)
    assert pulse.silent(now + SILENT_SECONDS + 0.1)
