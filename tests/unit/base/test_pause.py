"""The same trouble is said once a minute."""

from __future__ import annotations

from syncdaemon.base.pause import SAY_AGAIN_SECONDS, OnceAMinute


def test_a_trouble_is_said_at_once_and_then_once_a_minute() -> None:
    said = OnceAMinute()
    assert [said.due(now) for now in (0.0, 1.0, SAY_AGAIN_SECONDS - 1, SAY_AGAIN_SECONDS, 61.0, 120.0)] == [
        *(True, False, False, True, False, True)
    ]


def test_another_trouble_is_said_though_the_first_was_just_said() -> None:
    said = OnceAMinute()
    assert said.due(0.0, "full")
    assert said.due(0.0, "away")
    assert not said.due(1.0, "full")


def test_a_trouble_that_comes_again_after_its_end_is_said_at_once() -> None:
    said = OnceAMinute()
    assert said.due(0.0)
    said.over()
    assert said.due(1.0)
