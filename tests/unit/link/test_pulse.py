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


PAUSE = 30.0


@pytest.fixture
def resting() -> Pulse:
    """That of a connection which has been up for a while, with nothing to send and the last probe answered."""
    pulse = Pulse()
    pulse.started(START - 1.0, PAUSE)
    pulse.probe_answered(START)
    pulse.want(START, False)
    return pulse


def test_a_resting_connection_is_probed_seldom(resting: Pulse) -> None:
    """And its silence means nothing until then."""
    assert resting.rests
    assert not resting.wants_probe(START + PAUSE - 0.1)
    assert not resting.silent(START + PAUSE)
    assert resting.wants_probe(START + PAUSE)


def test_a_resting_connection_is_probed_once(resting: Pulse) -> None:
    """TCP repeats what is lost. Four seconds later the server is silent."""
    sent = START + PAUSE
    resting.probed(sent)
    resting.want(sent + 0.5, False)
    assert not resting.rests
    assert not resting.wants_probe(sent + 3.0)
    assert not resting.silent(sent + SILENT_SECONDS)
    assert resting.silent(sent + SILENT_SECONDS + 0.1)


def test_an_answered_probe_lets_it_rest_again(resting: Pulse) -> None:
    """For another pause."""
    resting.probed(START + PAUSE)
    resting.probe_answered(START + PAUSE + 0.6)
    resting.want(START + PAUSE + 1.0, False)
    assert resting.rests
    assert not resting.wants_probe(START + 2 * PAUSE)
    assert resting.wants_probe(START + 2 * PAUSE + 0.6)


def test_something_to_send_brings_the_probes_back(resting: Pulse) -> None:
    """At once, and the silence counts from there on: a healthy link is not dead because its last proof is old."""
    comes = START + 20.0
    resting.want(comes, True)
    assert resting.wants_probe(comes)
    resting.probed(comes)
    assert resting.wants_probe(comes + PROBE_SECONDS)
    assert not resting.silent(comes + SILENT_SECONDS)
    assert resting.silent(comes + SILENT_SECONDS + 0.1)


def test_what_proves_a_resting_connection_proves_it_for_its_pause_and_five_seconds(resting: Pulse) -> None:
    """Not longer, whatever is done in between."""
    assert resting.proved(START + PAUSE + 4.9)
    assert not resting.proved(START + PAUSE + 5.1)
    resting.probed(START + PAUSE)
    assert resting.proved(START + PAUSE + 4.9)
    assert not resting.proved(START + PAUSE + 5.1)


def test_a_dead_link_is_told_within_five_seconds_of_something_to_send(resting: Pulse) -> None:
    """Until then it is believed, so that the gauge of a healthy link does not go down for an instant."""
    comes = START + 20.0
    resting.want(comes, True)
    assert resting.proved(comes + 4.9)
    assert not resting.proved(comes + 5.1)


def test_a_process_that_was_stopped_for_long_believes_nothing(resting: Pulse) -> None:
    """The last proof was too old already when there was something to send."""
    late = START + 2 * PAUSE
    resting.want(late, True)
    assert not resting.proved(late)


def test_with_the_shortest_pause_nothing_ever_rests() -> None:
    """As where nobody says when something is to be sent."""
    pulse = Pulse()
    pulse.started(START, 0.0)
    pulse.want(START, False)
    assert not pulse.rests
    assert pulse.wants_probe(START + PROBE_SECONDS)
    assert pulse.silent(LATE)
