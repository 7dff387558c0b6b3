"""When a site tells the hub how it is."""

from __future__ import annotations

from syncdaemon.daemon.word_times import WordTimes


def test_a_new_connection_is_told_at_once() -> None:
    times = WordTimes(60.0)
    times.connected()
    assert times.due(0.0, "a", busy=False)
    times.tried(0.0, "a")
    assert not times.due(1.0, "a", busy=False)
    times.connected()
    assert times.due(1.0, "a", busy=False)


def test_an_idle_site_tells_ten_times_less_often() -> None:
    times = WordTimes(60.0)
    times.tried(0.0, "a")
    assert not times.due(599.0, "a", busy=False)
    assert times.due(600.0, "a", busy=False)
    assert (times.next_within(busy=False), times.next_within(busy=True)) == (600.0, 60.0)


def test_a_change_is_told_at_once_and_a_busy_site_tells_every_time() -> None:
    times = WordTimes(60.0)
    times.tried(0.0, "a")
    assert not times.due(59.0, "b", busy=True)
    assert times.due(60.0, "b", busy=False)
    assert times.due(60.0, "a", busy=True)
    assert times.due(300.0, "b", busy=False), "long after the last one"


def test_a_word_that_nobody_takes_is_not_repeated_for_every_change() -> None:
    times = WordTimes(60.0)
    times.tried(0.0, "a", again=600.0)
    assert not times.due(599.0, "b", busy=True)
    assert times.due(600.0, "b", busy=True)
    times.connected()
    assert times.due(1.0, "a", busy=False)
