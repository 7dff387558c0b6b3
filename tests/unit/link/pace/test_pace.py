"""When an answer is overdue, and when to connect again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.link.pace import ANSWER_SECONDS, overdue, retry_delay

seconds = st.floats(0, 1e6)


@given(seconds, st.floats(0, ANSWER_SECONDS), seconds, seconds)
def test_a_young_message_is_never_overdue(sent: float, age: float, last_answer: float, newest_answered: float) -> None:
    """However long the silence before it: each message has its ten seconds."""
    now = min(sent + age, sent + ANSWER_SECONDS)
    if now - sent > ANSWER_SECONDS:  # the sum was rounded up
        return
    assert not overdue(now, sent, last_answer, newest_answered)


def test_silence_makes_a_message_overdue() -> None:
    """Nothing was answered for more than ten seconds: this won't be either."""
    assert overdue(now=120.1, sent=110.0, last_answer=110.0, newest_answered=100.0)
    assert overdue(now=120.1, sent=110.0, last_answer=0.0, newest_answered=0.0)


def test_a_message_behind_others_on_a_slow_link_is_not_overdue() -> None:
    """A minute in the queue is no reason, as long as those before it are answered one by one."""
    assert not overdue(now=160.0, sent=100.0, last_answer=158.0, newest_answered=100.0)


def test_a_message_that_was_passed_over_is_overdue() -> None:
    """Messages sent long after it are answered: its own answer is lost."""
    assert overdue(now=120.0, sent=100.0, last_answer=120.0, newest_answered=110.5)
    assert not overdue(now=120.0, sent=100.0, last_answer=120.0, newest_answered=109.5)


@given(seconds, seconds, seconds, seconds, seconds)
def test_what_is_overdue_stays_so(
    sent: float, wait: float, more: float, last_answer: float, newest_answered: float
) -> None:
    """Time alone never takes the verdict back."""
    now = sent + wait
    if overdue(now, sent, last_answer, newest_answered):
        assert overdue(now + more, sent, last_answer, newest_answered)


@given(st.integers(0, 10**9), st.booleans(), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_bounded(failures: int, sent_away: bool, roll: float) -> None:
    """Half a minute at most where the server sent us away, one second where there is none."""
    assert 0.0 <= retry_delay(failures, sent_away, roll) <= (30.0 if sent_away else 1.0)


@given(st.booleans(), st.floats(0, 1, exclude_max=True))
def test_the_first_attempt_is_made_at_once(sent_away: bool, roll: float) -> None:
    """No failure yet: no delay."""
    assert retry_delay(0, sent_away, roll) == 0.0


@given(st.integers(1, 100), st.booleans(), st.floats(0, 1, exclude_max=True))
def test_delays_grow_with_the_failures(failures: int, sent_away: bool, roll: float) -> None:
    """The same roll of the dice never comes to less after one more failure."""
    assert retry_delay(failures, sent_away, roll) <= retry_delay(failures + 1, sent_away, roll)


def test_the_jitter_is_full() -> None:
    """A thousand daemons after a common outage spread over the whole span, from nothing to the ceiling."""
    assert retry_delay(20, True, 0.0) == 0.0
    assert retry_delay(20, True, 0.5) == 15.0
    assert retry_delay(20, True, 0.999) == pytest.approx(29.97)
    assert retry_delay(1, True, 0.999) < 0.25
